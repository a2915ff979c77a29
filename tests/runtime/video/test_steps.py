"""Films of dreams' steps, written by PyAV and by OpenCV, and read back by OpenCV."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pictures_fixture import frames, in_limited_files, listing

from onnxdream.models.arrays import Pixels
from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.video import opencv, steps
from onnxdream.runtime.video.formats import FORMATS
from onnxdream.runtime.video.library import has_av
from onnxdream.runtime.video.steps import FilmSpeed, StepFilm

needs_av = pytest.mark.skipif(not has_av(), reason="needs PyAV")


@pytest.fixture(params=[pytest.param("av", marks=needs_av), "opencv"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library that writes the films of a test."""
    name = str(request.param)
    if name == "opencv":
        monkeypatch.setattr(steps, "has_av", lambda: False)
    return name


def flat(red: int, green: int, blue: int, height: int = 48, width: int = 64) -> Pixels:
    """A picture of one colour."""
    return np.full((height, width, 3), (red, green, blue), np.uint8)


def property_of(path: Path, name: int) -> float:
    return float(cv2.VideoCapture(str(path)).get(name))


@pytest.mark.parametrize("name", ["bears.mp4", "bears.webm", "BEARS.WebM"])
def test_a_film_has_every_picture_in_order_size_and_colour(
    name: str, library: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = [flat(200, 40, 40), flat(40, 200, 40), flat(40, 40, 200)]
    lines: list[str] = []
    with StepFilm(tmp_path / name, fps=3, log=lines.append) as film:
        for picture in pictures:
            film.add(picture)
    shown = frames(tmp_path / name)
    assert [frame.shape for frame in shown] == [(48, 64, 3)] * 3
    levels = 12 if cv2.__version__ >= "5" else 40  # OpenCV 4 takes BT.709 for BT.601
    for frame, picture in zip(shown, pictures, strict=True):
        assert np.abs(frame.mean(axis=(0, 1)) - picture[0, 0]).max() < levels
    assert listing(tmp_path) == {name}
    assert property_of(tmp_path / name, cv2.CAP_PROP_FPS) == 3
    codecs = (b"H264", b"AVC1") if library == "av" and name.endswith("mp4") else (b"VP09", b"VP90")
    assert int(property_of(tmp_path / name, cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").upper() in codecs
    assert (lines, capfd.readouterr()) == ([], ("", ""))  # OpenCV is silent, too


@pytest.mark.usefixtures("library")
def test_a_webm_declares_itself_as_one(tmp_path: Path) -> None:
    with StepFilm(tmp_path / "bears.webm") as film:
        film.add(flat(9, 9, 9))
    start = (tmp_path / "bears.webm").read_bytes()[:64]
    assert start.startswith(b"\x1a\x45\xdf\xa3")
    assert b"\x42\x82\x84webm" in start
    assert b"matroska" not in start


def test_an_opencv_without_vp9_writes_what_browsers_do_not_play_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "has_av", lambda: False)
    monkeypatch.setattr(opencv, "_CODECS", {".mp4": ("none", "mp4v"), ".webm": ("none",)})
    lines: list[str] = []
    with StepFilm(tmp_path / "bears.mp4", log=lines.append) as film:
        film.add(flat(9, 9, 9))
    assert lines == ["browsers do not play this film, because this OpenCV cannot write VP9"]
    assert len(frames(tmp_path / "bears.mp4")) == 1
    with (
        pytest.raises(OutputError, match=r"this OpenCV cannot write \.webm films"),
        StepFilm(tmp_path / "b.webm") as film,
    ):
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
@pytest.mark.usefixtures("library")
def test_a_folder_whose_name_is_not_utf8_gets_a_film(tmp_path: Path) -> None:
    """OpenCV itself crashes on such a name."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    for name in ("a.mp4", "b.webm", os.fsdecode(b"\xe9.mp4")):
        with StepFilm(folder / name) as film:
            film.add(flat(9, 9, 9))
        assert (folder / name).stat().st_size > 100
    assert len(os.listdir(folder)) == 3


def test_without_another_name_for_such_a_folder_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "has_av", lambda: False)
    monkeypatch.setattr(opencv, "_is_utf8", lambda path: False)
    monkeypatch.setattr(os.path, "exists", lambda path: False)  # as on a system without /proc
    with pytest.raises(OutputError, match=r"the folder's name is not UTF-8.*: choose another folder"):
        StepFilm(tmp_path / "bears.mp4").__enter__()
    assert listing(tmp_path) == set()


def test_what_a_killed_run_has_left_of_a_film_is_removed_on_resuming(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from onnxdream.runtime.video.steps import StepFilm
for name in ("bears.mp4", "another.webm"):
    StepFilm(Path({str(tmp_path)!r}) / name).__enter__()
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert len(listing(tmp_path)) == 4
    with StepFilm(tmp_path / "bears.mp4", overwrite=True, resumes=True) as film:
        film.add(flat(9, 9, 9))
    left = listing(tmp_path) - {"bears.mp4", "another.webm"}
    assert len(left) == 1  # that of the other film, which may still be written
    assert left.pop().startswith(".onnxdream-")


@pytest.mark.usefixtures("library")
def test_odd_rows_and_columns_are_written_twice(tmp_path: Path) -> None:
    with StepFilm(tmp_path / "odd.mp4") as film:
        film.add(flat(9, 9, 9, 37, 53))
    assert frames(tmp_path / "odd.mp4")[0].shape == (38, 54, 3)


@needs_av
@pytest.mark.parametrize("name", ["bears.gif", "bears.webp"])
def test_an_animated_picture_is_written_with_pyav(name: str, tmp_path: Path) -> None:
    with StepFilm(tmp_path / name, fps=10) as film:
        for level in (50, 120, 200):
            film.add(flat(level, level, level, 37, 53))
    if hasattr(cv2, "imreadanimation"):
        _, animation = cv2.imreadanimation(str(tmp_path / name))
        assert [frame.shape[:2] for frame in animation.frames] == [(37, 53)] * 3
        assert list(np.ravel(animation.durations))[:2] == [100, 100]
        assert all(
            abs(frame[..., :3].mean() - level) < 5
            for frame, level in zip(animation.frames, (50, 120, 200), strict=True)
        )
    assert listing(tmp_path) == {name}


@pytest.mark.parametrize("name", ["bears.gif", "bears.webp"])
def test_without_pyav_an_animated_picture_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "has_av", lambda: False)
    with pytest.raises(
        OutputError, match=r"films need PyAV: pip install 'onnxdream\[video\]', or choose a name that en"
    ):
        StepFilm(tmp_path / name)


@needs_av
@pytest.mark.parametrize("name", ["bears.mp4", "bears.webm", "bears.gif", "bears.webp"])
def test_the_same_pictures_make_the_same_film(name: str, tmp_path: Path) -> None:
    for folder in "ab":
        with StepFilm(tmp_path / folder / name) as film:
            for level in (50, 120, 200):
                film.add(flat(level, 40, 40))
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.usefixtures("library")
def test_sixteen_bits_and_alpha_become_eight_bits_of_colour(channels: int, tmp_path: Path) -> None:
    picture = np.full((48, 64, channels), 150 * 257, np.uint16)
    with StepFilm(tmp_path / "deep.mp4") as film:
        film.add(picture)
    assert abs(float(frames(tmp_path / "deep.mp4")[0].mean()) - 150) < 6


@pytest.mark.usefixtures("library")
def test_missing_folders_are_created(tmp_path: Path) -> None:
    with StepFilm(tmp_path / "a" / "b" / "bears.mp4") as film:
        film.add(flat(9, 9, 9))
    assert len(frames(tmp_path / "a" / "b" / "bears.mp4")) == 1


@pytest.mark.usefixtures("library")
def test_a_film_without_frames_leaves_no_file(tmp_path: Path) -> None:
    with StepFilm(tmp_path / "bears.mp4"):
        pass
    assert listing(tmp_path) == set()


@pytest.mark.usefixtures("library")
def test_an_interrupted_film_keeps_its_frames(tmp_path: Path) -> None:
    def film_two() -> None:
        with StepFilm(tmp_path / "bears.mp4") as film:
            film.add(flat(9, 9, 9))
            film.add(flat(9, 9, 9))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film_two()
    assert len(frames(tmp_path / "bears.mp4")) == 2
    assert listing(tmp_path) == {"bears.mp4"}


@pytest.mark.parametrize("name", ["bears.avi", "bears", "bears.mp4.txt"])
def test_another_kind_of_film_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"only \.mp4, \.webm, \.gif and \.webp films can be written"):
        StepFilm(tmp_path / name)


@needs_av
@pytest.mark.parametrize(("suffix", "field"), [(".mp4", "codec"), (".webp", "joined_codec")])
def test_a_pyav_without_an_encoder_is_told_before_the_first_picture(
    suffix: str, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking: dict[str, Any] = {field: "libabsent"}
    monkeypatch.setitem(FORMATS, suffix, replace(FORMATS[suffix], **lacking))
    told = f"{suffix} films need the encoder libabsent, which this PyAV lacks: choose another ending"
    with pytest.raises(OutputError, match=told), StepFilm(tmp_path / f"bears{suffix}"):
        pytest.fail("it was opened")
    assert listing(tmp_path) == set()


@pytest.mark.usefixtures("library")
def test_a_film_that_cannot_be_written_is_refused_before_the_first_picture(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    before = listing(tmp_path)
    for path in (tmp_path / "file" / "bears.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(OutputError, match=r"cannot write film .*: choose another name"), StepFilm(path):
            pytest.fail("it was opened")
    assert listing(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a limit on file sizes")
@pytest.mark.parametrize("name", ["bears.mp4", "bears.webm", "bears.gif", "bears.webp"])
def test_a_film_on_a_full_disk_is_not_left_half_written(name: str, library: str, tmp_path: Path) -> None:
    if library == "opencv" and not name.endswith(("mp4", "webm")):
        pytest.skip("only PyAV writes it")
    path = tmp_path / name
    program = f"""
import numpy
from pathlib import Path
from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.video import steps
if {library!r} == "opencv":
    steps.has_av = lambda: False
pictures = numpy.random.default_rng(0)
try:
    with steps.StepFilm(Path({str(path)!r})) as film:
        for _ in range(20):
            film.add(pictures.integers(0, 256, (120, 160, 3), dtype=numpy.uint8))
except OutputError as error:
    print(error)
"""
    finished = in_limited_files(50_000, sys.executable, "-c", program)
    assert finished.returncode == 0, finished.stderr
    reason = "File too large" if library == "av" else "it is cut short"  # OpenCV does not say why
    assert f"cannot write film {path} ({reason}): make room" in finished.stdout
    assert listing(tmp_path) == set()
