"""JPEG files: segments up to the compressed pixels (the scan), each of a marker, a length and a body.

Sources: ITU-T T.81, annex B; ICC.1, annex B on profiles in JPEG files.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import tiff
from .container import (
    MAX_PARTS,
    Container,
    ContainerError,
    DamagedContainerError,
    checked_slice,
    inserted,
    number_at,
    plausible_profile,
)

_ICC_HEADER = b"ICC_PROFILE\0"
_MAX_ICC_PIECE = 65535 - 2 - len(_ICC_HEADER) - 2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BODILESS = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_APP0, _APP1, _APP2, _SCAN, _FILL = 0xE0, 0xE1, 0xE2, 0xDA, 0xFF


def read(data: bytes) -> Container:
    """Reads a JPEG file up to its pixels. Raises DamagedContainerError."""
    width = height = 0
    exif: bytes | None = None
    pieces: dict[int, bytes] = {}
    pieces_announced = 0
    for marker, body, start in _segments(data):
        if marker in _FRAMES:
            height, width = number_at(body, 1, 2), number_at(body, 3, 2)
        elif marker == _APP1 and body.startswith(tiff.EXIF_HEADER) and exif is None:
            exif = body[len(tiff.EXIF_HEADER) :]
        elif marker == _APP2 and body.startswith(_ICC_HEADER) and len(body) > len(_ICC_HEADER) + 2:
            number, pieces_announced = body[len(_ICC_HEADER) : len(_ICC_HEADER) + 2]
            pieces.setdefault(number, body[len(_ICC_HEADER) + 2 :])
        elif marker == _SCAN and data.rfind(b"\xff\xd9", start) < 0:
            raise DamagedContainerError("it is cut short: the JPEG's end mark is missing")
    complete = sorted(pieces) == list(range(1, pieces_announced + 1))
    icc = b"".join(pieces[number] for number in sorted(pieces)) if complete else None
    return Container("JPEG", width, height, data, **tiff.stated_by_exif(exif or b"", plausible_profile(icc)))


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yields (marker, body, offset of the segment) up to and including the first scan header."""
    position = 2
    for _ in range(MAX_PARTS):
        position = data.find(b"\xff", position)  # skips stray bytes between segments, as libjpeg does
        marker = number_at(data, position, 2) & 0xFF
        if marker == _FILL:
            position += 1
        elif marker in _BODILESS:
            position += 2
        else:
            length = number_at(data, position + 2, 2)
            yield marker, checked_slice(data, position + 4, length - 2), position
            if marker == _SCAN:
                return
            position += 2 + length
    raise DamagedContainerError("it has too many segments")


def with_icc(data: bytes, icc: bytes) -> bytes:
    """Adds an ICC profile to a file's bytes. Raises ContainerError if it needs more than 255 segments."""
    cuts = range(0, len(icc), _MAX_ICC_PIECE)
    if len(cuts) > 255:
        raise ContainerError("the ICC profile is too long for a JPEG")
    segments = b""
    for number, cut in enumerate(cuts, start=1):
        body = _ICC_HEADER + bytes((number, len(cuts))) + icc[cut : cut + _MAX_ICC_PIECE]
        segments += bytes((_FILL, _APP2)) + (len(body) + 2).to_bytes(2, "big") + body
    marker, body, _ = next(_segments(data))
    return inserted(data, 2 + 4 + len(body) if marker == _APP0 else 2, segments)  # JFIF's segment stays first
