"""A picture file before its pixels are decoded, what is read from its bytes, and the errors of damaged ones.

Picture files are untrusted: every offset is checked, every loop is bounded, and damage raises a DamagedContainerError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

MAX_PARTS = 2**19  # segments or chunks of one file; the largest picture, in chunks of 8 kB, has 2**18


FIRST_FRAME = "it moves: only its first frame is read"


class ContainerError(ValueError):
    """A picture file that is damaged, or of a format that is not read. The message is the reason alone."""


class DamagedContainerError(ContainerError):
    """A file that ends too early or contradicts itself."""

    def __init__(self, reason: str = "it is cut short or damaged") -> None:
        super().__init__(reason)


class UndecodableError(ContainerError):
    """A file whose pixels the decoder refuses, without a reason."""


@dataclass(frozen=True)
class Container:
    """A picture file before its pixels are decoded.

    `width` and `height` are in pixels, as stored, before `orientation` (EXIF, 1 to 8) turns them upright. `decodable`
    is the file for OpenCV to decode, without the parts that make OpenCV turn the picture, multiply its colours by alpha
    or print warnings. `colours` names colours other than sRGB that the file states without the profile `icc`. `bits` is
    the number of bits of a sample that takes 16. `premultiplied` is whether the stored colours are multiplied by alpha,
    `opaque` whether a fourth channel is something other than alpha. `warnings` has one line for each feature that is
    lost.
    """

    kind: str
    width: int
    height: int
    decodable: bytes = field(repr=False)
    orientation: int = 1
    icc: bytes | None = field(default=None, repr=False)
    colours: str | None = None
    bits: int = 16
    premultiplied: bool = False
    opaque: bool = False
    warnings: tuple[str, ...] = ()


def checked_slice(data: bytes, start: int, length: int) -> bytes:
    """Exactly `length` bytes of `data` from `start`. Raises DamagedContainerError where there are fewer."""
    content = data[start : start + length]
    if start < 0 or len(content) != length:
        raise DamagedContainerError
    return content


def number_at(data: bytes, start: int, size: int, byte_order: Literal["big", "little"] = "big") -> int:
    """The unsigned integer in `size` bytes of `data`. Raises DamagedContainerError."""
    return int.from_bytes(checked_slice(data, start, size), byte_order)


def inserted(data: bytes, at: int, addition: bytes) -> bytes:
    """`data` with `addition` before its byte `at`."""
    return data[:at] + addition + data[at:]


def plausible_profile(icc: bytes | None) -> bytes | None:
    """The ICC profile, or None if it is shorter than a profile's header, which has 128 bytes."""
    return icc if icc and len(icc) >= 128 else None


def profile_colours(icc: bytes) -> str:
    """The colour space that the header of an ICC profile names: "RGB", "GRAY", "CMYK", …"""
    return icc[16:20].decode("latin-1").strip()
