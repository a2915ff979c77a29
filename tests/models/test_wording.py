"""Numbers in messages."""

from __future__ import annotations

import pytest

from onnxdream.models.wording import counted, format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89.4, "89 s"), (90, "2 min"), (89 * 60, "89 min"), (90 * 60, "1 h 30 min"), (7500, "2 h 5 min")],
)
def test_a_duration_has_the_units_of_its_length(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "frame", "0 frames"), (1, "frame", "1 frame"), (2, "frame", "2 frames"), (2, "process", "2 processes")],
)
def test_a_number_agrees_with_its_noun(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
