"""Reads picture files into decoded, upright pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...models.arrays import Pixels
from ..errors import (
    PictureError,
    PictureFormatError,
    PictureNotFoundError,
    PictureReadError,
    PictureTooLargeError,
)
from .formats import png
from .formats.codec import decode_picture
from .formats.container import ContainerError, profile_colours
from .formats.kinds import missing_reader, read_container, recognise
from .remedies import colour_warnings, conversion, explain

MAX_PIXELS = 2**28
MAX_BYTES = 2**31  # of a file; OpenCV decodes no larger one from memory


@dataclass(frozen=True)
class Picture:
    """One decoded picture, upright.

    `icc` is an RGB colour profile or None. `warnings` has one line for each feature of the file that was lost. `sha256`
    is the hash of the file's bytes, as hex digits.
    """

    pixels: Pixels = field(repr=False)
    icc: bytes | None = field(repr=False)
    warnings: tuple[str, ...]
    sha256: str


def read_picture(path: Path) -> Picture:
    """Reads a picture file, turned upright; only the first of several pages or frames.

    It is a JPEG, PNG, WebP, TIFF or BMP, or a GIF, AVIF or HEIC where these are read (see `missing_reader`). Grey
    becomes three equal planes, 16 bits stay 16 bits, and a colour profile is kept if it describes RGB. Raises
    PictureNotFoundError, PictureReadError, PictureFormatError and PictureTooLargeError.
    """
    return picture_of(_read_bytes(path), path)


def picture_of(data: bytes, path: Path) -> Picture:
    """Decodes the bytes of a picture file as `read_picture` does; `path` is its name in messages.

    Raises PictureFormatError and PictureTooLargeError.
    """
    _require_readable(len(data), path)
    kind = recognise(data)
    if kind and (missing := missing_reader(kind)):
        raise PictureFormatError(f"{path}: {kind} is not read yet: {missing}; or convert it: {conversion(path)}")
    with _container_errors(path, data):
        container = read_container(data)
        if container.width * container.height > MAX_PIXELS:
            raise PictureTooLargeError(
                f"{path}: has {container.width} by {container.height} pixels, more than the limit of {MAX_PIXELS}; "
                f"shrink it first: {conversion(path, '-resize 8000x8000')}"
            )
        pixels = decode_picture(container)
    icc = container.icc if container.icc and profile_colours(container.icc) == "RGB" else None
    lines = (f"{path.name}: {warning}" for warning in (*container.warnings, *colour_warnings(path, container)))
    return Picture(pixels, icc, tuple(lines), hashlib.sha256(data).hexdigest())


def read_note(path: Path) -> str | None:
    """The note that `encode_picture` stored in a PNG; None if there is none, or for a file of another format.

    Raises PictureNotFoundError, PictureReadError, and PictureFormatError for a damaged PNG.
    """
    data = _read_bytes(path)
    with _container_errors(path, data):
        return png.note_of(data)


def _read_bytes(path: Path) -> bytes:
    with picture_errors(path):
        _require_readable(path.stat().st_size, path)
        return path.read_bytes()


def _require_readable(size: int, path: Path) -> None:
    if size > MAX_BYTES:
        raise PictureTooLargeError(f"{path}: is too large with {size / 1e9:.1f} GB; give a smaller picture")


@contextmanager
def picture_errors(path: Path) -> Iterator[None]:
    """Raises a PictureError that names the path in place of an OSError."""
    try:
        yield
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureNotFoundError(f"{path}: no such picture; check the name and the folder") from error
    except IsADirectoryError as error:
        raise PictureReadError(f"{path}: is a folder; name the picture in it") from error
    except OSError as error:
        raise PictureReadError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


@contextmanager
def _container_errors(path: Path, data: bytes) -> Iterator[None]:
    """Raises a PictureFormatError that names the path in place of a ContainerError about the file's bytes."""
    try:
        yield
    except ContainerError as error:
        raise PictureFormatError(f"{path}: {explain(path, data, error)}") from error
