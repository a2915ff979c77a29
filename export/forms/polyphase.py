"""The gradient of a maximum with its pixels kept apart, by their place in a stride, until the end.

Depthwise convolutions, which providers run well in their own layouts, bring the pixels of each window together: they
thin out, shift and pad in one pass, where ONNX's own Slice and Pad are copies, and slow ones with a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .nodes import Nodes, Window
from .portable import window_reach


@dataclass(frozen=True)
class Reading:
    """How a depthwise convolution goes along one axis: its weights, its stride, and how many zeros it puts before the
    first pixel and after the last."""

    weights: tuple[float, ...] = (1.0,)
    stride: int = 1
    before: int = 0
    after: int = 0


def depthwise(nodes: Nodes, x: str, channels: int, down: Reading = Reading(), right: Reading = Reading()) -> str:
    """A convolution of every channel by itself, with the same weights."""
    kernel = np.outer(down.weights, right.weights)
    single = nodes.add("Reshape", nodes.numbers(kernel.ravel().tolist()), nodes.integers(1, 1, *kernel.shape))
    return nodes.add(
        "Conv",
        x,
        nodes.add("Expand", single, nodes.integers(channels, 1, 1, 1)),
        group=channels,
        kernel_shape=list(kernel.shape),
        strides=[down.stride, right.stride],
        pads=[down.before, right.before, down.after, right.after],
    )


@dataclass(frozen=True)
class Axis:
    """The windows of a maximum along one axis of its input.

    What is computed for each of them is kept in cells, at both ends as many more than windows as a window reaches. So
    each pixel has a cell, and a convolution gets to any pixel of a window by the zeros that it begins with; to get
    there by weights of 0 takes as long as if they were not 0.
    """

    window: int
    stride: int

    @property
    def reach(self) -> int:
        """How many cells there are more at each end."""
        return window_reach(self.window, self.stride)

    def windows(self, weight: float = 1.0) -> Reading:
        """Reads a tensor that has one value for each window."""
        return Reading((weight,), before=self.reach, after=self.reach)

    def pixels(self, tap: int, *weights: float) -> Reading:
        """Reads the input: of each window the pixels from `tap` on."""
        span = self.reach * self.stride
        return Reading(weights, self.stride, span - tap, span + tap + len(weights) - self.window)

    def order(self, nodes: Nodes, length: str, cell: str, place: str) -> str:
        """int64 [length]: where its pixels are kept, so far from cell to cell and from place to place in a stride."""
        pixels = nodes.add("Range", nodes.integer(0), length, nodes.integer(1))
        cells = nodes.add("Add", nodes.add("Div", pixels, nodes.integer(self.stride)), nodes.integer(self.reach))
        places = nodes.add("Mod", pixels, nodes.integer(self.stride))
        return nodes.add("Add", nodes.add("Mul", cells, cell), nodes.add("Mul", places, place))


# Tensors and factors, to be added up.
Terms = list[tuple[str, float]]


class MaxPoolGradient(ABC):
    """The gradient of a VALID maximum, the one that `portable.max_pool_gradient` describes.

    All tensors but the ends are in cells, one for each place in a stride. What is left to the forms is how the pixels
    of a window share its gradient.
    """

    def __init__(self, nodes: Nodes, window: Window, channels: int) -> None:
        self.nodes, self.channels = nodes, channels
        self._down, self._right = (Axis(*pair) for pair in zip(window.kernel, window.strides, strict=True))

    def at(self, x: str, rows: str, y: str, dy: str) -> str:
        """The gradient at x; `rows` are the maxima along the rows of x, y those down `rows`."""
        beside = self._right.windows()
        drows = self._step(self._down, beside, rows, y, self.read(dy, self._down, self._down.windows(), beside))
        cells = []
        for place, drow in enumerate(drows):
            cells += self._step(self._right, self._down.pixels(place, 1.0), x, rows, drow)
        return self._woven(cells, x)

    @abstractmethod
    def shares(self, axis: Axis, across: Reading, x: str, y: str, dy: str) -> list[Terms]:
        """What each pixel of the windows along an axis of x gets of dy; y are their maxima, to be read with `across`
        like x, dy is in cells."""

    def read(self, x: str, axis: Axis, along: Reading, across: Reading) -> str:
        """x, in cells, by a pass that reads so along an axis and so across it."""
        down, right = (along, across) if axis is self._down else (across, along)
        return depthwise(self.nodes, x, self.channels, down, right)

    def _step(self, axis: Axis, across: Reading, x: str, y: str, dy: str) -> list[str]:
        """The gradient at x from dy, that at the maxima along an axis; by place in the stride."""
        parts: list[list[str]] = [[] for _ in range(axis.stride)]
        for tap, terms in enumerate(self.shares(axis, across, x, y, dy)):
            back, place = divmod(tap, axis.stride)
            parts[place] += [self._moved(axis, back, factor, term) for term, factor in terms]
        return [self.nodes.sum(*terms) if terms else self._moved(axis, 0, 0.0, dy) for terms in parts]

    def _moved(self, axis: Axis, back: int, factor: float, x: str) -> str:
        if (back, factor) == (0, 1.0):
            return x
        return self.read(x, axis, Reading((factor, *[0.0] * back), before=back), Reading())

    def _woven(self, cells: list[str], x: str) -> str:
        """The pixels of all cells, by row's and then column's place, where they are in x.

        With channels last a pixel is one piece, and each is copied once.
        """
        nodes = self.nodes
        joined = nodes.add("Concat", *cells, axis=1) if len(cells) > 1 else cells[0]
        last = nodes.add("Transpose", joined, perm=[0, 2, 3, 1])
        pixels = nodes.add("Reshape", last, nodes.integers(0, -1, self.channels))
        size, cell = nodes.add("Shape", x), nodes.integers(len(cells))
        height, width = (nodes.add("Gather", size, nodes.integer(axis)) for axis in (2, 3))
        row = nodes.add("Mul", nodes.length(joined, 3), cell)
        rows = self._down.order(nodes, height, row, nodes.integer(self._right.stride))
        columns = self._right.order(nodes, width, cell, nodes.integer(1))
        order = nodes.add("Add", nodes.add("Unsqueeze", rows, nodes.integers(1)), columns)
        return nodes.add("Transpose", nodes.add("Gather", pixels, order, axis=1), perm=[0, 3, 1, 2])
