"""Parts of messages: durations, how many there are of something, and the causes that libraries name."""

from __future__ import annotations

_LONGEST_CAUSE = 300  # characters


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


def cause(error: Exception, text: str | None = None) -> str:
    """Returns the first line of a library's error, or of `text` in its place, or the error's type where that is empty.

    A long line is cut between two words, so that it holds no part of a path that could be taken for another.
    """
    line = ((str(error) if text is None else text).strip() or type(error).__name__).splitlines()[0]
    if len(line) <= _LONGEST_CAUSE:
        return line
    start = line[:_LONGEST_CAUSE]
    return f"{start.rpartition(' ')[0] or start} …"
