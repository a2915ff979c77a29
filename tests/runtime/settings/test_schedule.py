"""Settings that change within an octave: their values at each step, and how they are written."""

from __future__ import annotations

import pytest

from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.settings.schedule import Schedule, largest_value, parse_schedule, value_at_step


@pytest.mark.parametrize(
    ("number", "steps", "value"),
    [(1, 5, 0.03), (2, 5, 0.0255), (3, 5, 0.021), (5, 5, 0.012), (1, 1, 0.03), (2, 2, 0.012)],
)
def test_a_schedule_runs_linearly_from_the_first_step_to_the_last(number: int, steps: int, value: float) -> None:
    assert value_at_step((0.03, 0.012), number, steps) == pytest.approx(value, rel=1e-12)


def test_its_ends_are_exact() -> None:
    for first, last in [(0.03, 0.012), (1.6, 0.1), (0.0, 0.7), (1e-9, 1e9)]:
        assert value_at_step((first, last), 1, 12) == first
        assert value_at_step((first, last), 12, 12) == last


def test_a_number_is_the_same_at_every_step() -> None:
    assert {value_at_step(0.3, number, 7) for number in range(1, 8)} == {0.3}


def test_the_largest_value_may_be_at_either_end() -> None:
    assert [largest_value(value) for value in (0.5, (0.5, 2.0), (2.0, 0.5))] == [0.5, 2.0, 2.0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.03", 0.03),
        ("3", 3.0),
        ("-1", -1.0),
        ("0.03:0.012", (0.03, 0.012)),
        (" 1.6 : 0 ", (1.6, 0.0)),
        ("1e-3:2", (0.001, 2.0)),
    ],
)
def test_a_schedule_is_read_from_a_command_line(text: str, value: Schedule) -> None:
    assert parse_schedule("step size", text) == value


@pytest.mark.parametrize("text", ["", ":", "1:", ":1", "1:2:3", "fast", "fast:slow", "1:slow", "1;2", "1-2"])
def test_other_texts_are_refused_with_an_example_of_a_schedule(text: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        parse_schedule("step size", text)
    expected = f"step size {text!r}: write 0.03, or 0.03:0.012 from an octave's first step to its last"
    assert str(refusal.value) == expected


def test_an_octave_that_has_become_shorter_than_it_is_keeps_the_last_value() -> None:
    assert value_at_step((1.6, 0.5), 500, 20) == 0.5
