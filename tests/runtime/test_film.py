"""Films of dreams, read back by OpenCV."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures_fixture import frames, in_limited_files, listing

from onnxdream.models.arrays import Pixels
from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.film import Film


def flat(red: int, green: int, blue: int, height: int = 48, width: int = 64) -> Pixels:
    """A picture of one colour."""
    return np.full((height, width, 3), (red, green, blue), np.uint8)


def test_a_film_has_every_picture_in_order_size_and_colour(tmp_path: Path) -> None:
    pictures = [flat(200, 40, 40), flat(40, 200, 40), flat(40, 40, 200)]
    with Film(tmp_path / "bears.mp4") as film:
        for picture in pictures:
            film.add(picture)
    shown = frames(tmp_path / "bears.mp4")
    assert [frame.shape for frame in shown] == [(48, 64, 3)] * 3
    for frame, picture in zip(shown, pictures, strict=True):
        assert np.abs(frame.mean(axis=(0, 1)) - picture[0, 0]).max() < 12
    assert listing(tmp_path) == {"bears.mp4"}


def test_odd_rows_and_columns_are_left_out(tmp_path: Path) -> None:
    with Film(tmp_path / "odd.mp4") as film:
        film.add(flat(9, 9, 9, 37, 53))
    assert frames(tmp_path / "odd.mp4")[0].shape == (36, 52, 3)


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_and_alpha_become_eight_bits_of_colour(channels: int, tmp_path: Path) -> None:
    picture = np.full((48, 64, channels), 150 * 257, np.uint16)
    with Film(tmp_path / "deep.mp4") as film:
        film.add(picture)
    assert abs(float(frames(tmp_path / "deep.mp4")[0].mean()) - 150) < 6


def test_missing_folders_are_created(tmp_path: Path) -> None:
    with Film(tmp_path / "a" / "b" / "bears.mp4") as film:
        film.add(flat(9, 9, 9))
    assert len(frames(tmp_path / "a" / "b" / "bears.mp4")) == 1


def test_a_film_without_frames_leaves_no_file(tmp_path: Path) -> None:
    with Film(tmp_path / "bears.mp4"):
        pass
    assert listing(tmp_path) == set()


def test_an_interrupted_film_keeps_its_frames(tmp_path: Path) -> None:
    def film_two() -> None:
        with Film(tmp_path / "bears.mp4") as film:
            film.add(flat(9, 9, 9))
            film.add(flat(9, 9, 9))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film_two()
    assert len(frames(tmp_path / "bears.mp4")) == 2
    assert listing(tmp_path) == {"bears.mp4"}


@pytest.mark.parametrize("name", ["bears.avi", "bears", "bears.mp4.txt"])
def test_another_kind_of_film_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"only \.mp4 films can be written"):
        Film(tmp_path / name)


def test_a_film_that_cannot_be_written_is_refused_before_the_first_picture(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    before = listing(tmp_path)
    for path in (tmp_path / "file" / "bears.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(OutputError, match=r"cannot write film .*: choose another name"), Film(path):
            pytest.fail("it was opened")
    assert listing(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a limit on file sizes")
def test_a_film_on_a_full_disk_is_not_left_half_written(tmp_path: Path) -> None:
    path = tmp_path / "bears.mp4"
    program = f"""
import numpy
from pathlib import Path
from onnxdream.runtime.film import Film
from onnxdream.runtime.errors import OutputError
pictures = numpy.random.default_rng(0)
try:
    with Film(Path({str(path)!r})) as film:
        for _ in range(40):
            film.add(pictures.integers(0, 256, (240, 320, 3), dtype=numpy.uint8))
except OutputError as error:
    print(error)
"""
    finished = in_limited_files(50_000, sys.executable, "-c", program)
    assert finished.returncode == 0, finished.stderr
    assert "cannot write film" in finished.stdout
    assert listing(tmp_path) == set()
