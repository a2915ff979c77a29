"""Films of dreams, read back by OpenCV."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures_fixture import frames, in_limited_files, listing

from onnxdream.models.arrays import Pixels
from onnxdream.runtime import film as film_module
from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.film import Film, FilmSpeed


def flat(red: int, green: int, blue: int, height: int = 48, width: int = 64) -> Pixels:
    """A picture of one colour."""
    return np.full((height, width, 3), (red, green, blue), np.uint8)


def property_of(path: Path, name: int) -> float:
    return float(cv2.VideoCapture(str(path)).get(name))


@pytest.mark.parametrize("name", ["bears.mp4", "bears.webm", "BEARS.WebM"])
def test_a_film_has_every_picture_in_order_size_and_colour(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = [flat(200, 40, 40), flat(40, 200, 40), flat(40, 40, 200)]
    lines: list[str] = []
    with Film(tmp_path / name, fps=3, log=lines.append) as film:
        for picture in pictures:
            film.add(picture)
    shown = frames(tmp_path / name)
    assert [frame.shape for frame in shown] == [(48, 64, 3)] * 3
    for frame, picture in zip(shown, pictures, strict=True):
        assert np.abs(frame.mean(axis=(0, 1)) - picture[0, 0]).max() < 12
    assert listing(tmp_path) == {name}
    assert property_of(tmp_path / name, cv2.CAP_PROP_FPS) == 3
    assert int(property_of(tmp_path / name, cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").upper() in (b"VP09", b"VP90")
    assert (lines, capfd.readouterr()) == ([], ("", ""))  # OpenCV is silent, too


def test_a_webm_declares_itself_as_one(tmp_path: Path) -> None:
    with Film(tmp_path / "bears.webm") as film:
        film.add(flat(9, 9, 9))
    start = (tmp_path / "bears.webm").read_bytes()[:64]
    assert start.startswith(b"\x1a\x45\xdf\xa3")
    assert b"\x42\x82\x84webm\xec" in start
    assert b"matroska" not in start


def test_an_opencv_without_vp9_writes_what_browsers_do_not_play_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_module, "_CODECS", {".mp4": ("none", "mp4v"), ".webm": ("none",)})
    lines: list[str] = []
    with Film(tmp_path / "bears.mp4", log=lines.append) as film:
        film.add(flat(9, 9, 9))
    assert lines == ["browsers do not play this film, because this OpenCV cannot write VP9"]
    assert len(frames(tmp_path / "bears.mp4")) == 1
    with pytest.raises(OutputError, match=r"this OpenCV cannot write \.webm films"), Film(tmp_path / "b.webm") as film:
        film.add(flat(9, 9, 9))
    assert listing(tmp_path) == {"bears.mp4"}


@pytest.mark.parametrize(
    ("steps", "every", "fps", "expected"),
    [
        (1000, None, None, FilmSpeed(10, 25)),
        (100, None, None, FilmSpeed(2, 17)),
        (20, None, None, FilmSpeed(1, 7)),
        (1, None, None, FilmSpeed(1, 1)),
        (20, 7, None, FilmSpeed(7, 1)),
        (20, None, 50, FilmSpeed(1, 50)),
    ],
)
def test_a_short_dream_makes_a_film_of_three_seconds(
    steps: int, every: int | None, fps: int | None, expected: FilmSpeed
) -> None:
    assert FilmSpeed.of(steps, every, fps) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes only there")
def test_a_folder_whose_name_is_not_utf8_gets_a_film(tmp_path: Path) -> None:
    """OpenCV itself crashes on such a name."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    for name in ("a.mp4", "b.webm", os.fsdecode(b"\xe9.mp4")):
        with Film(folder / name) as film:
            film.add(flat(9, 9, 9))
        assert (folder / name).stat().st_size > 100
    assert len(os.listdir(folder)) == 3


def test_without_another_name_for_such_a_folder_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_module, "_is_utf8", lambda path: False)
    monkeypatch.setattr(os.path, "exists", lambda path: False)  # as on a system without /proc
    with pytest.raises(OutputError, match=r"the folder's name is not UTF-8.*: choose another folder"):
        Film(tmp_path / "bears.mp4").__enter__()
    assert listing(tmp_path) == set()


def test_what_a_killed_run_has_left_of_a_film_is_removed_on_resuming(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from onnxdream.runtime.film import Film
for name in ("bears.mp4", "another.webm"):
    Film(Path({str(tmp_path)!r}) / name).__enter__()
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert len(listing(tmp_path)) == 4
    with Film(tmp_path / "bears.mp4", overwrite=True, resumes=True) as film:
        film.add(flat(9, 9, 9))
    left = listing(tmp_path) - {"bears.mp4", "another.webm"}
    assert len(left) == 1  # that of the other film, which may still be written
    assert left.pop().endswith(".mkv")


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
    with pytest.raises(OutputError, match=r"only \.mp4 and \.webm films can be written"):
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
@pytest.mark.parametrize("name", ["bears.mp4", "bears.webm"])
def test_a_film_on_a_full_disk_is_not_left_half_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
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
