"""What every motif is drawn with: colours, soft-edged strokes and fills, and a figure's pose.

A picture is uint8 `[height, width, 3]` in RGB and is drawn on in place. Coordinates are pixels, x to the
right and y down; OpenCV takes them in fixed point, here in eighths of a pixel.

The shipped weights belong to one sequence of random draws: the order of the calls to `rng` in this recipe is
part of its result, and changing it changes every picture after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Picture: TypeAlias = NDArray[np.uint8]
Points: TypeAlias = NDArray[np.float64]
Color: TypeAlias = tuple[int, int, int]
Palette: TypeAlias = list[Color]

_FIXED_POINT_BITS = 3
_SUBPIXELS = 1 << _FIXED_POINT_BITS


@dataclass(frozen=True)
class Pose:
    """Where a figure stands: what it draws in unit coordinates is scaled, turned (radians), then moved."""

    x: float
    y: float
    size: float
    angle: float

    def place(self, points: ArrayLike) -> Points:
        """Unit points `[n, 2]` in picture coordinates."""
        scaled = np.asarray(points) * self.size
        x, y = scaled[:, 0], scaled[:, 1]
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.stack([x * cos - y * sin + self.x, x * sin + y * cos + self.y], 1)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """One unit point in picture coordinates."""
        placed = self.place([(x, y)])[0]
        return placed[0], placed[1]

    def scaled(self, factor: float) -> Pose:
        return replace(self, size=self.size * factor)

    def facing(self, angle: float) -> Pose:
        return replace(self, angle=angle)


def random_color(rng: Generator) -> Color:
    """Any hue, neither pale nor dark."""
    hue, saturation, value = rng.random() * 180, 60 + 195 * rng.random(), 50 + 205 * rng.random()
    hsv = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def random_palette(rng: Generator, count: int) -> Palette:
    return [random_color(rng) for _ in range(count)]


def shade(color: Color, factor: float, lift: int = 0) -> Color:
    """The colour made darker or lighter: `factor * channel + lift`."""
    red, green, blue = (int(channel * factor + lift) for channel in color)
    return red, green, blue


def quantised(picture: NDArray[Any]) -> Picture:
    """Any numbers, clipped to 0-255, as a new picture."""
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def fill(picture: Picture, points: ArrayLike, color: Color | int) -> None:
    """Fill the polygon with these corners `[n, 2]`."""
    cv2.fillPoly(picture, [_fixed(points)], color, cv2.LINE_AA, _FIXED_POINT_BITS)


def stroke(picture: Picture, points: ArrayLike, color: Color, width: int = 1, *, closed: bool = False) -> None:
    """Draw the line through these points `[n, 2]`; `closed` joins the last to the first."""
    cv2.polylines(picture, [_fixed(points)], closed, color, width, cv2.LINE_AA, _FIXED_POINT_BITS)


def disc(picture: Picture, x: float, y: float, radius: float, color: Color) -> None:
    circle(picture, x, y, radius, color, cv2.FILLED)


def circle(picture: Picture, x: float, y: float, radius: float, color: Color, width: int) -> None:
    centre = int(x * _SUBPIXELS), int(y * _SUBPIXELS)
    fixed_radius = max(1, int(radius * _SUBPIXELS))
    cv2.circle(picture, centre, fixed_radius, color, width, cv2.LINE_AA, _FIXED_POINT_BITS)


def around(count: int, start: float = 0.0) -> list[float]:
    """`count` directions (radians), evenly round the circle."""
    return [start + 2 * math.pi * k / count for k in range(count)]


def ray(x: float, y: float, angle: float, near: float, far: float) -> list[tuple[float, float]]:
    """The two ends of the line that leaves (x, y) in this direction, between two distances."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x + near * cos, y + near * sin), (x + far * cos, y + far * sin)]


def oval(x: float, y: float, x_radius: float, y_radius: float, angles: Points) -> Points:
    """Points `[n, 2]` of an upright ellipse, one for each angle (radians)."""
    return np.stack([x + x_radius * np.cos(angles), y + y_radius * np.sin(angles)], 1)


def lens(count: int, width: float) -> Points:
    """Outline of a leaf or an eye from (-1, 0) to (1, 0), `count` points on each side."""
    x = np.linspace(-1, 1, count)
    side = np.stack([x, width * (1 - x * x)], 1)
    return np.concatenate([side, side[::-1] * (1, -1)])


def _fixed(points: ArrayLike) -> NDArray[np.int32]:
    return np.round(np.asarray(points) * _SUBPIXELS).astype(np.int32).reshape(-1, 1, 2)
