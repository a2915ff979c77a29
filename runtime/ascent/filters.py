"""Blurs and pyramids as matrices, with which a graph does as OpenCV does.

A linear filter along an axis is a band: each value of the result is a sum over a few neighbouring values. So the result
is cut into blocks of equal length; one small matrix makes every block from the values around it, and what lies beyond
an edge is read from inside, mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats, Size
from ..provider.onnx_graph import Graph, Operand

Positions = NDArray[np.int64]

# Values of the result that one block holds; a wider filter has longer blocks, so that they overlap by half at most.
_BLOCK = 32
_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16


@dataclass(frozen=True)
class AxisFilter:
    """A filter along one axis: a block's values are `matrix` [values, taps] times those at `positions` [blocks, taps].

    The last block may be longer than the `length` of the result.
    """

    positions: Positions
    matrix: Floats
    length: int


@dataclass(frozen=True)
class Filter:
    """A separable filter: a band for the rows, one above the other, and one for the columns."""

    rows: AxisFilter
    columns: AxisFilter

    @property
    def size(self) -> Size:
        """Height and width of the result."""
        return Size(self.rows.length, self.columns.length)

    @classmethod
    def gaussian(cls, size: Size, sigma: float, widest: float = 0.0) -> Filter:
        """A Gaussian of that many pixels, edges mirrored: cv2.GaussianBlur of float32. 0 leaves everything as it is.

        The matrices have room for one of `widest` pixels, so that all up to there are matrices of the same shape for
        the same positions.
        """
        reach = _reach(max(sigma, widest))
        return cls(*(_gaussian(length, sigma, reach) for length in size))

    @classmethod
    def halving(cls, size: Size) -> Filter:
        """To half the size, odd sides rounded up: cv2.pyrDown."""
        return cls(*(_halving(length) for length in size))

    @classmethod
    def doubling(cls, size: Size, larger: Size) -> Filter:
        """To twice the size, or one less: cv2.pyrUp."""
        return cls(*(_doubling(length, result) for length, result in zip(size, larger, strict=True)))


def filtered(graph: Graph, image: str, chosen: Filter, matrices: Sequence[str] = ()) -> str:
    """Adds a filter of a picture; `matrices` name inputs to take the place of its own, of rows and of columns.

    Each axis is cut into its blocks, the matrix makes of each a block of the result, and what the last one holds beyond
    the result is cut off.
    """
    row_matrix, column_matrix = matrices or (chosen.rows.matrix, chosen.columns.matrix)
    transposed = _along_rows(graph, image, chosen.rows, row_matrix)
    result = _along_rows(graph, transposed, chosen.columns, column_matrix)
    return graph.add("Slice", result, np.array([0, 0]), np.array(chosen.size), np.array([2, 3]))


def _along_rows(graph: Graph, x: str, band: AxisFilter, matrix: Operand) -> str:
    """Filtered along the second axis from the end; transposed."""
    blocks = graph.add("MatMul", matrix, graph.add("Gather", x, band.positions, axis=2))
    return graph.add("Reshape", graph.add("Transpose", blocks, perm=[0, 1, 4, 2, 3]), np.array([0, 0, 0, -1]))


def _reach(sigma: float) -> int:
    """Pixels on either side, OpenCV's choice for float pixels: 4 sigma."""
    return round(8 * sigma + 1) // 2


def _gaussian(length: int, sigma: float, reach: int) -> AxisFilter:
    own = _reach(sigma)
    kernel = np.pad(cv2.getGaussianKernel(2 * own + 1, sigma, cv2.CV_32F).ravel(), reach - own)
    values = min(max(_BLOCK, 2 * reach), length)
    matrix = np.zeros((values, values + 2 * reach), np.float32)
    for row in range(values):
        matrix[row, row : row + len(kernel)] = kernel
    starts = np.arange(0, length, values) - reach
    return AxisFilter(_mirrored(_runs(starts, matrix), length), matrix, length)


def _halving(length: int) -> AxisFilter:
    result = (length + 1) // 2
    values = min(_BLOCK, result)
    matrix = np.zeros((values, 2 * values + 3), np.float32)
    for row in range(values):
        matrix[row, 2 * row : 2 * row + 5] = _BINOMIAL
    starts = 2 * np.arange(0, result, values) - 2
    return AxisFilter(_mirrored(_runs(starts, matrix), length), matrix, result)


def _doubling(length: int, result: int) -> AxisFilter:
    """The result's even values lie on those of the source, the odd ones between two."""
    matrix = np.zeros((_BLOCK, _BLOCK // 2 + 2), np.float32)
    for row in range(0, _BLOCK, 2):
        matrix[row, row // 2 : row // 2 + 3] = 2 * _BINOMIAL[::2]
        matrix[row + 1, row // 2 + 1 : row // 2 + 3] = 2 * _BINOMIAL[1::2]
    starts = np.arange(0, result, _BLOCK) // 2 - 1
    # Mirrored in twice the source, with zeros between its values, as OpenCV does it.
    return AxisFilter(_mirrored(2 * _runs(starts, matrix), 2 * length) // 2, matrix, result)


def _runs(starts: Positions, matrix: Floats) -> Positions:
    return starts[:, None] + np.arange(matrix.shape[1])


def _mirrored(positions: Positions, length: int) -> Positions:
    """Positions inside a length for any outside of it; the edge itself is not doubled (cv2.BORDER_REFLECT_101)."""
    if length == 1:
        return np.zeros_like(positions)
    folded = np.abs(positions) % (2 * length - 2)
    mirrored: Positions = np.minimum(folded, 2 * length - 2 - folded)
    return mirrored
