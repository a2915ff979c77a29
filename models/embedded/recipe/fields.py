"""Fields: numbers over a drawing's pixels, which colours are then laid on.

Fields are float32 `[SIZE, SIZE]`, and go from 0 to 1 unless they say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from .canvas import Color

SIZE = 144
"""Height and width of a drawing, in pixels."""

Field: TypeAlias = NDArray[np.float32]


def as_field(values: ArrayLike) -> Field:
    return np.asarray(values, np.float32)


def blend(field: Field, low: Color, high: Color) -> Field:
    """Float32 `[height, width, 3]`: `low` where the field is 0, `high` where it is 1."""
    weight = field[..., None]
    return np.array(low, np.float32) * (1 - weight) + np.array(high, np.float32) * weight


def octaves(rng: Generator, height: int, width: int, base: int, count: int, persistence: float = 0.55) -> Field:
    """Sum of ever finer random grids `[height, width]`, lifted so that its least value is 0.

    `base` is the coarsest grid's number of columns, which doubles with each octave while its weight falls by
    `persistence`. A grid finer than the pixels is left out.
    """
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for octave in range(count):
        columns = base * 2**octave
        if columns > width:
            break
        rows = max(2, columns * height // width)
        grid = rng.standard_normal((rows, columns)).astype(np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight *= persistence
    return as_field(total - total.min())


def noise(rng: Generator, count: int, base: int, persistence: float = 0.55) -> Field:
    """Cloudy noise; the arguments are those of `octaves`."""
    field = octaves(rng, SIZE, SIZE, base, count, persistence)
    return as_field(field / (field.max() + 1e-6))


def soft_edge(field: Field) -> Field:
    """0 and 1 on either side of the field's zero, with a ramp a sixth wide between them."""
    return as_field(np.clip(field * 6 + 0.5, 0, 1))


def pixels() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The x and the y of every pixel, float64 so that every NumPy gives the same picture."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    return x, y


def warped_grid(rng: Generator) -> tuple[Field, Field]:
    """Coordinates u and v of a turned and slightly warped grid whose meshes are 6 to 26 pixels wide."""
    angle = rng.random() * np.pi
    x, y = pixels()
    mesh = rng.uniform(6, 26)
    warp = noise(rng, 3, 2) * rng.uniform(0, 0.6) * mesh
    cos, sin = np.cos(angle), np.sin(angle)
    u = (x * cos + y * sin + warp) / mesh
    v = (-x * sin + y * cos + warp) / mesh
    return u.astype(np.float32), v.astype(np.float32)


@dataclass(frozen=True)
class Cells:
    """A Voronoi pattern: in each pixel the nearest and second nearest seed's distance (pixels), and which."""

    nearest: Field
    second: Field
    seed: Field


def cells(rng: Generator, count: int) -> Cells:
    """Cells round `count` random seeds, found at every second pixel and enlarged."""
    seeds = rng.random((count, 2)) * SIZE
    y, x = np.mgrid[:SIZE:2, :SIZE:2]
    distance = np.hypot(x[..., None] - seeds[:, 0], y[..., None] - seeds[:, 1])
    order = np.argsort(distance, -1)[..., :2]
    closest = np.take_along_axis(distance, order, -1)
    return Cells(
        nearest=_enlarged(closest[..., 0], cv2.INTER_LINEAR),
        second=_enlarged(closest[..., 1], cv2.INTER_LINEAR),
        seed=_enlarged(order[..., 0], cv2.INTER_NEAREST),
    )


def _enlarged(half: NDArray[np.float64] | NDArray[np.intp], interpolation: int) -> Field:
    enlarged: Field = cv2.resize(half.astype(np.float32), (SIZE, SIZE), interpolation=interpolation)
    return enlarged
