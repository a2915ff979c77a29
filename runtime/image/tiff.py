"""The TIFF structure, a directory of tagged values: a TIFF file is one, an EXIF block is another.

Offsets and counts come from strangers. Every read is checked, and damage ends in a DamagedContainerError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

WIDTH, HEIGHT, ORIENTATION, EXTRA_SAMPLES, ICC_PROFILE = 256, 257, 274, 338, 34675
_SUBFILE, _BITS, _COLOURS, _SAMPLES = 254, 258, 262, 277
_PLANES, _SAMPLE_FORMAT, _DNG_VERSION = 284, 339, 50706
_BLACK_IS_ZERO, _RGB, _CMYK = 1, 2, 5
_COLOURS_READ = (0, _BLACK_IS_ZERO, _RGB, 3, _CMYK, 6)  # white is zero, …, palette, CMYK, YCbCr
ASSOCIATED_ALPHA, STRAIGHT_ALPHA = 1, 2

BYTE, SHORT, LONG, UNDEFINED = 1, 3, 4, 7
_SIZES = {BYTE: 1, SHORT: 2, LONG: 4, UNDEFINED: 1}
_MAX_VALUES = 64  # of one tag; a hostile count would otherwise be a long loop


class ContainerError(ValueError):
    """A picture file that is damaged, or of a kind that is not read. The message is the bare reason."""


class DamagedContainerError(ContainerError):
    """A file that ends too early or contradicts itself."""

    def __init__(self, reason: str = "it is cut short or damaged") -> None:
        super().__init__(reason)


def part(data: bytes, start: int, length: int) -> bytes:
    """Exactly `length` bytes of `data` from `start`, or a DamagedContainerError."""
    piece = data[start : start + length]
    if start < 0 or len(piece) != length:
        raise DamagedContainerError
    return piece


class Directory:
    """The first directory of a TIFF structure (classic TIFF, either byte order).

    Raises DamagedContainerError when the directory does not lie inside `data`.
    """

    def __init__(self, data: bytes) -> None:
        orders: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}
        signature = part(data, 0, 4)
        if signature not in orders:
            raise DamagedContainerError
        self.data = data
        self.order = orders[signature]
        start = self._number(4, 4)
        self._entries: dict[int, int] = {}  # tag -> where its twelve bytes begin
        for at in range(start + 2, start + 2 + 12 * self._number(start, 2), 12):
            part(data, at, 12)
            self._entries.setdefault(self._number(at, 2), at)

    def numbers(self, tag: int, default: int) -> tuple[int, ...]:
        """The tag's unsigned integers (the first 64 at most), or `(default,)` where it is absent."""
        if tag not in self._entries:
            return (default,)
        at, size, count = self._value(tag)
        return tuple(self._number(at + i * size, size) for i in range(min(count, _MAX_VALUES)))

    def number(self, tag: int, default: int) -> int:
        """The tag's first unsigned integer, or `default` where it is absent or empty."""
        return next(iter(self.numbers(tag, default)), default)

    def content(self, tag: int) -> bytes | None:
        """The tag's bytes as they stand in the file, or None where it is absent."""
        if tag not in self._entries:
            return None
        at, size, count = self._value(tag)
        return part(self.data, at, size * count)

    def with_numbers(self, values: Mapping[int, int]) -> bytes:
        """The whole structure with tags set to one number each, in place; absent tags stay absent."""
        changes = {tag: value for tag, value in values.items() if self.number(tag, value) != value}
        if not changes:
            return self.data
        changed = bytearray(self.data)
        for tag, value in changes.items():
            at, size, _ = self._value(tag)
            changed[at : at + size] = value.to_bytes(size, self.order)
        return bytes(changed)

    def with_contents(self, contents: Mapping[int, tuple[int, bytes]]) -> bytes:
        """The whole structure with tags set, each to (type, bytes): one page, a new directory at the end."""
        entries = {tag: part(self.data, at, 12) for tag, at in self._entries.items()}
        grown = self.data
        for tag, (kind, content) in contents.items():
            value = content.ljust(4, b"\0")
            if len(content) > 4:
                grown += b"\0" * (len(grown) % 2)  # TIFF wants even offsets
                value = self._bytes(len(grown), 4)
                grown += content
            count = len(content) // _SIZES[kind]
            entries[tag] = self._bytes(tag, 2) + self._bytes(kind, 2) + self._bytes(count, 4) + value
        grown += b"\0" * (len(grown) % 2)
        listed = b"".join(entries[tag] for tag in sorted(entries))
        directory = self._bytes(len(entries), 2) + listed + bytes(4)
        return grown[:4] + self._bytes(len(grown), 4) + grown[8:] + directory

    def is_cmyk(self) -> bool:
        """Whether a TIFF's page holds inks, which OpenCV reads as RGB with a filled fourth channel."""
        return self.number(_COLOURS, _RGB) == _CMYK

    def refuse_unfaithful(self) -> None:
        """Raise ContainerError for a TIFF's page that OpenCV misreads, or refuses without a reason."""
        bits, samples, colours = self.number(_BITS, 1), self.number(_SAMPLES, 1), self.number(_COLOURS, _RGB)
        sample_formats = set(self.numbers(_SAMPLE_FORMAT, 1))
        if _DNG_VERSION in self._entries or self.number(_SUBFILE, 0) & 1:
            raise ContainerError("it is a camera's raw file, which holds no finished picture")
        if bits > 16 or not sample_formats <= {1, 4}:  # unsigned, or untold
            raise ContainerError("its samples are floating-point, signed or 32-bit, not 8 or 16 bits unsigned")
        if samples == 2:
            raise ContainerError("it is a TIFF of grey and alpha, whose alpha OpenCV drops")
        if bits not in (1, 2, 4, 8, 16) or colours not in _COLOURS_READ:
            raise ContainerError("it is a TIFF of a rare kind, which OpenCV does not read")
        if bits == 16 and colours not in (_BLACK_IS_ZERO, _RGB):
            raise ContainerError("it is a 16-bit TIFF of rare colours, which OpenCV misreads")
        if samples > 1 and self.number(_PLANES, 1) != 1:
            raise ContainerError("it is a TIFF whose colour planes lie apart, which OpenCV misreads")

    def _value(self, tag: int) -> tuple[int, int, int]:
        """Where a tag's values begin, the bytes of each and how many there are."""
        entry = self._entries[tag]
        size = _SIZES.get(self._number(entry + 2, 2))
        if size is None:
            raise DamagedContainerError
        count = self._number(entry + 4, 4)
        return (entry + 8 if size * count <= 4 else self._number(entry + 8, 4)), size, count

    def _number(self, start: int, size: int) -> int:
        return int.from_bytes(part(self.data, start, size), self.order)

    def _bytes(self, number: int, size: int) -> bytes:
        return number.to_bytes(size, self.order)


def orientation(block: bytes) -> int:
    """The EXIF orientation, 1 to 8, of an EXIF block or a TIFF file; 1 (upright) where none can be read."""
    try:
        value = Directory(block).number(ORIENTATION, 1)
    except DamagedContainerError:
        return 1
    return value if 1 <= value <= 8 else 1
