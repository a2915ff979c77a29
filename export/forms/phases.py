"""The gradient of a convolution with stride 2 and SAME padding in phases, interleaved only where they must be.

A phase holds the pixels whose row, or column, has the same remainder modulo 2, as in `polyphase`: element q of phase p
is pixel 2 q + p. What works pixel by pixel, such as a mask or a 1x1 convolution, works on phases as well. So an
inverted residual interleaves the few channels in front of its expansion instead of the many behind it.

The gradient of each phase is a convolution of dy with every second weight of the kernel. Which weights these are
depends on how many pixels SAME padding puts before the image, and so on the parity of its height and width. They are
cut from the kernel, padded with zeros, at a place that is computed from the size. onnxruntime does so once, when a
session for a size is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from .nodes import Nodes, WindowAttributes
from .polyphase import interleaved_pixels

STRIDE = 2


@dataclass(frozen=True)
class Phases:
    """A tensor, NCHW, in phases: the even and the odd columns of the even rows, then those of the odd rows.

    `channels` is the number of its channels, and `size` its height and width, int64 [2]. Where they are odd, the last
    elements of some phases are undefined.
    """

    parts: tuple[str, ...]
    channels: int
    size: str

    @classmethod
    def of_gradient(
        cls, nodes: Nodes, window: WindowAttributes, kernel: str, dy: str, before: str, size: str
    ) -> Phases:
        """Adds the gradient of a depthwise convolution with a kernel [C, 1, height, width].

        dy has a pixel for each window. `before` is the number of rows and columns of padding before the image, and
        `size` the image's height and width, both int64 [2].
        """
        margins = [max(_Taps(side, phase).margin for phase in range(STRIDE)) for side in window.kernel]
        pads = nodes.integers(0, 0, *margins, 0, 0, *margins)
        padded = nodes.add("Pad", kernel, pads)
        parts = []
        for phases in product(range(STRIDE), repeat=2):
            taps = [_Taps(side, phase) for side, phase in zip(window.kernel, phases, strict=True)]
            offsets = nodes.integers(*(margin + axis.start for margin, axis in zip(margins, taps, strict=True)))
            starts = nodes.add("Add", before, offsets)
            ends = nodes.add("Sub", starts, nodes.integers(*(STRIDE * axis.count for axis in taps)))
            weights = nodes.add("Slice", padded, starts, ends, nodes.integers(2, 3), nodes.integers(-STRIDE, -STRIDE))
            parts.append(
                nodes.add(
                    "Conv",
                    dy,
                    weights,
                    group=nodes.channels(dy),
                    kernel_shape=[axis.count for axis in taps],
                    pads=[*(-axis.first for axis in taps), *(axis.last for axis in taps)],
                )
            )
        return cls(tuple(parts), nodes.channels(dy), size)

    def mapped(self, channels: int, function: Callable[[str, int], str]) -> Phases:
        """Returns the phases, with that number of channels, that a function adds for each phase and its number.

        The function must work pixel by pixel.
        """
        parts = tuple(function(part, number) for number, part in enumerate(self.parts))
        return replace(self, parts=parts, channels=channels)

    def interleaved(self, nodes: Nodes) -> str:
        """Adds the whole tensor, and remembers that it consists of these phases."""
        width = nodes.add("Gather", self.size, nodes.integers(1))
        elements = nodes.add("Div", nodes.add("Add", width, nodes.integers(1)), nodes.integers(STRIDE))
        strides, firsts = [STRIDE] * 2, nodes.integers(0, 0)
        whole = interleaved_pixels(nodes, self.parts, self.channels, strides, firsts, self.size, elements)
        nodes.phases[whole] = self
        return whole


def can_split(window: WindowAttributes) -> bool:
    """Whether the gradient of a convolution with such windows can be computed in phases."""
    return window.strides == [STRIDE] * 2 and not window.leaves_gaps


def phases_of(nodes: Nodes, x: str) -> Phases | None:
    """Returns the phases that a tensor is interleaved from, or None."""
    found: Phases | None = nodes.phases.get(nodes.source(x))
    return found


@dataclass(frozen=True)
class _Taps:
    """The pixels of dy that a phase needs along an axis: q + `first` … q + `last` for its element q.

    Pixel i of the image is position i + before in the padded one, where window o begins at 2 o. So element q of phase p
    is the sum over t of weight[p + before - 2 t] * dy[q + t]. `before` is at least (kernel - 2) // 2 and at most
    (kernel - 1) // 2.
    """

    kernel: int
    phase: int

    @property
    def first(self) -> int:
        return -((self.kernel - 1 - self.phase - (self.kernel - STRIDE) // 2) // STRIDE)

    @property
    def last(self) -> int:
        return (self.phase + (self.kernel - 1) // 2) // STRIDE

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    @property
    def start(self) -> int:
        """The index of the weight for `first`, less `before`; the others follow in steps of -2."""
        return self.phase - STRIDE * self.first

    @property
    def margin(self) -> int:
        """How many zeros must pad the kernel so that no index lies outside, and none before the first is negative."""
        return STRIDE * (self.count + 1)
