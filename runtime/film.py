"""A film of a dream as an .mp4 file: one frame every few steps."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..models.arrays import Pixels
from .errors import OutputError

_FRAMES_PER_SECOND = 25


class Film:
    """Writes an .mp4 under a temporary name and renames it after the last frame.

    Its own name is reserved by an empty file until then, unless it may `overwrite` an earlier film. Raises OutputError.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        if path.suffix.lower() != ".mp4":
            raise OutputError(f"film {path}: only .mp4 films can be written: choose a name that ends in .mp4")
        self.path = path
        self._temporary = path.with_name(f".onnxdream-{secrets.token_hex(8)}.mp4")
        self._overwrite = overwrite
        self._writer: Any = None

    def __enter__(self) -> Film:
        """Proves before the first step that the film can be written there. Raises OutputError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise IsADirectoryError(None, "it is a folder")
            self._temporary.touch()
        except OSError as error:
            raise OutputError(f"cannot write film {self.path} ({error.strerror}): choose another name") from error
        if not self._overwrite:
            self._reserve()
        return self

    def _reserve(self) -> None:
        try:
            self.path.touch(exist_ok=False)
        except FileExistsError:
            self._temporary.unlink()
            raise OutputError(f"film {self.path} exists: choose another name, or replace it with --overwrite") from None

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
                if not _is_complete(self._temporary):  # OpenCV does not report a failure to write
                    raise OSError(None, "it is cut short")
                os.replace(self._temporary, self.path)
        except OSError as failure:
            raise OutputError(
                f"cannot write film {self.path} ({failure.strerror}): make room or choose another name"
            ) from failure
        finally:
            self._temporary.unlink(missing_ok=True)
            with suppress(OSError):
                if not self.path.stat().st_size:  # the name was reserved, and no film came of it
                    self.path.unlink()

    def _open(self, width: int, height: int) -> Any:
        codec = cv2.VideoWriter_fourcc(*"mp4v")  # type: ignore[attr-defined]
        writer = cv2.VideoWriter(str(self._temporary), codec, _FRAMES_PER_SECOND, (width, height))
        if not writer.isOpened():
            raise OutputError("this OpenCV cannot write .mp4 films: install opencv-python, or dream without --film")
        return writer


def _is_complete(film: Path) -> bool:
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


def _cropped_to_even(frame: NDArray[Any]) -> NDArray[Any]:
    """A frame [height, width, 3] without its last row and column where their number is odd: codecs need it even."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
