"""States of a film on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.errors import RecordError
from onnxdream.runtime.film.frames.coherence import DreamedFrame, FilmState, Shot
from onnxdream.runtime.film.frames.exposure import Exposure
from onnxdream.runtime.film.frames.shots import Seen
from onnxdream.runtime.film.states import read_state, write_state

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
SHOT = Shot(
    np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 2, 4),
    Seen(PIXELS, 3),
    Exposure((0.1, 1 / 3, -0.7), 1e-9),
    Objective(np.ones(2, np.float32), np.full(5, 0.2, np.float32)),
    None,
)


def test_a_state_comes_back_exactly(tmp_path: Path) -> None:
    state = FilmState(DreamedFrame(PIXELS, 1 / 3, True, True), 4, SHOT)
    write_state(tmp_path / "a.npz", state)
    read = read_state(tmp_path / "a.npz", FilmState)
    assert read.shot is not None
    assert (read.shots, read.shot.seen.blank_frames, read.shot.exposure) == (4, 3, SHOT.exposure)
    assert (read.shown.loss, read.shown.begins_shot, read.shown.is_repeated) == (1 / 3, True, True)
    np.testing.assert_array_equal(read.shown.pixels, PIXELS)
    np.testing.assert_array_equal(read.shot.change, SHOT.change)
    assert read.shot.change.dtype == np.float32
    assert read.shot.colours is None
    assert read.shot.objective.positions is None
    assert read.shot.objective.channel_weights is not None
    np.testing.assert_array_equal(read.shot.objective.channel_weights, np.full(5, 0.2, np.float32))


def test_a_state_without_a_shot_has_none(tmp_path: Path) -> None:
    write_state(tmp_path / "a.npz", FilmState(DreamedFrame(PIXELS, 0.0)))
    assert read_state(tmp_path / "a.npz", FilmState).shot is None


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_damaged_state_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    if damage == "cut":
        write_state(path, FilmState(DreamedFrame(PIXELS, 0.0), 1, SHOT))
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "other":
        np.savez(path, something=PIXELS)
    with pytest.raises(RecordError, match="start the film again"):
        read_state(path, FilmState)
