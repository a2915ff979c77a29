"""The form of the gradient's operators for OpenVINO, which keeps activations with their channels last.

There it compares and selects as well as anything, several operators in one kernel, but slices, pads and joins slowly.
So this is the portable form, but for the maximum's gradient, whose pixels are moved by depthwise convolutions.
"""

from __future__ import annotations

from ...models.contract import CHANNELS_LAST
from .nodes import Nodes, Window
from .polyphase import Axis, MaxPoolGradient, Reading, Terms
from .portable import BY_PLACE, channel_means, convolution, masked, shares, total

__all__ = ["BY_PLACE", "NAME", "channel_means", "convolution", "masked", "max_pool_gradient", "total"]

NAME = CHANNELS_LAST


def max_pool_gradient(nodes: Nodes, window: Window, x: str, rows: str, y: str, dy: str) -> str:
    """The gradient at x of a VALID maximum; see `portable.max_pool_gradient`."""
    return _Selecting(nodes, window, nodes.channels(x)).at(x, rows, y, dy)


class _Selecting(MaxPoolGradient):
    """A pixel that equals the maximum takes what is left of the gradient, and the last one the rest."""

    def shares(self, axis: Axis, across: Reading, x: str, y: str, dy: str) -> list[Terms]:
        """Each share in one term."""
        taps = [self.read(x, axis, axis.pixels(tap, 1.0), across) for tap in range(axis.window - 1)]
        maximum = self.read(y, axis, axis.windows(), across)
        return [[(share, 1.0)] for share in shares(self.nodes, taps, maximum, dy)]
