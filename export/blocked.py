"""The form of the gradient's operators for onnxruntime's own CPU provider, whose convolutions keep activations in
blocks of channels (NCHWc).

Every operator without a blocked kernel costs two copies, and Where is slow besides. So masks and maxima are made of
operators that have one: depthwise convolutions with a single weight that is not 0, which scale, shift, thin out and pad
in one pass, Tanh, Clip, Mul, Add and Concat. The functions are those of `portable`; what they compute is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..models.contract import BLOCKED
from .nodes import Nodes, Window
from .portable import spread as expanded
from .portable import window_reach

NAME = BLOCKED
# onnxruntime's DepthToSpace takes longer than its ConvTranspose.
BY_PLACE = False

# A power of two, so that scaling by it is exact; two different activations of any use are then so far apart that the
# Tanh of their difference is 1, and none that a picture can excite overflows.
_FAR = 2.0**100
# Lifts the smallest normal number above 1.
_LIFT = 2.0**127


@dataclass(frozen=True)
class _Pick:
    """A depthwise convolution with one weight, `scale`, at `offset` in its kernel; `back` shifts the other way.

    Pairs are (down, right); `pads` are rows and columns of zeros at the end, with which it is as large as wanted.
    """

    offset: tuple[int, int] = (0, 0)
    strides: tuple[int, int] = (1, 1)
    scale: float = 1.0
    pads: tuple[int, int] = (0, 0)
    back: tuple[int, int] = (0, 0)

    def of(self, nodes: Nodes, x: str, channels: int) -> str:
        sides = [o + b + 1 for o, b in zip(self.offset, self.back, strict=True)]
        weights = [0.0] * (sides[0] * sides[1])
        weights[self.offset[0] * sides[1] + self.offset[1]] = self.scale
        kernel = nodes.add("Reshape", nodes.numbers(weights), nodes.integers(1, 1, *sides))
        repeated = nodes.add("Expand", kernel, nodes.integers(channels, 1, 1, 1))
        return nodes.add(
            "Conv",
            x,
            repeated,
            group=channels,
            kernel_shape=sides,
            strides=list(self.strides),
            pads=[*self.back, *self.pads],
        )


def masked(nodes: Nodes, dy: str, y: str) -> str:
    """dy where y, which is never negative, is positive; else 0."""
    lifted = _Pick(scale=_LIFT).of(nodes, y, nodes.channels(y))
    return nodes.add("Mul", dy, nodes.add("Clip", lifted, nodes.number(0), nodes.number(1)))


def spread(nodes: Nodes, value: str, shape: str) -> str:
    """A [batch, channels, 1, 1] value repeated over a shape."""
    return _Pick().of(nodes, expanded(nodes, value, shape), nodes.channels(value))


def channel_means(nodes: Nodes, x: str) -> str:
    """[batch, channels] of NCHW."""
    return nodes.add("Squeeze", nodes.add("GlobalAveragePool", x), nodes.integers(2, 3))


def max_pool_gradient(nodes: Nodes, window: Window, x: str, rows: str, y: str, dy: str) -> str:
    """The gradient at x of a VALID maximum; as `portable.max_pool_gradient`, with each step's pixels kept apart by
    their place in a stride until the end."""
    return _MaxPool(nodes, window, nodes.channels(x)).gradient(x, rows, y, dy)


class _MaxPool:
    """All its tensors but the ends have as many rows and columns as there are cells of a stride that windows touch."""

    def __init__(self, nodes: Nodes, window: Window, channels: int) -> None:
        self._nodes, self._channels = nodes, channels
        (self._height, self._width), (self._down, self._right) = window.kernel, window.strides
        self._below, self._beside = window_reach(self._height, self._down), window_reach(self._width, self._right)

    def gradient(self, x: str, rows: str, y: str, dy: str) -> str:
        every = (self._below, self._beside)
        differ = [
            self._differ(
                self._pick(_Pick((tap, 0), (self._down, 1), -_FAR, (self._under(tap), self._beside)), rows),
                self._pick(_Pick(scale=_FAR, pads=every), y),
            )
            for tap in range(self._height - 1)
        ]
        shares = self._shares(self._pick(_Pick(pads=every), dy), differ, (1, 0), self._down)
        return self._woven([self._along(x, rows, drows, place) for place, drows in enumerate(shares)], x)

    def _along(self, x: str, rows: str, drows: str, place: int) -> list[str]:
        """The gradient at the rows of x at one place in every stride, from that of their maxima; by column's place."""
        under = self._under(place)
        strides = (self._down, self._right)
        differ = [
            self._differ(
                self._pick(_Pick((place, tap), strides, -_FAR, (under, self._past(tap))), x),
                self._pick(_Pick((place, 0), (self._down, 1), _FAR, (under, self._beside)), rows),
            )
            for tap in range(self._width - 1)
        ]
        return self._shares(drows, differ, (0, 1), self._right)

    def _shares(self, dy: str, differ: Sequence[str], along: tuple[int, int], stride: int) -> list[str]:
        """What the pixels at each place in a stride get, where `differ` is 1 if a tap is not the maximum, else 0."""
        left = [dy]
        for unequal in differ:
            left.append(self._nodes.add("Mul", left[-1], unequal))
        cells: list[list[str]] = [[] for _ in range(stride)]
        for tap, rest in enumerate(left):
            back = (along[0] * (tap // stride), along[1] * (tap // stride))
            cells[tap % stride].append(self._pick(_Pick(back=back), rest) if any(back) else rest)
            if tap < len(differ):
                cells[tap % stride].append(self._pick(_Pick(scale=-1.0, back=back), left[tap + 1]))
        untouched = self._pick(_Pick(scale=0.0), dy) if stride > len(left) else ""
        return [self._nodes.sum(*parts) if parts else untouched for parts in cells]

    def _woven(self, strips: list[list[str]], x: str) -> str:
        """Puts the pixels kept apart, [row's place][column's place], next to each other.

        With channels last, columns side by side are channels one behind the other: only rows must be copied.
        """
        nodes = self._nodes
        rows = []
        for strip in strips:
            joined = nodes.add("Concat", *strip, axis=1) if len(strip) > 1 else strip[0]
            last = nodes.add("Transpose", joined, perm=[0, 2, 3, 1])
            columns = nodes.add("Mul", nodes.length(last, 2), nodes.integers(self._right))
            rows.append(nodes.add("Reshape", last, nodes.integers(0, 0, 1, -1, self._channels)))
        stacked = nodes.add("Concat", *rows, axis=2)
        shape = nodes.add("Concat", nodes.integers(0, -1), columns, nodes.integers(self._channels), axis=0)
        whole = nodes.add("Reshape", stacked, shape)
        size = nodes.add("Concat", nodes.length(x, 2), nodes.length(x, 3), axis=0)
        inside = nodes.add("Slice", whole, nodes.integers(0, 0), size, nodes.integers(1, 2))
        return nodes.add("Transpose", inside, perm=[0, 3, 1, 2])

    def _pick(self, pick: _Pick, x: str) -> str:
        return pick.of(self._nodes, x, self._channels)

    def _differ(self, lower: str, upper: str) -> str:
        return self._nodes.add("Tanh", self._nodes.add("Add", lower, upper))

    def _under(self, tap: int) -> int:
        """Rows of zeros that give the pixels at a place in the windows as many rows as there are cells."""
        return self._below * self._down + tap + 1 - self._height

    def _past(self, tap: int) -> int:
        return self._beside * self._right + tap + 1 - self._width
