"""The form of the gradient's operators for onnxruntime's own CPU provider.

Its convolutions store activations in blocks of channels (NCHWc). Every operator without a kernel for this layout costs
two copies, and Where is slow besides. So masks and max-poolings are built from operators that have such a kernel:
depthwise convolutions, which scale, shift, subsample and pad in one pass, Tanh, Clip, Mul, Add and Concat. The
functions compute the same as those of `portable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ...models.contract import BLOCKED
from . import portable
from .nodes import Nodes, WindowAttributes
from .phases import STRIDE, phases_of
from .polyphase import DepthwiseSpec, MaxPoolGradient, PoolAxis, Terms, depthwise

NAME = BLOCKED
# onnxruntime's DepthToSpace takes longer than its ConvTranspose.
SUBPIXEL_GRADIENT = False
PHASES = True

# onnxruntime computes up to four blocks of 16 channels in one pass over the image, and distributes passes to threads.
_BLOCK_CHANNELS, _PASS_BLOCKS = 16, 4
# Scales differences of activations until Tanh or Clip turns any difference that matters into 1. It is a power of two,
# so scaling is exact, and small enough that no activation that an image can cause overflows.
_AMPLIFY = 2.0**100
# Scales the smallest difference from 3 of a smaller number above 1.
_AMPLIFY_DISTANCE = 2.0**30
# The inverse of the distance from 6 to the next smaller number.
_PER_STEP_BELOW_6 = 2.0**21
# Scales the smallest normal number above 1.
_AMPLIFY_SMALLEST = 2.0**127


def convolution(nodes: Nodes, x: str, kernel: str, channels: int, **attributes: Any) -> str:
    """Adds a convolution with an OIHW kernel and `channels` outputs, in two parts if threads share those evenly."""
    phases = phases_of(nodes, x)
    if phases and attributes["kernel_shape"] == [1, 1] and channels < nodes.channels(x):
        return phases.mapped(
            channels, lambda part, _: portable.convolution(nodes, part, kernel, channels, **attributes)
        ).interleaved(nodes)
    first = _first_part(channels)
    # A 1x1 or a depthwise convolution is too short to gain from it.
    if first == channels or attributes["kernel_shape"] == [1, 1] or attributes["group"] > 1:
        return portable.convolution(nodes, x, kernel, channels, **attributes)
    cuts, axis = pairwise([0, first, channels]), nodes.integers(0)
    parts = [nodes.add("Slice", kernel, nodes.integers(start), nodes.integers(end), axis) for start, end in cuts]
    return nodes.add("Concat", *(nodes.add("Conv", x, part, **attributes) for part in parts), axis=1)


def relu_gradient(nodes: Nodes, dy: str, y: str) -> str:
    """Adds the gradient of a ReLU with the output y, which is never negative: dy where y > 0, else 0."""
    mask = _clip_to_unit(nodes, depthwise(nodes, y, nodes.channels(y), DepthwiseSpec((_AMPLIFY_SMALLEST,))))
    return nodes.add("Mul", nodes.unexpanded(dy), mask)


def relu6_gradient(nodes: Nodes, dy: str, y: str) -> str:
    """Adds the gradient of a ReLU6 with the output y, which is from 0 to 6: dy where 0 < y < 6, else 0."""
    if phases := phases_of(nodes, dy):
        return phases.mapped(
            phases.channels, lambda part, number: nodes.add("Mul", part, _relu6_mask(nodes, y, *_pick(number)))
        ).interleaved(nodes)
    return nodes.add("Mul", nodes.unexpanded(dy), _relu6_mask(nodes, y))


def _relu6_mask(nodes: Nodes, y: str, *picks: DepthwiseSpec) -> str:
    """Adds 1 where 0 < y < 6, else 0, for outputs y of a ReLU6; `picks` pick some pixels of y.

    y lies inside where its distance from 3 is below 3. LeakyRelu, which is fused with the convolution before it,
    computes the distance. An output below 2^-23 counts as 0: the convolution that computed it has a larger error, but
    where all its values are tiny.
    """
    channels = nodes.channels(y)
    if nodes.has_tiny_values:
        if picks:
            y = depthwise(nodes, y, channels, *picks)
        above = _clip_to_unit(nodes, depthwise(nodes, y, channels, DepthwiseSpec((_AMPLIFY_SMALLEST,))))
        below = depthwise(nodes, y, channels, DepthwiseSpec((-_PER_STEP_BELOW_6,)), bias=6 * _PER_STEP_BELOW_6)
        return nodes.add("Mul", above, _clip_to_unit(nodes, below))
    distance = nodes.add("LeakyRelu", depthwise(nodes, y, channels, *picks, bias=-3.0), alpha=-1.0)
    inside = depthwise(nodes, distance, channels, DepthwiseSpec((-_AMPLIFY_DISTANCE,)), bias=3 * _AMPLIFY_DISTANCE)
    return _clip_to_unit(nodes, inside)


def _pick(number: int) -> list[DepthwiseSpec]:
    """Returns the convolution that picks the pixels of phase `number`, along the rows' and the columns' axis."""
    return [
        DepthwiseSpec(tuple(float(at == phase) for at in range(STRIDE)), STRIDE, same=True)
        for phase in divmod(number, STRIDE)
    ]


def add_n(nodes: Nodes, terms: Sequence[str]) -> str:
    """Adds the sum of several tensors; a convolution brings the result of an Expand into the blocked layout."""
    blocked = [t if nodes.unexpanded(t) == t else depthwise(nodes, t, nodes.channels(t)) for t in terms]
    return nodes.sum(*blocked)


def channel_means(nodes: Nodes, x: str) -> str:
    """Adds the mean of each channel: NCHW -> [batch, channels]."""
    return nodes.add("Squeeze", nodes.add("GlobalAveragePool", x), nodes.integers(2, 3))


def max_pool_gradient(nodes: Nodes, window: WindowAttributes, x: str, row_maxima: str, y: str, dy: str) -> str:
    """Adds the gradient at x of a VALID max-pooling; see `portable.max_pool_gradient`."""
    return _MultiplyingGradient(nodes, window, nodes.channels(x)).build(x, row_maxima, y, dy)


class _MultiplyingGradient(MaxPoolGradient):
    """Passes the gradient of a window along its pixels in order: a factor is 1 where a pixel is below the maximum."""

    def split_gradient(self, axis: PoolAxis, across: DepthwiseSpec, x: str, y: str, dy: str) -> list[Terms]:
        """Returns each share as the gradient that arrived at the pixel minus the gradient that was passed on."""
        left = [dy]
        for tap in range(axis.window - 2):
            lower = self.filtered(x, axis, axis.tap_spec(tap, -_AMPLIFY), across)
            upper = self.filtered(y, axis, axis.window_spec(_AMPLIFY), across)
            differ = self.nodes.add("Tanh", self.nodes.add("Add", lower, upper))
            left.append(self.nodes.add("Mul", left[-1], differ))
        if axis.window > 1:  # if no pixel before is the maximum, the last but one is not if the last is greater
            greater = self.filtered(x, axis, axis.tap_spec(axis.window - 2, -_AMPLIFY, _AMPLIFY), across)
            left.append(self.nodes.add("Mul", left[-1], _clip_to_unit(self.nodes, greater)))
        return [[(arrived, 1.0), (passed, -1.0)] for arrived, passed in pairwise(left)] + [[(left[-1], 1.0)]]


def _clip_to_unit(nodes: Nodes, x: str) -> str:
    """Adds x clipped to [0, 1]."""
    return nodes.add("Clip", x, nodes.number(0), nodes.number(1))


def _first_part(channels: int) -> int:
    """Returns how many of a convolution's channels to compute first so that all passes take equally long.

    Measured with two threads: if the blocks cannot be divided evenly among the fewest passes (5, 7, 10 or 13 blocks), a
    convolution takes 5 to 13 % longer than in two parts; if they can (6, 9 or 12 blocks), it does not.
    """
    blocks = -(-channels // _BLOCK_CHANNELS)
    passes = -(-blocks // _PASS_BLOCKS)
    return channels if blocks % passes == 0 else blocks // _PASS_BLOCKS * _PASS_BLOCKS * _BLOCK_CHANNELS
