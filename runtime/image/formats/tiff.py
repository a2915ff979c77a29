"""TIFF files and EXIF blocks, which both consist of directories of tagged values.

Sources: Adobe's TIFF 6.0 specification, section 2 (structure) and appendix A (tags); ICC.1 and Adobe's DNG
specification for their own tags; Exif 2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .container import Container, ContainerError, DamagedContainerError, checked_slice, plausible_profile

WIDTH, HEIGHT, ORIENTATION, EXTRA_SAMPLES, ICC_PROFILE = 256, 257, 274, 338, 34675
_NEW_SUBFILE_TYPE, _BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL = 254, 258, 262, 277
_PLANAR_CONFIGURATION, _SUB_DIRECTORIES, _SAMPLE_FORMAT, _DNG_VERSION = 284, 330, 339, 50706
_EXIF_DIRECTORY, _INTEROPERABILITY_DIRECTORY, _INTEROPERABILITY, _COLOUR_SPACE = 34665, 40965, 1, 40961
_UNCALIBRATED = 65535
_BLACK_IS_ZERO, _RGB, _CMYK = 1, 2, 5
_PHOTOMETRICS_READ = (0, _BLACK_IS_ZERO, _RGB, 3, _CMYK, 6)  # 0: white is zero, 3: palette, 6: YCbCr
ASSOCIATED_ALPHA, STRAIGHT_ALPHA = 1, 2

EXIF_HEADER = b"Exif\0\0"  # before the EXIF block in a JPEG, and in some WebPs

BYTE, ASCII, SHORT, LONG, UNDEFINED = 1, 2, 3, 4, 7
_TYPE_SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, UNDEFINED: 1}  # in bytes
_MAX_VALUES = 64  # read of one tag; a hostile count would otherwise cause a long loop


def read(data: bytes) -> Container:
    """Reads the first page of a TIFF file up to its pixels.

    OpenCV would turn the picture and multiply 8-bit colours by alpha: two tags are set so that it does neither. Raises
    DamagedContainerError, and ContainerError for a page that OpenCV misreads.
    """
    page = Directory(data)
    page.require_readable()
    return Container(
        "TIFF",
        page.number(WIDTH, 0),
        page.number(HEIGHT, 0),
        page.with_numbers({ORIENTATION: 1, EXTRA_SAMPLES: ASSOCIATED_ALPHA}),
        **stated_by_exif(data, plausible_profile(page.content(ICC_PROFILE))),
        premultiplied=page.number(EXTRA_SAMPLES, 0) == ASSOCIATED_ALPHA,
        opaque=page.is_cmyk(),
    )


def with_icc(data: bytes, icc: bytes) -> bytes:
    """Adds an ICC profile to a file's bytes."""
    return Directory(data).with_contents({ICC_PROFILE: (UNDEFINED, icc)})


def with_straight_alpha(data: bytes) -> bytes:
    """Declares the fourth channel of an RGBA TIFF file as alpha, which OpenCV omits."""
    kind = STRAIGHT_ALPHA.to_bytes(2, "little" if data[:1] == b"I" else "big")
    return Directory(data).with_contents({EXTRA_SAMPLES: (SHORT, kind)})


def stated_by_exif(block: bytes, icc: bytes | None) -> Mapping[str, Any]:
    """The orientation and the colours of a Container by an EXIF block (or a TIFF file) and an ICC profile."""
    return {"orientation": orientation(block), "icc": icc, "colours": None if icc else colours(block)}


def orientation(block: bytes) -> int:
    """The orientation, 1 to 8, of an EXIF block or a TIFF file; 1 (upright) if it cannot be read."""
    try:
        value = Directory(block).number(ORIENTATION, 1)
    except DamagedContainerError:
        return 1
    return value if 1 <= value <= 8 else 1


def colours(block: bytes) -> str | None:
    """The colours, if not sRGB's, that an EXIF block or a TIFF file states; None also if it cannot be read.

    Cameras state Adobe RGB as "uncalibrated" with the interoperability index R03. Sources: Exif 2.3, DCF 2.0.
    """
    try:
        start = Directory(block).number(_EXIF_DIRECTORY, 0)
        exif = Directory(block, start) if start else None
        if exif is None or exif.number(_COLOUR_SPACE, 1) != _UNCALIBRATED:
            return None
        start = exif.number(_INTEROPERABILITY_DIRECTORY, 0)
        index = Directory(block, start).content(_INTEROPERABILITY) if start else None
    except DamagedContainerError:
        return None
    return "Adobe RGB" if index and index.startswith(b"R03") else "uncalibrated"


