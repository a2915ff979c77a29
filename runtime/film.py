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

from .results import OutputError

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
        if self._writer is None:
            return
        self._writer.release()
        try:
            if self._temporary.stat().st_size == 0:
                raise OSError(None, "nothing was encoded")
            os.replace(self._temporary, self.path)
        except OSError as failure:
            self._temporary.unlink(missing_ok=True)
            raise OutputError(
                f"cannot write film {self.path} ({failure.strerror}): make room or choose another name"
            ) from failure

    def _open(self, width: int, height: int) -> Any:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch()
        except OSError as error:
            raise OutputError(f"cannot write film {self.path} ({error.strerror}): choose another name") from error
        codec = cv2.VideoWriter_fourcc(*"mp4v")  # type: ignore[attr-defined]
        writer = cv2.VideoWriter(str(self._temporary), codec, _FRAMES_PER_SECOND, (width, height))
        if not writer.isOpened():
            self._temporary.unlink(missing_ok=True)
            raise OutputError("this OpenCV cannot write .mp4 films: install opencv-python, or dream without --film")
        return writer


def _even(frame: NDArray[Any]) -> NDArray[Any]:
    """Without its last odd row and column, which video codecs do not take."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
