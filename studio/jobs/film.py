"""The short film of a dream: the frames that are kept of it, and the file that is made of them when it is asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from ...models.arrays import Pixels
from ...models.errors import OnnxdreamError
from ...models.files import atomic_write, temporary_path
from ...runtime.image.files import read_picture
from ...runtime.image.resizing import resize
from ...runtime.video.steps import FilmSpeed, StepFilm

_FILMS = (".webm", ".webp", ".gif")
_MAX_FRAMES = 90
_LAST_TWICE = 8  # the last picture stays for so many frames more


class Reel:
    """The frames of one dream in a folder, by their steps: at most 90, of which every second is dropped for more.

    `given` counts the frames that are there and those on their way to the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._steps: list[int] = []
        with suppress(OSError):
            self._steps = sorted(int(path.stem) for path in folder.glob("*.jpg") if path.stem.isdecimal())
        self._every, self._seen = 1, 0
        self.given = len(self._steps)

    def add(self, step: int, jpeg: bytes) -> None:
        """Keeps a frame if it is due. Raises OSError."""
        self._seen += 1
        if self._seen % self._every or (self._steps and step <= self._steps[-1]):
            return
        self._folder.mkdir(exist_ok=True)
        atomic_write(self._path(step), jpeg)
        self._steps.append(step)
        if len(self._steps) > _MAX_FRAMES:
            self._every *= 2
            for dropped in self._steps[1::2]:
                self._path(dropped).unlink(missing_ok=True)
            self._steps = self._steps[::2]

    def _path(self, step: int) -> Path:
        return self._folder / f"{step:07d}.jpg"

    def make(self, path: Path, result: Path) -> None:
        """Writes the film of the frames and the result, or nothing. Raises DreamError and OSError."""
        last = read_picture(result).pixels
        speed = FilmSpeed.of(len(self._steps) + _LAST_TWICE, every=1)
        part = temporary_path(path, path.suffix)
        try:
            with StepFilm(part, fps=speed.fps) as film:  # which keeps the frames so far where one cannot be read
                for picture in self._pictures(last):
                    film.add(picture)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def _pictures(self, result: Pixels) -> Iterator[Pixels]:
        """Yields the frames at the size of the last one, and then the last one for a while."""
        frames = [read_picture(self._path(step)).pixels for step in self._steps[-1:]]
        height, width = frames[0].shape[:2] if frames else result.shape[:2]
        for step in self._steps:
            yield resize(read_picture(self._path(step)).pixels, width, height)
        for _ in range(_LAST_TWICE):
            yield resize(result, width, height)


@cache
def film_form() -> str | None:
    """Returns the form in which this machine can write a short film, or None. Finds out by writing one."""
    picture = np.zeros((16, 16, 3), np.uint8)
    for suffix in _FILMS:
        with suppress(OnnxdreamError, OSError), tempfile.TemporaryDirectory() as folder:
            with StepFilm(Path(folder) / f"try{suffix}") as film:
                film.add(picture)
                film.add(picture)
            return suffix.removeprefix(".")
    return None
