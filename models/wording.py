"""Numbers in messages: durations, and how many there are of something."""

from __future__ import annotations


def format_duration(seconds: float) -> str:
    """Returns a duration in units that suit its length: `45 s`, `12 min` or `2 h 5 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 frame`, `2 frames` or `2 processes`."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural * (number != 1)}"
