"""The first pass over a film: it finds the shots that a FilmDream begins, without dreaming."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import cv2
import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, photograph

from onnxdream.models.arrays import Pixels
from onnxdream.runtime import Bundle, Execution, Settings
from onnxdream.runtime.film.apart.finding import find_shots, roles
from onnxdream.runtime.film.frames.coherence import FilmDream
from onnxdream.runtime.film.frames.shots import LOOK_AHEAD
from onnxdream.runtime.film.settings import Coherence

TINY = Bundle.load(TINY_BYTES)
SETTINGS = Settings(steps=1, octaves=1, execution=Execution("cpu", 1))
WALL = photograph(64, 200)
OTHER = np.ascontiguousarray(cv2.applyColorMap(photograph(64, 96)[..., 2], cv2.COLORMAP_AUTUMN))
BLACK = np.zeros((64, 96, 3), np.uint8)


def pan(frames: int, first: int = 0) -> list[Pixels]:
    return [np.ascontiguousarray(WALL[:, 2 * i : 2 * i + 96]) for i in range(first, first + frames)]


def flash(frame: Pixels) -> Pixels:
    return (frame * 0.3 + 178).astype(np.uint8)


def mixed(share: float) -> Pixels:
    """A frame of a dissolve."""
    return cv2.addWeighted(pan(1)[0], 1 - share, OTHER, share, 0)


FILMS = {
    "one shot": (pan(6), (6,)),
    "a cut": ([*pan(6), OTHER, OTHER], (6, 2)),
    "a flash": ([*pan(3), flash(pan(1)[0]), *pan(4, 4), OTHER, OTHER], (8, 2)),
    "a flash just before a cut": ([*pan(4), flash(pan(1)[0]), OTHER, OTHER, OTHER], None),
    "a short blank stretch": ([*pan(3), *[BLACK] * LOOK_AHEAD, *pan(3)], (6 + LOOK_AHEAD,)),
    "a long blank stretch": ([*pan(3), *[BLACK] * (LOOK_AHEAD + 1), *pan(3)], (4 + LOOK_AHEAD, 3)),
    "blank at first": ([BLACK, BLACK, *pan(3), OTHER], (5, 1)),
    "nothing but blank": ([BLACK] * 3, (3,)),
    "missing frames": ([None, *pan(3), None, OTHER, None, *[OTHER] * 4, None, *pan(2)], (4, 7, 2)),
    "a dissolve": ([*pan(3), *map(mixed, (0.25, 0.5, 0.75)), OTHER, OTHER], None),
    "an end amid a change": ([*pan(3), OTHER], (3, 1)),
}


@pytest.mark.parametrize("name", FILMS)
def test_the_first_pass_finds_the_shots_that_the_dream_begins(name: str) -> None:
    frames: Sequence[Pixels | None] = FILMS[name][0]
    shown = list(FilmDream(TINY, SETTINGS, Coherence(steps_next=1)).frames(frames))
    shots = find_shots(frames, TINY.metadata, SETTINGS)
    begins = [number for number, frame in enumerate(shown) if frame.begins_shot]
    assert [0, *accumulate(shots)][1:-1] == begins[1:]
    assert sum(shots) == len(shown)
    if FILMS[name][1]:
        assert shots == FILMS[name][1]


def test_each_frame_has_its_role() -> None:
    frames = [*pan(2), flash(pan(1)[0]), pan(1, 3)[0], None, BLACK, pan(1, 4)[0]]
    assert list(roles(frames, TINY.metadata, SETTINGS)) == ["first", "next", "flash", "next", None, "blank", "next"]