class Directory:
    """A directory of a TIFF structure (classic TIFF, either byte order): the first, or that at the offset `start`.

    Raises DamagedContainerError if the directory does not lie inside `data`.
    """

    def __init__(self, data: bytes, start: int | None = None) -> None:
        byte_orders: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}
        signature = checked_slice(data, 0, 4)
        if signature not in byte_orders:
            raise DamagedContainerError
        self.data = data
        self.byte_order = byte_orders[signature]
        if start is None:
            start = self._number(4, 4)
        self._entries: dict[int, int] = {}  # tag -> the offset of its twelve bytes
        for at in range(start + 2, start + 2 + 12 * self._number(start, 2), 12):
            checked_slice(data, at, 12)
            self._entries.setdefault(self._number(at, 2), at)

    def numbers(self, tag: int, default: int) -> tuple[int, ...]:
        """The unsigned integers of a tag (at most the first 64), or `(default,)` if the tag is absent."""
        if tag not in self._entries:
            return (default,)
        at, size, count = self._value(tag)
        return tuple(self._number(at + i * size, size) for i in range(min(count, _MAX_VALUES)))

    def number(self, tag: int, default: int) -> int:
        """The first unsigned integer of a tag, or `default` if the tag is absent or empty."""
        return next(iter(self.numbers(tag, default)), default)

    def content(self, tag: int) -> bytes | None:
        """The bytes of a tag's values, in the file's byte order, or None if the tag is absent."""
        if tag not in self._entries:
            return None
        at, size, count = self._value(tag)
        return checked_slice(self.data, at, size * count)

    def with_numbers(self, values: Mapping[int, int]) -> bytes:
        """The whole structure with each of these tags set to one number, in place; absent tags stay absent."""
        changes = {tag: value for tag, value in values.items() if self.number(tag, value) != value}
        if not changes:
            return self.data
        changed = bytearray(self.data)
        for tag, value in changes.items():
            at, size, _ = self._value(tag)
            changed[at : at + size] = value.to_bytes(size, self.byte_order)
        return bytes(changed)

    def with_contents(self, contents: Mapping[int, tuple[int, bytes]]) -> bytes:
        """The whole structure with these tags added or replaced, each by (type, bytes).

        The new directory lies at the end of the file and is its only one: only the first page remains.
        """
        entries = {tag: checked_slice(self.data, at, 12) for tag, at in self._entries.items()}
        data = self.data
        for tag, (kind, content) in contents.items():
            value = content.ljust(4, b"\0")
            if len(content) > 4:
                data += b"\0" * (len(data) % 2)  # offsets must be even
                value = self._bytes(len(data), 4)
                data += content
            count = len(content) // _TYPE_SIZES[kind]
            entries[tag] = self._bytes(tag, 2) + self._bytes(kind, 2) + self._bytes(count, 4) + value
        data += b"\0" * (len(data) % 2)
        sorted_entries = b"".join(entries[tag] for tag in sorted(entries))
        directory = self._bytes(len(entries), 2) + sorted_entries + bytes(4)
        return data[:4] + self._bytes(len(data), 4) + data[8:] + directory

    def is_cmyk(self) -> bool:
        """Whether a TIFF's page is CMYK, which OpenCV reads as RGB with an opaque fourth channel."""
        return self.number(_PHOTOMETRIC, _RGB) == _CMYK

    def require_readable(self) -> None:
        """Raises ContainerError for a TIFF's page that OpenCV misreads, or refuses without a reason."""
        bits, samples = self.number(_BITS_PER_SAMPLE, 1), self.number(_SAMPLES_PER_PIXEL, 1)
        photometric = self.number(_PHOTOMETRIC, _RGB)
        sample_formats = set(self.numbers(_SAMPLE_FORMAT, 1))
        is_preview = self.number(_NEW_SUBFILE_TYPE, 0) & 1
        if _DNG_VERSION in self._entries or (is_preview and _SUB_DIRECTORIES in self._entries):
            raise ContainerError("it is a camera's raw file, which contains no finished picture")
        if is_preview:
            raise ContainerError("its first page is a small preview of another page")
        if bits > 16 or not sample_formats <= {1, 4}:  # 1: unsigned, 4: undefined
            raise ContainerError("its samples are floating-point, signed or 32-bit, not 8 or 16 bits unsigned")
        if samples == 2:
            raise ContainerError("it is a TIFF of grey and alpha, whose alpha OpenCV drops")
        if bits not in (1, 2, 4, 8, 16) or photometric not in _PHOTOMETRICS_READ:
            raise ContainerError("it is a TIFF of a rare kind, which OpenCV does not read")
        if bits == 16 and photometric not in (_BLACK_IS_ZERO, _RGB):
            raise ContainerError("it is a 16-bit TIFF of rare colours, which OpenCV misreads")
        if samples > 1 and self.number(_PLANAR_CONFIGURATION, 1) != 1:
            raise ContainerError("it is a TIFF with separate colour planes, which OpenCV misreads")

    def _value(self, tag: int) -> tuple[int, int, int]:
        """The offset of a tag's values, the size of each in bytes, and their number."""
        entry = self._entries[tag]
        size = _TYPE_SIZES.get(self._number(entry + 2, 2))
        if size is None:
            raise DamagedContainerError
        count = self._number(entry + 4, 4)
        return (entry + 8 if size * count <= 4 else self._number(entry + 8, 4)), size, count

    def _number(self, start: int, size: int) -> int:
        return int.from_bytes(checked_slice(self.data, start, size), self.byte_order)

    def _bytes(self, number: int, size: int) -> bytes:
        return number.to_bytes(size, self.byte_order)
