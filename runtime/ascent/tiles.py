"""Cutting a picture into tiles that cover every pixel, and blending their gradients without seams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...models.arrays import Floats, Size


@dataclass(frozen=True)
class Tile:
    """One tile: its window in the picture, and how much each of its rows and columns counts, 0..1."""

    top: int
    left: int
    rows: Floats
    columns: Floats

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        return slice(self.top, self.top + len(self.rows)), slice(self.left, self.left + len(self.columns))

    @property
    def area(self) -> float:
        """Pixels that the tile stands for; all tiles' areas add up to the picture's where it is covered once."""
        return float(self.rows.sum(dtype=np.float64) * self.columns.sum(dtype=np.float64))


@dataclass(frozen=True)
class TilePlan:
    """How a picture is cut: all tiles have one size, so that one session serves them all."""

    size: Size
    tiles: tuple[Tile, ...]

    @property
    def tile_size(self) -> Size:
        """Height and width of every tile."""
        return Size(len(self.tiles[0].rows), len(self.tiles[0].columns))

    def __iter__(self) -> Iterator[Tile]:
        return iter(self.tiles)


def blended_tiles(size: Size, tile: Size, overlap: int, grid: int, smallest: int = 1) -> TilePlan:
    """Tiles of equal size, at most `tile` high and wide, that overlap by `overlap` pixels at least and fade into each
    other; cut no narrower than `smallest`.

    Across an overlap the weights of two neighbours run linearly from 0 to 1 and add up to 1, so a gradient put
    together from them has no jump. Tiles start at multiples of `grid`, the deepest layer's stride, so that a layer's
    cells lie where they would lie in the whole picture.
    """
    rows = _strips(size.height, min(tile.height, size.height), overlap, grid, smallest)
    columns = _strips(size.width, min(tile.width, size.width), overlap, grid, smallest)
    return TilePlan(size, tuple(Tile(top, left, down, across) for top, down in rows for left, across in columns))


def tutorial_tiles(size: Size, side: int) -> TilePlan:
    """The tiles of TensorFlow's tutorial: every `side` pixels, without the last row and column of them.

    Up to three quarters of a picture get no gradient in a step; only the random roll of each step spreads it.
    """
    rows, columns = ((range(0, length, side)[:-1] or (0,)) for length in size)
    whole = [np.ones(min(side, length), np.float32) for length in size]
    return TilePlan(size, tuple(Tile(top, left, *whole) for top in rows for left in columns))


def _strips(length: int, side: int, overlap: int, grid: int, smallest: int) -> list[tuple[int, Floats]]:
    """Starts and weights of equal strips that cover an axis, as few and then as narrow as they can be."""
    count = _count(length, side, overlap)
    if count > 1:
        narrowest = max(smallest, -(-(length + (count - 1) * overlap) // count))
        # One grid step more than needed pays for starts that are rounded down to the grid; the rest of the step puts
        # the last strip, too, on the grid.
        side = min(side, narrowest + grid + (length - narrowest) % grid)
    starts = _starts(length, side, overlap, grid)
    weights = [np.ones(side, np.float32) for _ in starts]
    for number in range(len(starts) - 1):
        shared = starts[number] + side - starts[number + 1]
        ramp = ((np.arange(shared) + 0.5) / max(shared, 1)).astype(np.float32)
        weights[number][side - shared :] *= ramp[::-1]
        weights[number + 1][:shared] *= ramp
    total = np.zeros(length, np.float32)  # not 1 where more than two strips meet
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + side] += weight
    return [(start, weight / total[start : start + side]) for start, weight in zip(starts, weights, strict=True)]


def _count(length: int, side: int, overlap: int) -> int:
    return 1 if side >= length else 1 + -(-(length - side) // max(1, side - overlap))


def _starts(length: int, side: int, overlap: int, grid: int) -> list[int]:
    """Evenly spread multiples of the grid; the last strip ends with the axis, on the grid if `side` lets it."""
    count = _count(length, side, overlap + grid - 1)
    if count == 1:
        return [0]
    spread = np.linspace(0, length - side, count)[:-1]
    return sorted({int(start // grid * grid) for start in spread} | {length - side})
