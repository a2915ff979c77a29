"""OpenCV's Gaussian blur and image pyramid as matrices, which an ONNX graph can multiply by.

A linear filter along an axis computes each value as a weighted sum of a few neighbouring values, its taps. The result
is therefore cut into blocks of equal length, and one small matrix computes every block from the values around it.
Beyond an edge, the values inside are mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats, Size
from ..provider.onnx_graph import Graph, Operand

Positions = NDArray[np.int64]

# Values of the result in a block. Wider filters have longer blocks, so that neighbouring blocks share at most half of
# the values that they read.
_BLOCK = 32
# The kernel of cv2.pyrDown and cv2.pyrUp along an axis (Burt and Adelson 1983, with a = 3/8).
_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16


@dataclass(frozen=True)
class AxisFilter:
    """A filter along one axis: the values of a block are `matrix` times the source's values at the block's positions.

    `matrix` is float32 [values of a block, taps], `positions` int64 [blocks, taps]. `length` is the number of values of
    the result; the last block may reach beyond it.
    """

    positions: Positions = field(repr=False)
    matrix: Floats = field(repr=False)
    length: int


@dataclass(frozen=True)
class Filter:
    """A separable filter: `rows` filters down the image, from row to row, and `columns` across it."""

    rows: AxisFilter
    columns: AxisFilter

    @property
    def size(self) -> Size:
        """The size of the result."""
        return Size(self.rows.length, self.columns.length)

    @classmethod
    def gaussian(cls, size: Size, sigma: float, widest: float = 0.0) -> Filter:
        """Returns cv2.GaussianBlur of float32 with mirrored edges; `sigma` is in pixels, and 0 does not blur.

        The matrices have room for a sigma of `widest`, so that all sigmas up to it share shapes and positions.
        """
        radius = _radius(max(sigma, widest))
        return cls(*(_gaussian(length, sigma, radius) for length in size))

    @classmethod
    def halving(cls, size: Size) -> Filter:
        """Returns cv2.pyrDown: to half the size, odd sides rounded up."""
        return cls(*(_halving(length) for length in size))

    @classmethod
    def doubling(cls, size: Size, larger: Size) -> Filter:
        """Returns cv2.pyrUp: from `size` to `larger`, whose sides are twice as long or one pixel less."""
        return cls(*(_doubling(length, result) for length, result in zip(size, larger, strict=True)))


def add_filter(graph: Graph, image: str, image_filter: Filter, matrices: Sequence[str] = ()) -> str:
    """Adds a filter of an image [1, 3, height, width] to a graph; returns the output's name.

    `matrices` are the names of two inputs that replace the filter's own matrices, of rows and of columns. What the last
    block computes beyond the result is cut off.
    """
    row_matrix, column_matrix = matrices or (image_filter.rows.matrix, image_filter.columns.matrix)
    transposed = _add_axis_filter(graph, image, image_filter.rows, row_matrix)
    result = _add_axis_filter(graph, transposed, image_filter.columns, column_matrix)
    return graph.add("Slice", result, np.array([0, 0]), np.array(image_filter.size), np.array([2, 3]))


def _add_axis_filter(graph: Graph, image: str, axis_filter: AxisFilter, matrix: Operand) -> str:
    """Adds a filter down the rows of an image, and transposes the result, so that its columns can follow."""
    blocks = graph.add("MatMul", matrix, graph.add("Gather", image, axis_filter.positions, axis=2))
    return graph.add("Reshape", graph.add("Transpose", blocks, perm=[0, 1, 4, 2, 3]), np.array([0, 0, 0, -1]))


def _radius(sigma: float) -> int:
    """Returns the pixels of a Gaussian kernel on either side of its middle: 4 sigma, as cv2.GaussianBlur has for
    float32."""
    return round(8 * sigma + 1) // 2


def _gaussian(length: int, sigma: float, radius: int) -> AxisFilter:
    own_radius = _radius(sigma)
    kernel = np.pad(cv2.getGaussianKernel(2 * own_radius + 1, sigma, cv2.CV_32F).ravel(), radius - own_radius)
    values = min(max(_BLOCK, 2 * radius), length)
    matrix = np.zeros((values, values + 2 * radius), np.float32)
    for row in range(values):
        matrix[row, row : row + len(kernel)] = kernel
    starts = np.arange(0, length, values) - radius
    return AxisFilter(_mirrored(_block_positions(starts, matrix), length), matrix, length)


def _halving(length: int) -> AxisFilter:
    result = (length + 1) // 2
    values = min(_BLOCK, result)
    matrix = np.zeros((values, 2 * values + 3), np.float32)
    for row in range(values):
        matrix[row, 2 * row : 2 * row + 5] = _BINOMIAL
    starts = 2 * np.arange(0, result, values) - 2
    return AxisFilter(_mirrored(_block_positions(starts, matrix), length), matrix, result)


def _doubling(length: int, result: int) -> AxisFilter:
    """The even values of the result have the positions of the source's values, the odd ones lie between two."""
    matrix = np.zeros((_BLOCK, _BLOCK // 2 + 2), np.float32)
    for row in range(0, _BLOCK, 2):
        matrix[row, row // 2 : row // 2 + 3] = 2 * _BINOMIAL[::2]
        matrix[row + 1, row // 2 + 1 : row // 2 + 3] = 2 * _BINOMIAL[1::2]
    starts = np.arange(0, result, _BLOCK) // 2 - 1
    # As in OpenCV, the edges are mirrored after zeros have been put between the source's values.
    return AxisFilter(_mirrored(2 * _block_positions(starts, matrix), 2 * length) // 2, matrix, result)


def _block_positions(starts: Positions, matrix: Floats) -> Positions:
    """Returns the positions that each block reads from its start on, int64 [blocks, taps]; some may be outside."""
    return starts[:, None] + np.arange(matrix.shape[1])


def _mirrored(positions: Positions, length: int) -> Positions:
    """Returns the positions with those outside 0 to `length` mirrored; the edge is not doubled, as in OpenCV's
    BORDER_REFLECT_101."""
    if length == 1:
        return np.zeros_like(positions)
    folded = np.abs(positions) % (2 * length - 2)
    mirrored: Positions = np.minimum(folded, 2 * length - 2 - folded)
    return mirrored
