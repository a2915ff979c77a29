"""Parts of messages."""

from __future__ import annotations

import pytest

from onnxdream.models.wording import cause, counted, format_duration


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


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("  no disk\nat line 9"), "no disk"),
        (ValueError(), "ValueError"),
        (OSError(f"{'word ' * 40}cannot open '/{'folder/' * 40}file'"), f"{'word ' * 40}cannot open …"),
        (ValueError("x" * 999), f"{'x' * 300} …"),
    ],
)
def test_a_cause_is_one_line_and_cut_between_words(error: Exception, text: str) -> None:
    assert cause(error) == text
