"""Schedules: a setting that changes from the first step of an octave to its last."""

from __future__ import annotations

from ..errors import SettingsError

# One value for all steps, or the first step's and the last's.
Schedule = float | tuple[float, float]


def value_at_step(value: Schedule, number: int, steps: int) -> float:
    """Returns the value of a setting at update `number` of an octave, counted from 1.

    It changes linearly from the first value at update 1 to the last value at update `steps`, and stays there after it,
    where a change on the way has made the octave shorter than it is already. In an octave of one step it is the first
    value.
    """
    if not isinstance(value, tuple):
        return value
    first, last = value
    share = min(1.0, (number - 1) / (steps - 1)) if steps > 1 else 0.0
    return (1 - share) * first + share * last


def largest_value(value: Schedule) -> float:
    """Returns the largest value at any step."""
    return max(value) if isinstance(value, tuple) else value


def parse_schedule(name: str, text: str) -> Schedule:
    """Reads `0.03`, or `0.03:0.012` as a pair. `name` is the setting's name in messages. Raises SettingsError."""
    try:
        values = tuple(map(float, text.split(":")))
    except ValueError:
        raise schedule_error(name, text) from None
    if len(values) == 1:
        return values[0]
    if len(values) != 2:
        raise schedule_error(name, text)
    return values


def schedule_error(name: str, value: object) -> SettingsError:
    """Returns the error for a value that is neither a number nor a pair of numbers."""
    return SettingsError(f"{name} {value!r}: write 0.03, or 0.03:0.012 from an octave's first step to its last")
