"""The figures of benchmarks/films.py, and the table that shows each beside its goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value in words, and its goal. `is_met` is None where there is no goal."""

    name: str
    value: str
    goal: str = ""
    is_met: bool | None = None

    @property
    def verdict(self) -> str:
        """Whether the goal is met, in one word."""
        return "" if self.is_met is None else "met" if self.is_met else "MISSED"


def at_most(name: str, value: float, limit: float, form: str = "{:.2f}") -> Figure:
    """Returns a figure that should not exceed a limit; `form` formats both."""
    return Figure(name, form.format(value), f"≤ {form.format(limit)}", value <= limit)


def at_least(name: str, value: float, limit: float, form: str = "{:.2f}") -> Figure:
    """Returns a figure that should not fall below a limit; `form` formats both."""
    return Figure(name, form.format(value), f"≥ {form.format(limit)}", value >= limit)


def exactly(name: str, value: object, expected: object) -> Figure:
    """Returns a figure that should have one value."""
    return Figure(name, str(value), str(expected), value == expected)


def table(figures: Sequence[Figure]) -> str:
    """Returns the figures as lines of aligned columns."""
    rows = [("figure", "measured", "goal", ""), *((f.name, f.value, f.goal, f.verdict) for f in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
