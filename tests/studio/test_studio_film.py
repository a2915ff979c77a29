"""The short film of a dream, and the frames that are kept for it."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest
from studio_server import picture

from onnxdream.runtime.errors import PictureError
from onnxdream.runtime.video.formats import FORMATS
from onnxdream.studio.jobs.film import Reel, film_form


@pytest.fixture
def reel(tmp_path: Path) -> Reel:
    reel = Reel(tmp_path / "frames")
    for step in range(6):
        reel.add(step, picture(suffix=".jpg"))
    (tmp_path / "cat-dream.png").write_bytes(picture())
    return reel


def test_a_film_whose_frames_cannot_be_read_leaves_nothing(reel: Reel, tmp_path: Path) -> None:
    """What was written of it would be taken for the film the next time."""
    (tmp_path / "frames" / "0000003.jpg").write_bytes(b"cut short")
    before = set(tmp_path.iterdir())
    with pytest.raises(PictureError):
        reel.make(tmp_path / f"cat-dream-film.{film_form()}", tmp_path / "cat-dream.png")
    assert set(tmp_path.iterdir()) == before


def test_the_form_is_one_that_this_pyav_has_an_encoder_of(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.setitem(FORMATS, ".webm", replace(FORMATS[".webm"], codec="libabsent"))
    assert film_form.__wrapped__() == "webp"


def test_a_frame_that_cannot_be_written_leaves_nothing(reel: Reel, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk. The next studio would take the frame for a whole one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            reel.add(6, picture(suffix=".jpg"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    film = tmp_path / f"cat-dream-film.{film_form()}"
    Reel(tmp_path / "frames").make(film, tmp_path / "cat-dream.png")
    assert film.stat().st_size
