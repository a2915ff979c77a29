"""Footage: the same frames wherever one begins, whatever the film's times and damages are."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("av")
from clips import Clip, packets, pan, uneven_times, write_clip

from onnxdream.runtime.film.frames.shots import LOOK_AHEAD
from onnxdream.runtime.film.record import FilmRecord
from onnxdream.runtime.film.reels import Footage
from onnxdream.runtime.video.reader import FilmReader, SourceFrame

FRAMES = 40
WHOLE = cast(FilmRecord, SimpleNamespace(start=None, end=None))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A film of a variable rate, with key frames, and with a damaged frame."""
    options = {"crf": "10", "preset": "fast", "g": "9"}
    path = write_clip(tmp_path / "a.mp4", Clip(pan(FRAMES), uneven_times(FRAMES), options=options))
    data = bytearray(path.read_bytes())
    damaged = packets(path, "video")[5].data
    position = data.index(damaged)
    data[position + 4 : position + len(damaged)] = bytes(len(damaged) - 4)
    path.write_bytes(data)
    return path


def assert_equal(found: list[SourceFrame], expected: list[SourceFrame]) -> None:
    assert [(one.time, one.duration) for one in found] == [(one.time, one.duration) for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.pixels is None) == (other.pixels is None)
        if one.pixels is not None:
            np.testing.assert_array_equal(one.pixels, cast(Any, other.pixels))


def test_frames_are_the_same_wherever_one_begins(source: Path) -> None:
    with FilmReader(source) as reader:
        expected = list(reader)
    assert any(frame.pixels is None for frame in expected)
    footage = Footage(source, WHOLE, lambda line: None)
    for first, count in ((0, 7), (7 - LOOK_AHEAD, 9), (20, 3), (4, 4), (39, 1), (0, FRAMES), (FRAMES, 1)):
        assert_equal(list(islice(footage.frames(first), count)), expected[first : first + count])


@pytest.mark.parametrize("back", range(1, LOOK_AHEAD))
def test_going_back_among_frames_that_were_skipped_shows_them(source: Path, back: int) -> None:
    with FilmReader(source) as reader:
        expected = list(reader)
    footage = Footage(source, WHOLE, lambda line: None)
    for first in (20, 20 - back):
        assert_equal(list(islice(footage.frames(first), 1)), expected[first : first + 1])


def test_the_frames_that_two_shots_look_at_are_decoded_once(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footage = Footage(source, WHOLE, lambda line: None)
    monkeypatch.setattr(footage, "_open", lambda: pytest.fail("the film was opened anew"))
    for first in (0, 10, 25):
        list(islice(footage.frames(first), 10 + LOOK_AHEAD))
