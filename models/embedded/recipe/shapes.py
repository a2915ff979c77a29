"""Geometric and built things: rings, coils, polygons, wheels, knots, arches, towers.

Every figure is a function of the picture, the random generator, its pose and a palette of four colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.random import Generator

from .canvas import Color, Palette, Picture, Points, Pose, around, circle, disc, fill, stroke

Figure: TypeAlias = Callable[[Picture, Generator, Pose, Palette], None]


def rings(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    count = int(rng.integers(3, 8))
    for k in range(count):
        disc(picture, pose.x, pose.y, pose.size * (1 - k / count), palette[k % 2])


def spiral(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    """Archimedes' spiral: its turns are evenly spaced."""
    _coil(picture, rng, pose, palette[0], lambda turn: turn)


def curl(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    spiral(picture, rng, pose.scaled(0.7), palette)


def log_spiral(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    """One to four arms that open outwards."""
    arms = int(rng.integers(1, 5))
    for k, angle in enumerate(around(4, pose.angle)[:arms]):
        _coil(picture, rng, pose.facing(angle), palette[k % 3], lambda turn: np.exp(0.14 * turn))


def _coil(picture: Picture, rng: Generator, pose: Pose, color: Color, radius_at: Callable[[Points], Points]) -> None:
    turn = np.linspace(0.3, rng.uniform(3, 6) * 2 * np.pi, 160)
    radius = radius_at(turn)
    radius = radius / radius[-1] * pose.size
    angle = (1 if rng.random() < 0.5 else -1) * turn + pose.angle
    points = np.stack([pose.x + radius * np.cos(angle), pose.y + radius * np.sin(angle)], 1)
    stroke(picture, points, color, int(rng.integers(1, 4)))


def star(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    corners = np.arange(2 * int(rng.integers(5, 9)))
    angle = corners * np.pi / (len(corners) // 2)
    radius = np.where(corners % 2, rng.uniform(0.3, 0.5), 1.0)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    fill(picture, pose.place(points), palette[int(rng.integers(3))])


def polygon(corners: int) -> Figure:
    """The figure of a regular polygon, with its outline."""
    angle = np.arange(corners) * 2 * np.pi / corners
    points = np.stack([np.cos(angle), np.sin(angle)], 1)

    def draw(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
        placed = pose.place(points)
        fill(picture, placed, palette[int(rng.integers(3))])
        stroke(picture, placed, palette[3], 2, closed=True)

    return draw


def ball(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    disc(picture, pose.x, pose.y, pose.size, palette[int(rng.integers(3))])
    circle(picture, pose.x, pose.y, pose.size, palette[3], 2)


def wheel(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    spokes = int(rng.integers(6, 14))
    circle(picture, pose.x, pose.y, pose.size, palette[0], max(2, int(pose.size * 0.14)))
    for angle in around(spokes, pose.angle):
        stroke(picture, pose.facing(angle).place([(0.1, 0), (0.95, 0)]), palette[1], 2)
    disc(picture, pose.x, pose.y, pose.size * 0.18, palette[2])


def gear(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    teeth = int(rng.integers(8, 14))
    outline = []
    for tooth in range(teeth):
        for part, radius in ((0, 0.78), (0.25, 0.78), (0.3, 1), (0.7, 1), (0.75, 0.78)):
            angle = 2 * math.pi * (tooth + part) / teeth
            outline.append((radius * math.cos(angle), radius * math.sin(angle)))
    fill(picture, pose.place(outline), palette[0])
    disc(picture, pose.x, pose.y, pose.size * 0.3, palette[1])


def knot(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    """The trefoil knot seen from above."""
    t = np.linspace(0, 2 * np.pi, 90)
    trefoil = np.stack([np.sin(t) + 2 * np.sin(2 * t), np.cos(t) - 2 * np.cos(2 * t)], 1) / 3
    points = pose.place(trefoil)
    stroke(picture, points, palette[1], max(3, int(pose.size * 0.22)), closed=True)
    stroke(picture, points, palette[0], max(1, int(pose.size * 0.12)), closed=True)


def arch(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    """Three arches in one another, upright."""
    upright = pose.facing(0)
    bow = np.linspace(np.pi, 2 * np.pi, 14)
    for color, scale in zip(palette, (1, 0.8, 0.6), strict=False):
        half = 0.5 * scale
        top = [(half * math.cos(angle), -0.2 + half * 1.2 * math.sin(angle)) for angle in bow]
        fill(picture, upright.place([(-half, 0.9), *top, (half, 0.9)]), color)
    stroke(picture, upright.place([(0, -0.5), (0, 0.9)]), palette[3])


def tower(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    """A pagoda of three to five storeys, upright."""
    upright = pose.facing(0)
    storeys = int(rng.integers(3, 6))
    height = 1.8 / storeys
    for storey in range(storeys):
        width = 0.5 * (1 - storey / (storeys + 1))
        floor = 0.9 - storey * height
        ceiling, eaves, ridge = floor - height * 0.6, floor - height * 0.55, floor - height
        wall = [(-width, floor), (width, floor), (width, ceiling), (-width, ceiling)]
        roof = [(-width * 1.5, eaves), (width * 1.5, eaves), (width * 0.7, ridge), (-width * 0.7, ridge)]
        fill(picture, upright.place(wall), palette[0])
        fill(picture, upright.place(roof), palette[1])
        disc(picture, pose.x, pose.y + pose.size * (floor - height * 0.3), pose.size * 0.07, palette[2])
