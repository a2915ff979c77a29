"""WebP files: RIFF chunks, each of a name, a length and a body padded to even length.

A VP8X chunk lists the features of the others. Source: RFC 9649.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import tiff
from .container import (
    FIRST_FRAME,
    MAX_PARTS,
    Container,
    DamagedContainerError,
    checked_slice,
    number_at,
    plausible_profile,
)

_HEADER_END = 12
_HAS_ICC, _HAS_ALPHA = 0x20, 0x10
_FRAME_HEADER = 16


def read(data: bytes) -> Container:
    """Reads a WebP file, of an animation the first frame, up to its pixels. Raises DamagedContainerError."""
    file = checked_slice(data, 0, 8 + number_at(data, 4, 4, "little"))
    chunks = list(_chunks(file, _HEADER_END))
    first = dict(reversed(chunks))  # the first chunk of each name
    frame = first.get(b"ANMF")
    if frame is None:
        decodable, (width, height) = data, _size(first)
    else:  # OpenCV before 4.11 does not read animations
        width, height = 1 + number_at(frame, 6, 3, "little"), 1 + number_at(frame, 9, 3, "little")
        decodable = _file(width, height, 0, list(_chunks(frame, _FRAME_HEADER)))
    exif = first.get(b"EXIF", b"").removeprefix(tiff.EXIF_HEADER)
    warnings = (FIRST_FRAME,) if [name for name, _ in chunks].count(b"ANMF") > 1 else ()
    stated = tiff.stated_by_exif(exif, plausible_profile(first.get(b"ICCP")))
    return Container("WebP", width, height, decodable, warnings=warnings, **stated)


def _chunks(data: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields (name, body) of each chunk from `position`. Raises DamagedContainerError."""
    for _ in range(MAX_PARTS):
        if position >= len(data):
            return
        length = number_at(data, position + 4, 4, "little")
        yield checked_slice(data, position, 4), checked_slice(data, position + 8, length)
        position += 8 + length + length % 2
    raise DamagedContainerError("it has too many chunks")


def _size(first: dict[bytes, bytes]) -> tuple[int, int]:
    """Width and height in pixels, from the first of the chunks VP8X, VP8L and VP8 that exists."""
    if b"VP8X" in first:
        return 1 + number_at(first[b"VP8X"], 4, 3, "little"), 1 + number_at(first[b"VP8X"], 7, 3, "little")
    if b"VP8L" in first:
        bits = number_at(first[b"VP8L"], 1, 4, "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    body = first.get(b"VP8 ", b"")
    return number_at(body, 6, 2, "little") & 0x3FFF, number_at(body, 8, 2, "little") & 0x3FFF


def with_icc(data: bytes, icc: bytes) -> bytes:
    """Adds an ICC profile to a file's bytes."""
    chunks = list(_chunks(data, _HEADER_END))
    pixels = [chunk for chunk in chunks if chunk[0] != b"VP8X"]
    return _file(*_size(dict(chunks)), _HAS_ICC, [(b"ICCP", icc), *pixels])


def _file(width: int, height: int, flags: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A WebP file of these chunks, after a VP8X chunk with these flags, and that for alpha if the pixels have alpha."""
    bodies = dict(chunks)
    if b"ALPH" in bodies or (b"VP8L" in bodies and number_at(bodies[b"VP8L"], 1, 4, "little") >> 28 & 1):
        flags |= _HAS_ALPHA
    features = bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP"
    for name, content in [(b"VP8X", features), *chunks]:
        body += name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body
