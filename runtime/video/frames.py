"""Turns decoded frames into upright RGB pictures of one size, with square pixels and 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from ...models.arrays import Pixels, Size
from .hdr import Transfer, to_sdr
from .library import SCALING

Log = Callable[[str], None]

# Transfer characteristics of ITU-T H.273, table 3.
_HDR: dict[int, Transfer] = {16: "PQ", 18: "HLG"}
# Matrix coefficients of ITU-T H.273, table 4, and what they are taken for: high definition has BT.709, others BT.601.
_UNSPECIFIED = 2
_SWSCALE_BT709, _SWSCALE_BT601 = 1, 5
_HIGH_DEFINITION = 720
_MAX_PIXEL_ASPECT = 8  # a wider or taller pixel is an error in the file


class FrameConverter:
    """Converts the frames of one film to pictures of the size of its first frame.

    `pixel_aspect` is the width of a stored pixel divided by its height, or None. `log` is called with one line for
    each kind of loss.
    """

    def __init__(self, first: Any, pixel_aspect: Fraction | None, name: str, log: Log) -> None:
        self._stored = _square(Size(first.height, first.width), pixel_aspect)
        self._pixel_aspect = pixel_aspect
        self._quarter_turns = _quarter_turns(first)
        self.size = _turned(self._stored, self._quarter_turns)
        self._name = name
        self._log = log
        self._said: set[str] = set()

    def picture(self, frame: Any) -> Pixels:
        """A frame as uint8 [height, width, 3] RGB. Raises FFmpeg's error if it cannot be converted."""
        turns = _quarter_turns(frame)
        size = _square(Size(frame.height, frame.width), self._pixel_aspect)
        if (size, turns) != (self._stored, self._quarter_turns):
            self._say(f"the size of its frames changes; later ones are scaled to {self.size}")
        target = _turned(self.size, turns)
        transfer = _HDR.get(frame.color_trc)
        if transfer:
            self._say(f"it has high dynamic range ({transfer}), which becomes the standard one")
            deep = self._converted(frame, target, "rgb48le")
            pixels = to_sdr(deep.to_ndarray(), transfer)
        else:
            if (bits := _bits(frame)) > 8:
                self._say(f"its {bits} bits per colour become 8")
            pixels = self._converted(frame, target, "rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, turns))

    def _converted(self, frame: Any, size: Size, pixel_format: str) -> Any:
        matrix = None
        if frame.colorspace == _UNSPECIFIED:
            matrix = _SWSCALE_BT709 if frame.height >= _HIGH_DEFINITION else _SWSCALE_BT601
        return frame.reformat(
            width=size.width, height=size.height, format=pixel_format, src_colorspace=matrix, interpolation=SCALING
        )

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._log(f"{self._name}: {line}")


def _square(size: Size, pixel_aspect: Fraction | None) -> Size:
    """The size at which a frame has square pixels; its height is kept."""
    if not pixel_aspect or not Fraction(1, _MAX_PIXEL_ASPECT) <= pixel_aspect <= _MAX_PIXEL_ASPECT:
        return size
    return Size(size.height, max(1, round(size.width * pixel_aspect)))


def _quarter_turns(frame: Any) -> int:
    """The quarter turns anticlockwise that make a frame upright, from 0 to 3."""
    return round(int(frame.rotation) / 90) % 4


def _turned(size: Size, quarter_turns: int) -> Size:
    return Size(size.width, size.height) if quarter_turns % 2 else size


def _bits(frame: Any) -> int:
    return max((int(component.bits) for component in frame.format.components), default=8)
