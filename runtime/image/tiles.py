"""Tiles that cover a picture, and the weights that blend their gradients without seams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...models.arrays import Floats, Size


@dataclass(frozen=True)
class Tile:
    """One tile: its position in the picture in pixels, and the weights of its rows and columns.

    `row_weights` are float32 [height], `column_weights` float32 [width], from 0 to 1. A pixel's weight is the product
    of the two.
    """

    top: int
    left: int
    row_weights: Floats = field(repr=False)
    column_weights: Floats = field(repr=False)

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and the columns of the picture that the tile covers."""
        bottom, right = self.top + len(self.row_weights), self.left + len(self.column_weights)
        return slice(self.top, bottom), slice(self.left, right)

    @property
    def area(self) -> float:
        """The weighted number of its pixels. The areas of blended tiles add up to the picture's."""
        return float(self.row_weights.sum(dtype=np.float64) * self.column_weights.sum(dtype=np.float64))


@dataclass(frozen=True)
class TilePlan:
    """The tiles of a picture of the given size. All tiles have one size, so that one session computes all of them."""

    size: Size
    tiles: tuple[Tile, ...] = field(repr=False)

    @property
    def tile_size(self) -> Size:
        """The size of every tile."""
        return Size(len(self.tiles[0].row_weights), len(self.tiles[0].column_weights))

    def __iter__(self) -> Iterator[Tile]:
        return iter(self.tiles)


def blended_tiles(size: Size, tile: Size, overlap: int, grid: int, min_side: int = 1) -> TilePlan:
    """Returns tiles of one size, at most `tile`, that overlap by at least `overlap` pixels and blend into each other.

    A picture that must be cut gets tiles whose sides are at least `min_side` pixels long. Across an overlap, the
    weights of two neighbours run linearly from 0 to 1 and add up to 1, so that the blended gradient has no jump. Tiles
    start at multiples of `grid` pixels, the deepest layer's stride, so that a layer's activations have the same
    positions as in the whole picture.
    """
    rows = _strips(size.height, min(tile.height, size.height), overlap, grid, min_side)
    columns = _strips(size.width, min(tile.width, size.width), overlap, grid, min_side)
    tiles = [Tile(top, left, down, across) for top, down in rows for left, across in columns]
    return TilePlan(size, tuple(tiles))


def tutorial_tiles(size: Size, side: int) -> TilePlan:
    """Returns the tiles of TensorFlow's tutorial: one every `side` pixels, without the last row and column of tiles.

    In a step, up to three quarters of the picture get no gradient; only the random roll changes which. Source:
    tensorflow.org/tutorials/generative/deepdream.
    """
    rows, columns = ((range(0, length, side)[:-1] or (0,)) for length in size)
    whole = [np.ones(min(side, length), np.float32) for length in size]
    return TilePlan(size, tuple(Tile(top, left, *whole) for top in rows for left in columns))


def _strips(length: int, side: int, overlap: int, grid: int, min_side: int) -> list[tuple[int, Floats]]:
    """Returns the starts and the weights, float32 [side], of equal strips that cover an axis of `length` pixels.

    There are as few strips as possible, and they are then as narrow as possible.
    """
    count = _strip_count(length, side, overlap)
    if count > 1:
        narrowest = max(min_side, -(-(length + (count - 1) * overlap) // count))
        # One grid step is added because starts are rounded down to the grid, and the remainder so that the last strip
        # starts on the grid as well.
        side = min(side, narrowest + grid + (length - narrowest) % grid)
    starts = _strip_starts(length, side, overlap, grid)
    weights = [np.ones(side, np.float32) for _ in starts]
    for number in range(len(starts) - 1):
        shared = starts[number] + side - starts[number + 1]
        ramp = ((np.arange(shared) + 0.5) / max(shared, 1)).astype(np.float32)
        weights[number][side - shared :] *= ramp[::-1]
        weights[number + 1][:shared] *= ramp
    total = np.zeros(length, np.float32)  # differs from 1 where more than two strips overlap
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + side] += weight
    return [(start, weight / total[start : start + side]) for start, weight in zip(starts, weights, strict=True)]


def _strip_count(length: int, side: int, overlap: int) -> int:
    return 1 if side >= length else 1 + -(-(length - side) // max(1, side - overlap))


def _strip_starts(length: int, side: int, overlap: int, grid: int) -> list[int]:
    """Returns evenly spread multiples of the grid. The last strip ends with the axis, on the grid if `side` permits."""
    count = _strip_count(length, side, overlap + grid - 1)
    if count == 1:
        return [0]
    spread = np.linspace(0, length - side, count)[:-1]
    return sorted({int(start // grid * grid) for start in spread} | {length - side})
