"""The bitmaps BMP and GIF, whose files state neither an orientation nor colours.

Sources: Microsoft's BITMAPINFOHEADER, GIF89a.
"""

from __future__ import annotations

from contextlib import suppress

from .container import FIRST_FRAME, MAX_PARTS, Container, DamagedContainerError, checked_slice, number_at

_GIF_HEADER_END = 13
_EXTENSION, _FRAME = 0x21, 0x2C


def read_bmp(data: bytes) -> Container:
    """Reads a BMP file up to its pixels. Raises DamagedContainerError."""
    if number_at(data, 14, 4, "little") == 12:
        width, height = number_at(data, 18, 2, "little"), number_at(data, 20, 2, "little")
    else:
        width, height = (int.from_bytes(checked_slice(data, at, 4), "little", signed=True) for at in (18, 22))
    return Container("BMP", abs(width), abs(height), data)  # a negative height means that rows are stored from the top


def read_gif(data: bytes) -> Container:
    """Reads a GIF file up to the end of its first frame, all that OpenCV is to decode. Raises DamagedContainerError.

    The file consists of a canvas and of blocks; OpenCV draws the frame on the canvas.
    """
    width, height = number_at(data, 6, 2, "little"), number_at(data, 8, 2, "little")
    position = _GIF_HEADER_END + _palette_size(number_at(data, 10, 1))
    for _ in range(MAX_PARTS):
        kind = number_at(data, position, 1)
        if kind == _EXTENSION:
            position = _blocks_end(data, position + 2)
        elif kind == _FRAME:
            left, top, columns, rows = (number_at(data, position + at, 2, "little") for at in (1, 3, 5, 7))
            if left + columns > width or top + rows > height:
                raise DamagedContainerError("it is damaged: its first frame exceeds its size")
            end = _blocks_end(data, position + 10 + _palette_size(number_at(data, position + 9, 1)) + 1)
            warnings = (FIRST_FRAME,) if _has_frame(data, end) else ()
            return Container("GIF", width, height, data[:end] + b";", warnings=warnings)
        else:
            raise DamagedContainerError
    raise DamagedContainerError("it has too many blocks")


def _has_frame(data: bytes, position: int) -> bool:
    """Whether another frame follows at a position; damage behind the first one does not matter."""
    with suppress(DamagedContainerError):
        for _ in range(MAX_PARTS):
            if number_at(data, position, 1) != _EXTENSION:
                break
            position = _blocks_end(data, position + 2)
    return data[position : position + 1] == bytes([_FRAME])


def _palette_size(flags: int) -> int:
    """The bytes of the palette that follows these flags."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks_end(data: bytes, position: int) -> int:
    """The end of a sequence of data blocks, each after a byte with its length; the last one is empty."""
    for _ in range(2**24):  # 4 GB
        length = number_at(data, position, 1)
        position += 1 + length
        if length == 0:
            return position
    raise DamagedContainerError("it has too many blocks")
