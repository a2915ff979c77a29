"""Writes films with OpenCV, where PyAV is not installed: VP9 as .mp4 or .webm, at a constant rate and without sound."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...models.arrays import Pixels
from ..errors import OutputError
from .encoder import in_eight_bits, padded_to_even

# The codecs to try for each kind of film: VP9, which browsers play, and MPEG-4 for an OpenCV without it.
_CODECS = {".mp4": ("vp09", "mp4v"), ".webm": ("VP90",)}
_PLAYED_BY_BROWSERS = ("vp09", "VP90")
# OpenCV complains on standard error about every codec of a .webm; a .mkv holds the same stream.
_CONTAINERS = {".mp4": ".mp4", ".webm": ".mkv"}
# The element DocType of a Matroska file's header (RFC 9559, section 11), and what makes it a WebM file: the shorter
# name, and an element Void in place of the bytes that are left over.
_MATROSKA_TYPE = b"\x42\x82\x88matroska"
_WEBM_TYPE = b"\x42\x82\x84webm\xec\x82\x00\x00"
_SEGMENT = b"\x18\x53\x80\x67"


def container_suffix(suffix: str, path: Path) -> str:
    """The suffix of the file that OpenCV writes for a film with this suffix. Raises OutputError if it cannot."""
    try:
        return _CONTAINERS[suffix]
    except KeyError:
        raise OutputError(
            f"film {path}: {suffix} films need PyAV: pip install 'onnxdream[video]', or choose a name that ends in "
            f"{' or '.join(_CONTAINERS)}"
        ) from None


class OpenCvWriter:
    """Writes pictures of one size, in order, to a film with the suffix `suffix`.

    `path` has the suffix `container_suffix(suffix)`; its file exists. `fps` are the pictures per second. `log` is
    called with a line if browsers will not play the film. Raises OutputError.
    """

    def __init__(self, path: Path, suffix: str, fps: int, log: Callable[[str], None]) -> None:
        self._path, self._suffix, self._fps, self._log = path, suffix, fps, log
        self._resources = ExitStack()
        self._name = self._name_for_opencv()
        self._writer: Any = None

    def _name_for_opencv(self) -> str:
        """A name of the file that is UTF-8, since OpenCV crashes on any other. Raises OutputError."""
        if _is_utf8(self._path):
            return str(self._path)
        with suppress(OSError):
            folder = os.open(self._path.parent, os.O_RDONLY)
            self._resources.callback(os.close, folder)
            name = f"/proc/self/fd/{folder}/{self._path.name}"
            if os.path.exists(name):
                return name
        self._resources.close()
        raise OutputError(
            f"cannot write film into {self._path.parent} (the folder's name is not UTF-8): choose another folder"
        )

    def add(self, pixels: Pixels) -> None:
        """Appends a picture [height, width, 3 or 4], uint8 or uint16; alpha is dropped, 16 bits become 8."""
        frame = padded_to_even(in_eight_bits(pixels)[..., ::-1])
        if self._writer is None:
            self._writer = self._open(frame.shape[1], frame.shape[0])
        self._writer.write(np.ascontiguousarray(frame))

    def _open(self, width: int, height: int) -> Any:
        for codec in _CODECS[self._suffix]:
            four_letters = cv2.VideoWriter_fourcc(*codec)  # type: ignore[attr-defined]
            writer = cv2.VideoWriter(self._name, four_letters, self._fps, (width, height))
            if writer.isOpened():
                if codec not in _PLAYED_BY_BROWSERS:
                    self._log("browsers do not play this film, because this OpenCV cannot write VP9")
                return writer
        raise OutputError(
            f"this OpenCV cannot write {self._suffix} films: pip install 'onnxdream[video]', or dream without --film"
        )

    def finish(self) -> None:
        """Completes the film. Raises OSError if it is cut short, since OpenCV does not report a failure to write."""
        self._writer.release()
        is_complete = _is_complete_mp4 if self._suffix == ".mp4" else _is_complete_matroska
        if not is_complete(self._path):
            raise OSError(None, "it is cut short")
        if self._suffix == ".webm":
            _make_webm(self._path)

    def close(self) -> None:
        """Closes what is still open."""
        self._resources.close()


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
