"""The form of the gradient's operators for onnxruntime's own CPU provider, whose convolutions keep activations in
blocks of channels (NCHWc).

Every operator without a blocked kernel costs two copies, and Where is slow besides. So masks and maxima are made of
operators that have one: depthwise convolutions, which scale, shift, thin out and pad in one pass, Tanh, Clip, Mul, Add
and Concat. The functions are those of `portable`; what they compute is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ...models.contract import BLOCKED
from . import portable
from .nodes import Nodes, Window
from .polyphase import Axis, MaxPoolGradient, Reading, Terms, depthwise

NAME = BLOCKED
# onnxruntime's DepthToSpace takes longer than its ConvTranspose.
BY_PLACE = False

# onnxruntime makes up to four blocks of 16 channels in one pass over the image, and gives threads passes by number.
_BLOCK, _PASS = 16, 4
# A power of two, so that scaling by it is exact; two different activations of any use are then so far apart that their
# difference, through Tanh or clipped, is 1, and none that a picture can excite overflows.
_FAR = 2.0**100
# Lifts the smallest normal number above 1.
_LIFT = 2.0**127


def convolution(nodes: Nodes, x: str, kernel: str, channels: int, **attributes: Any) -> str:
    """A convolution with a kernel OIHW of that many outputs, made in parts that threads can share evenly."""
    first = _even_start(channels)
    if first == channels or attributes["kernel_shape"] == [1, 1]:  # so short a one gains nothing
        return portable.convolution(nodes, x, kernel, channels, **attributes)
    cuts, axis = pairwise([0, first, channels]), nodes.integers(0)
    parts = [nodes.add("Slice", kernel, nodes.integers(start), nodes.integers(end), axis) for start, end in cuts]
    return nodes.add("Concat", *(nodes.add("Conv", x, part, **attributes) for part in parts), axis=1)


def masked(nodes: Nodes, dy: str, y: str) -> str:
    """dy where y, which is never negative, is positive; else 0."""
    mask = _clipped(nodes, depthwise(nodes, y, nodes.channels(y), Reading((_LIFT,))))
    return nodes.add("Mul", nodes.narrowest(dy), mask)


def total(nodes: Nodes, terms: Sequence[str]) -> str:
    """Their sum; a value that is repeated comes into the blocked layout by a convolution."""
    blocked = [t if nodes.narrowest(t) == t else depthwise(nodes, t, nodes.channels(t)) for t in terms]
    return nodes.sum(*blocked)


def channel_means(nodes: Nodes, x: str) -> str:
    """[batch, channels] of NCHW."""
    return nodes.add("Squeeze", nodes.add("GlobalAveragePool", x), nodes.integers(2, 3))


def max_pool_gradient(nodes: Nodes, window: Window, x: str, rows: str, y: str, dy: str) -> str:
    """The gradient at x of a VALID maximum; see `portable.max_pool_gradient`."""
    return _Multiplying(nodes, window, nodes.channels(x)).at(x, rows, y, dy)


class _Multiplying(MaxPoolGradient):
    """What the windows have to give passes their pixels in order; it goes on, times 1, where a pixel is no maximum."""

    def shares(self, axis: Axis, across: Reading, x: str, y: str, dy: str) -> list[Terms]:
        """Each share as what came to the pixel less what went on from it."""
        left = [dy]
        for tap in range(axis.window - 2):
            lower = self.read(x, axis, axis.pixels(tap, -_FAR), across)
            upper = self.read(y, axis, axis.windows(_FAR), across)
            differ = self.nodes.add("Tanh", self.nodes.add("Add", lower, upper))
            left.append(self.nodes.add("Mul", left[-1], differ))
        if axis.window > 1:  # where none before it was, the last but one is no maximum if the last is greater
            greater = self.read(x, axis, axis.pixels(axis.window - 2, -_FAR, _FAR), across)
            left.append(self.nodes.add("Mul", left[-1], _clipped(self.nodes, greater)))
        return [[(came, 1.0), (went, -1.0)] for came, went in pairwise(left)] + [[(left[-1], 1.0)]]


def _clipped(nodes: Nodes, x: str) -> str:
    return nodes.add("Clip", x, nodes.number(0), nodes.number(1))


def _even_start(channels: int) -> int:
    """How many of a convolution's channels to make first, so that its passes, and those for the rest, are alike.

    Measured with two threads: where blocks do not come out even in the fewest passes (5, 7, 10, 13 of them) a
    convolution takes 5 to 13 % longer than in two parts; where they do (6, 9, 12) it takes no longer.
    """
    blocks = -(-channels // _BLOCK)
    passes = -(-blocks // _PASS)
    return channels if blocks % passes == 0 else blocks // _PASS * _PASS * _BLOCK
