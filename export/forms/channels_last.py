"""The form of the gradient's operators for OpenVINO, which stores activations with their channels last.

OpenVINO compares and selects fast, several operators in one kernel, but slices, pads and concatenates slowly. So this
is the portable form, except that depthwise convolutions shift the pixels in the gradient of a max-pooling.
"""

from __future__ import annotations

from ...models.contract import CHANNELS_LAST
from .nodes import Nodes, WindowAttributes
from .polyphase import DepthwiseSpec, MaxPoolGradient, PoolAxis, Terms
from .portable import (
    PHASES,
    SUBPIXEL_GRADIENT,
    add_n,
    channel_means,
    convolution,
    relu6_gradient,
    relu_gradient,
    split_gradient,
)

__all__ = [
    "NAME",
    "PHASES",
    "SUBPIXEL_GRADIENT",
    "add_n",
    "channel_means",
    "convolution",
    "max_pool_gradient",
    "relu6_gradient",
    "relu_gradient",
]

NAME = CHANNELS_LAST


def max_pool_gradient(nodes: Nodes, window: WindowAttributes, x: str, row_maxima: str, y: str, dy: str) -> str:
    """Adds the gradient at x of a VALID max-pooling; see `portable.max_pool_gradient`."""
    return _SelectingGradient(nodes, window, nodes.channels(x)).build(x, row_maxima, y, dy)


class _SelectingGradient(MaxPoolGradient):
    """Selects with Where: the first pixel that equals the maximum gets the gradient of its window."""

    def split_gradient(self, axis: PoolAxis, across: DepthwiseSpec, x: str, y: str, dy: str) -> list[Terms]:
        """Returns each share as a single term."""
        taps = [self.filtered(x, axis, axis.tap_spec(tap, 1.0), across) for tap in range(axis.window - 1)]
        maximum = self.filtered(y, axis, axis.window_spec(), across)
        return [[(share, 1.0)] for share in split_gradient(self.nodes, taps, maximum, dy)]
