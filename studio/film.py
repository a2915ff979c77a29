"""The short film of a dream: the frames that are kept of it, and the file that is made of them when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..models.arrays import Pixels
from ..runtime.image.files import read_picture
from ..runtime.image.resizing import resize
from ..runtime.video.steps import FilmSpeed, StepFilm

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
        self._path(step).write_bytes(jpeg)
        self._steps.append(step)
        if len(self._steps) > _MAX_FRAMES:
            self._every *= 2
            for dropped in self._steps[1::2]:
                self._path(dropped).unlink(missing_ok=True)
            self._steps = self._steps[::2]

    def _path(self, step: int) -> Path:
        return self._folder / f"{step:07d}.jpg"

    def make(self, path: Path, result: Path) -> None:
        """Writes the film of the frames and the result. Raises DreamError and OSError."""
        last = read_picture(result).pixels
        pictures = self._pictures(last)
        speed = FilmSpeed.of(len(self._steps) + _LAST_TWICE, every=1)
        with StepFilm(path, overwrite=True, fps=speed.fps) as film:
            for picture in pictures:
                film.add(picture)

    def _pictures(self, result: Pixels) -> Iterator[Pixels]:
        """Yields the frames at the size of the last one, and then the last one for a while."""
        frames = [read_picture(self._path(step)).pixels for step in self._steps[-1:]]
        height, width = frames[0].shape[:2] if frames else result.shape[:2]
        for step in self._steps:
            yield resize(read_picture(self._path(step)).pixels, width, height)
        for _ in range(_LAST_TWICE):
            yield resize(result, width, height)
