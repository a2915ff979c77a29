"""The kinds of films that can be written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.video.formats import FORMATS, film_format


@pytest.mark.parametrize("name", ["a.mp4", "a.MP4", "b.c.WebM", "a.gif", "a.webp"])
def test_the_suffix_chooses_the_format_in_any_case(name: str) -> None:
    assert film_format(Path(name)).suffix == Path(name).suffix.lower()


@pytest.mark.parametrize("name", ["a.mov", "a.mkv", "a.avi", "a", "a.mp4.txt"])
def test_other_suffixes_are_refused_with_those_that_work(name: str) -> None:
    with pytest.raises(OutputError) as caught:
        film_format(Path(name))
    assert str(caught.value) == (
        f"film {name}: only .mp4, .webm, .gif and .webp films can be written: choose a name with one of these endings"
    )


@pytest.mark.parametrize(
    ("time_base", "tick"),
    [
        (Fraction(1, 90_000), Fraction(1, 90_000)),
        (Fraction(1001, 30_000), Fraction(1, 30_000)),
        (Fraction(1, 25), Fraction(1, 12_800)),
        (Fraction(1, 10**9), Fraction(1, 10**6)),
    ],
)
def test_an_mp4_counts_in_the_units_of_its_source(time_base: Fraction, tick: Fraction) -> None:
    assert FORMATS[".mp4"].ticks(time_base) == tick
    assert FORMATS[".webm"].ticks(time_base) == Fraction(1, 1000)
