"""A film of a dream: one frame every few steps."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import OutputError

_FRAMES_PER_SECOND = 25


class Film:
    """Writes an .mp4 under a temporary name and gives it its own when the last frame is in. Raises OutputError."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() != ".mp4":
            raise OutputError(f"film {path}: only .mp4 is known, choose a name that ends so")
        self.path = path
        self._temporary = path.with_name(f".onnxdream-{secrets.token_hex(8)}.mp4")
        self._writer: Any = None

    def __enter__(self) -> Film:
        """Proves before the first step that the film can be written where it is wanted."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise IsADirectoryError(None, "it is a folder")
            self._temporary.touch()
        except OSError as error:
            raise OutputError(f"cannot write film {self.path} ({error.strerror}): choose another name") from error
        return self

    def add(self, pixels: NDArray[Any]) -> None:
        """Appends a picture, HWC RGB[A], uint8 or uint16, all of one size."""
        frame = _even(pixels[..., 2::-1])
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
                if not _is_whole(self._temporary):  # OpenCV does not tell when it could not write
                    raise OSError(None, "it is cut short")
                os.replace(self._temporary, self.path)
        except OSError as failure:
            raise OutputError(
                f"cannot write film {self.path} ({failure.strerror}): make room or choose another name"
            ) from failure
        finally:
            self._temporary.unlink(missing_ok=True)

    def _open(self, width: int, height: int) -> Any:
        codec = cv2.VideoWriter_fourcc(*"mp4v")  # type: ignore[attr-defined]
        writer = cv2.VideoWriter(str(self._temporary), codec, _FRAMES_PER_SECOND, (width, height))
        if not writer.isOpened():
            raise OutputError("this OpenCV cannot write .mp4 films: install opencv-python, or dream without --film")
        return writer


def _is_whole(film: Path) -> bool:
    """Whether an .mp4 has its index, and ends where its last box does."""
    size, at, kinds = film.stat().st_size, 0, set()
    with film.open("rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # a long box, its length is behind its kind
                length = int.from_bytes(head[8:], "big")
            if length < 8:
                return False
            kinds.add(head[4:8])
            at += length
    return at == size and b"moov" in kinds


def _even(frame: NDArray[Any]) -> NDArray[Any]:
    """Without its last odd row and column, which video codecs do not take."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
