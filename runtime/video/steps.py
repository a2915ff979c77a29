"""The film of a dream's steps: one frame every few steps."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ...models.arrays import Pixels, Size
from ...models.files import remove_leftovers, temporary_path
from ..errors import OutputError
from .encoder import SegmentWriter
from .formats import FilmFormat, film_format
from .joining import Segment, join
from .library import has_av, require_encoders, writing_reason
from .opencv import OpenCvWriter, container_suffix

_MAX_FRAMES_PER_SECOND = 25
_MIN_SECONDS = 3
# A long dream has a frame every _MAX_EVERY steps, a short one has more, up to _MIN_FRAMES.
_MAX_EVERY = 10
_MIN_FRAMES = 50


@dataclass(frozen=True)
class FilmSpeed:
    """A frame every `every` steps, and `fps` frames per second."""

    every: int
    fps: int

    @classmethod
    def of(cls, steps: int, every: int | None = None, fps: int | None = None) -> FilmSpeed:
        """Chooses what is None for a dream of `steps` steps, so that even a short one makes a film of three seconds."""
        every = every or max(1, min(_MAX_EVERY, steps // _MIN_FRAMES))
        frames = steps // every + 1
        return cls(every, fps or max(1, min(_MAX_FRAMES_PER_SECOND, frames // _MIN_SECONDS)))


class StepFilm:
    """Writes an .mp4, .webm, .gif or .webp under a temporary name and renames it after the last frame.

    Its own name is reserved by an empty file until then, unless it may `overwrite` an earlier film. `fps` are the
    frames per second; `log` is called with a line for the user where browsers will not play the film. With `resumes`,
    what a killed run has left of this film is removed. Without PyAV, OpenCV writes it, which knows .mp4 and .webm.
    Raises OutputError.
    """

    def __init__(
        self,
        path: Path,
        overwrite: bool = False,
        fps: int = _MAX_FRAMES_PER_SECOND,
        log: Callable[[str], None] = lambda line: None,
        resumes: bool = False,
    ) -> None:
        self.path = path
        self._format = film_format(path)
        self._overwrite, self._resumes = overwrite, resumes
        self._fps, self._log = fps, log
        suffix = self._format.suffix if has_av() else container_suffix(self._format.suffix, path)
        self._temporary = temporary_path(path, suffix)
        self._writer: _Writer | None = None
        self._frames = 0

    def __enter__(self) -> StepFilm:
        """Proves before the first step that the film can be written there. Raises OutputError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise IsADirectoryError(None, "it is a folder")
            if self._resumes:
                remove_leftovers(self.path)
            self._temporary.touch()
        except OSError as error:
            raise OutputError(f"cannot write film {self.path} ({error.strerror}): choose another name") from error
        try:
            if has_av():
                require_encoders(self._format)
                self._writer = _AvWriter(self._temporary, self._format, self._fps)
            else:
                self._writer = OpenCvWriter(self._temporary, self._format.suffix, self._fps, self._log)
            if not self._overwrite:
                self._reserve()
        except OutputError:
            self._clean_up()
            raise
        return self

    def _reserve(self) -> None:
        try:
            self.path.touch(exist_ok=False)
        except FileExistsError:
            raise OutputError(f"film {self.path} exists: choose another name, or replace it with --overwrite") from None

    def add(self, pixels: Pixels) -> None:
        """Appends a picture as a frame; all must have the same size. Alpha is dropped, 16 bits become 8."""
        assert self._writer, "the film has not been entered"
        self._writer.add(pixels)
        self._frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer and self._frames:
                self._writer.finish()
                os.replace(self._temporary, self.path)
        except OSError as failure:  # OutputErrors included, which name a file of another name
            raise OutputError(
                f"cannot write film {self.path} ({writing_reason(failure)}): make room or choose another name"
            ) from failure
        finally:
            self._clean_up()
            with suppress(OSError):
                if not self.path.stat().st_size:  # the name was reserved, and no film came of it
                    self.path.unlink()

    def _clean_up(self) -> None:
        if self._writer:
            self._writer.close()
        self._temporary.unlink(missing_ok=True)


class _Writer(Protocol):
    """Writes pictures to the temporary file of a film."""

    def add(self, pixels: Pixels) -> None: ...

    def finish(self) -> None:
        """Completes the file. Raises OSError."""

    def close(self) -> None:
        """Closes and removes everything but the file."""


class _AvWriter:
    """Writes a film with PyAV, as one segment."""

    def __init__(self, path: Path, kind: FilmFormat, fps: int) -> None:
        self._path, self._format, self._duration = path, kind, Fraction(1, fps)
        self._segment = path.with_suffix(f".segment{kind.segment_suffix}")
        self._writer: SegmentWriter | None = None
        self._frames = 0

    def add(self, pixels: Pixels) -> None:
        if self._writer is None:
            size = Size(*pixels.shape[:2])
            self._writer = SegmentWriter(self._segment, self._format, size, self._duration, 1 / self._duration)
        self._writer.add(pixels, self._frames * self._duration, self._duration)
        self._frames += 1

    def finish(self) -> None:
        assert self._writer, "there are no pictures"
        self._writer.close()
        join([Segment(self._segment, Fraction(0), self._frames)], self._path, self._format)

    def close(self) -> None:
        self._segment.unlink(missing_ok=True)
