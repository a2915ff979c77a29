"""HEIF files, which are AVIF and HEIC.

A file consists of boxes, each of a length, a name and a body. The box `meta` names the primary picture, lists
properties, and states which of them each picture has. Sources: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (HEIF),
AV1-ISOBMFF (`av1C`), ITU-T H.273 (the numbers of `nclx`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .container import Container, DamagedContainerError, checked_slice, number_at, plausible_profile

_MAX_BOXES = 2**16  # in one box, and pictures in one file
# EXIF's orientation, 1 to 8, by the quarter turns against the clock of `irot`, and by the axis of a following `imir`:
# None, 0 (top and bottom change places) or 1 (left and right do). Source: libavif, avifImageIrotImirToExifOrientation.
_ORIENTATIONS = {
    (0, None): 1,
    (1, None): 8,
    (2, None): 3,
    (3, None): 6,
    (0, 0): 4,
    (1, 0): 5,
    (2, 0): 2,
    (3, 0): 7,
    (0, 1): 2,
    (1, 1): 7,
    (2, 1): 4,
    (3, 1): 5,
}
_PROFILE_TYPES = (b"prof", b"rICC")
_PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_TRANSFERS = {16: "HDR (PQ)", 18: "HDR (HLG)"}


@dataclass(frozen=True)
class _Properties:
    """The properties of a file's primary picture.

    `width` and `height` are in pixels, as stored, before `orientation` (as EXIF's, 1 to 8) turns them upright. `bits`
    is the number of bits per sample. `colours` names colours other than sRGB that are stated without the profile `icc`.
    `is_cropped` is whether only a part of the picture is to be shown.
    """

    width: int
    height: int
    orientation: int
    bits: int
    icc: bytes | None = field(repr=False)
    colours: str | None
    is_cropped: bool


def read_avif(data: bytes) -> Container:
    """Reads an AVIF file up to its pixels. Raises DamagedContainerError."""
    found = _read_properties(data)
    return Container(
        "AVIF",
        found.width,
        found.height,
        data,
        found.orientation,
        plausible_profile(found.icc),
        found.colours,
        found.bits,
        warnings=("it is read without its crop",) if found.is_cropped else (),
    )


def read_heic(data: bytes) -> Container:
    """Reads a HEIC file up to its pixels. Raises DamagedContainerError."""
    found = _read_properties(data)
    size = found.width, found.height
    if found.orientation > 4:  # libheif, which decodes it, turns it upright
        size = found.height, found.width
    icc = plausible_profile(found.icc)
    return Container("HEIC", *size, data, icc=icc, colours=found.colours, bits=found.bits)


def _read_properties(data: bytes) -> _Properties:
    """Reads the properties of an AVIF or HEIC file's primary picture. Raises DamagedContainerError."""
    found = _primary_properties(data)
    size = found.get(b"ispe", b"")
    turns, axis = found.get(b"irot", b"\0"), found.get(b"imir")
    profile = found.get(b"profile")
    return _Properties(
        number_at(size, 4, 4),
        number_at(size, 8, 4),
        _ORIENTATIONS[number_at(turns, 0, 1) & 3, None if axis is None else number_at(axis, 0, 1) & 1],
        _bits(found),
        profile[4:] if profile else None,
        None if profile else _colours(found.get(b"colr", b"")),
        b"clap" in found,
    )


def _bits(found: dict[bytes, bytes]) -> int:
    if b"pixi" in found:  # its version, the number of channels, and the bits of each
        return number_at(found[b"pixi"], 5, 1)
    flags = number_at(found[b"av1C"], 2, 1) if b"av1C" in found else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def _colours(body: bytes) -> str | None:
    """The name of the colours that a `colr` box states by numbers, if they are not sRGB's."""
    if body[:4] != b"nclx":
        return None
    primaries, transfer = number_at(body, 4, 2), number_at(body, 6, 2)
    return _TRANSFERS.get(transfer) or _PRIMARIES.get(primaries)


def _primary_properties(data: bytes) -> dict[bytes, bytes]:
    """The bodies of the primary picture's properties, by their names; of several of one name, the first.

    The name "profile" is that of a `colr` box with an ICC profile.
    """
    start, end = _find(data, 0, len(data), b"meta")
    start += 4  # its version
    primary_start, _ = _find(data, start, end, b"pitm")
    primary = number_at(data, primary_start + 4, 2 if number_at(data, primary_start, 1) == 0 else 4)
    container = _find(data, start, end, b"iprp")
    listed = list(_boxes(data, *_find(data, *container, b"ipco")))
    found: dict[bytes, bytes] = {}
    for index in _associations(data, *_find(data, *container, b"ipma"), primary):
        if not 1 <= index <= len(listed):
            raise DamagedContainerError
        name, body_start, body_end = listed[index - 1]
        body = data[body_start:body_end]
        if name == b"colr" and body[:4] in _PROFILE_TYPES:
            name = b"profile"  # a file may state its colours twice, by numbers and by a profile
        found.setdefault(name, body)
    return found


def _associations(data: bytes, start: int, end: int, picture: int) -> list[int]:
    """The numbers, from 1, of the properties that an `ipma` box gives to a picture."""
    body = data[start:end]
    id_size = 2 if number_at(body, 0, 1) == 0 else 4
    index_size = 2 if number_at(body, 3, 1) & 1 else 1
    at = 8
    for _ in range(min(number_at(body, 4, 4), _MAX_BOXES)):
        count = number_at(body, at + id_size, 1)
        first = at + id_size + 1
        if number_at(body, at, id_size) == picture:  # the highest bit of each number says that it is essential
            mask = (1 << (8 * index_size - 1)) - 1
            return [number_at(body, first + i * index_size, index_size) & mask for i in range(count)]
        at = first + count * index_size
    raise DamagedContainerError


def _find(data: bytes, start: int, end: int, name: bytes) -> tuple[int, int]:
    """The start and the end of the body of the first box with this name. Raises DamagedContainerError."""
    for found, body_start, body_end in _boxes(data, start, end):
        if found == name:
            return body_start, body_end
    raise DamagedContainerError(f"it is cut short or damaged: its {name.decode()} box is missing")


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields the name, the start and the end of the body of each box. Raises DamagedContainerError."""
    for _ in range(_MAX_BOXES):
        if start >= end:
            return
        length, name, body = number_at(data, start, 4), checked_slice(data, start + 4, 4), start + 8
        if length == 1:  # the length follows in 64 bits
            length, body = number_at(data, body, 8), body + 8
        elif length == 0:  # the box extends to the end
            length = end - start
        if not body <= start + length <= end:
            raise DamagedContainerError
        yield name, body, start + length
        start += length
    raise DamagedContainerError("it has too many boxes")
