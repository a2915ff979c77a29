"""A film of a dream as an .mp4 or .webm file: one frame every few steps."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..models.arrays import Pixels
from ..models.files import remove_leftovers, temporary_path
from .errors import OutputError

# The codecs to try for each kind of film: VP9, which browsers play, and MPEG-4 for an OpenCV without it.
_CODECS = {".mp4": ("vp09", "mp4v"), ".webm": ("VP90",)}
_PLAYED_BY_BROWSERS = ("vp09", "VP90")
_MAX_FRAMES_PER_SECOND = 25
_MIN_SECONDS = 3
# A long dream has a frame every _MAX_EVERY steps, a short one has more, up to _MIN_FRAMES.
_MAX_EVERY = 10
_MIN_FRAMES = 50
# The element DocType of a Matroska file's header (RFC 9559, section 11), and what makes it a WebM file: the shorter
# name, and an element Void in place of the bytes that are left over.
_MATROSKA_TYPE = b"\x42\x82\x88matroska"
_WEBM_TYPE = b"\x42\x82\x84webm\xec\x82\x00\x00"
_SEGMENT = b"\x18\x53\x80\x67"


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


class Film:
    """Writes an .mp4 or a .webm under a temporary name and renames it after the last frame.

    Its own name is reserved by an empty file until then, unless it may `overwrite` an earlier film. `fps` are the
    frames per second; `log` is called with a line for the user where browsers will not play the film. With `resumes`,
    what a killed run has left of this film is removed. Raises OutputError.
    """

    def __init__(
        self,
        path: Path,
        overwrite: bool = False,
        fps: int = _MAX_FRAMES_PER_SECOND,
        log: Callable[[str], None] = lambda line: None,
        resumes: bool = False,
    ) -> None:
        self._suffix = path.suffix.lower()
        if self._suffix not in _CODECS:
            kinds = " and ".join(_CODECS)
            raise OutputError(
                f"film {path}: only {kinds} films can be written: choose a name with one of these endings"
            )
        self.path = path
        # OpenCV complains on standard error about every codec of a .webm; a .mkv holds the same stream.
        self._temporary = temporary_path(path, ".mkv" if self._suffix == ".webm" else ".mp4")
        self._overwrite, self._resumes = overwrite, resumes
        self._fps, self._log = fps, log
        self._name = ""
        self._writer: Any = None
        self._resources = ExitStack()

    def __enter__(self) -> Film:
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
            self._name = self._name_for_opencv()
            if not self._overwrite:
                self._reserve()
        except OutputError:
            self._temporary.unlink()
            self._resources.close()
            raise
        return self

    def _reserve(self) -> None:
        try:
            self.path.touch(exist_ok=False)
        except FileExistsError:
            raise OutputError(f"film {self.path} exists: choose another name, or replace it with --overwrite") from None

    def _name_for_opencv(self) -> str:
        """A name of the temporary file that is UTF-8, since OpenCV crashes on any other. Raises OutputError."""
        if _is_utf8(self._temporary):
            return str(self._temporary)
        with suppress(OSError):
            folder = os.open(self._temporary.parent, os.O_RDONLY)
            self._resources.callback(os.close, folder)
            name = f"/proc/self/fd/{folder}/{self._temporary.name}"
            if os.path.exists(name):
                return name
        raise OutputError(f"cannot write film {self.path} (the folder's name is not UTF-8): choose another folder")

    def add(self, pixels: Pixels) -> None:
        """Appends a picture as a frame; all must have the same size. Alpha is dropped, 16 bits become 8."""
        frame = _cropped_to_even(pixels[..., 2::-1])
        if frame.dtype == np.uint16:
            frame = (frame >> 8).astype(np.uint8)
        if self._writer is None:
            self._writer = self._open(frame.shape[1], frame.shape[0])
        self._writer.write(np.ascontiguousarray(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
                self._finish()
                os.replace(self._temporary, self.path)
        except OSError as failure:
            raise OutputError(
                f"cannot write film {self.path} ({failure.strerror}): make room or choose another name"
            ) from failure
        finally:
            self._resources.close()
            self._temporary.unlink(missing_ok=True)
            with suppress(OSError):
                if not self.path.stat().st_size:  # the name was reserved, and no film came of it
                    self.path.unlink()

    def _finish(self) -> None:
        """Raises OSError unless the film is complete, since OpenCV does not report a failure to write."""
        is_complete = _is_complete_mp4 if self._suffix == ".mp4" else _is_complete_matroska
        if not is_complete(self._temporary):
            raise OSError(None, "it is cut short")
        if self._suffix == ".webm":
            _make_webm(self._temporary)

    def _open(self, width: int, height: int) -> Any:
        for codec in _CODECS[self._suffix]:
            four_letters = cv2.VideoWriter_fourcc(*codec)  # type: ignore[attr-defined]
            writer = cv2.VideoWriter(self._name, four_letters, self._fps, (width, height))
            if writer.isOpened():
                if codec not in _PLAYED_BY_BROWSERS:
                    self._log("browsers do not play this film, because this OpenCV cannot write VP9")
                return writer
        raise OutputError(
            f"this OpenCV cannot write {self._suffix} films: install opencv-python-headless, or dream without --film"
        )


def _is_utf8(path: Path) -> bool:
    try:
        return os.fsencode(path) == str(path).encode()
    except UnicodeEncodeError:
        return False


def _is_complete_mp4(film: Path) -> bool:
    """Whether an .mp4 has its index and ends where its last box ends.

    An .mp4 is a sequence of boxes, each with its length and its type (ISO/IEC 14496-12, section 4.2); the index is the
    box "moov".
    """
    size, position, types = film.stat().st_size, 0, set()
    with film.open("rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:  # a box of more than 4 GB: the length follows the type
                length = int.from_bytes(header[8:], "big")
            if length < 8:
                return False
            types.add(header[4:8])
            position += length
    return position == size and b"moov" in types


def _is_complete_matroska(film: Path) -> bool:
    """Whether a Matroska file ends where its segment ends, whose length is written last (RFC 8794, section 6.2).

    Its length has 8 bytes, of which the first bit marks that; all ones say that the length is not known yet.
    """
    with film.open("rb") as file:
        start = file.read(256)
    end_of_id = start.find(_SEGMENT) + len(_SEGMENT)
    length = int.from_bytes(start[end_of_id : end_of_id + 8], "big") ^ 1 << 56
    return _SEGMENT in start and end_of_id + 8 + length == film.stat().st_size


def _make_webm(film: Path) -> None:
    """Declares a Matroska file with VP9 to be WebM, which is a subset of Matroska. Raises OSError."""
    with film.open("r+b") as file:
        position = file.read(256).find(_MATROSKA_TYPE)
        if position < 0:
            raise OSError(None, "it is not a Matroska file")
        file.seek(position)
        file.write(_WEBM_TYPE)


def _cropped_to_even(frame: NDArray[Any]) -> NDArray[Any]:
    """A frame [height, width, 3] without its last row and column where their number is odd: codecs need it even."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
