"""Living things: eyes, flowers, leaves, trees, shells, animals.

Every figure is a function of the picture, the random generator, its pose and a palette of four colours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from .canvas import Color, Palette, Picture, Points, Pose, around, disc, fill, lens, oval, ray, shade, stroke

_BOTH_SIDES = (-1, 1)


def eye(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    x, y = pose.x, pose.y
    opening = rng.uniform(0.4, 0.7)
    fill(picture, pose.scaled(1.1).place(lens(28, opening * 1.15)), (20, 15, 15))
    fill(picture, pose.place(lens(28, opening)), (240, 238, 230))
    iris = pose.size * opening * 0.85
    disc(picture, x, y, iris, palette[0])
    for angle in around(22):
        stroke(picture, ray(x, y, angle + rng.random() * 0.2, iris * 0.4, iris * 0.95), palette[1])
    disc(picture, x, y, iris * 0.45, (8, 8, 10))
    glint = pose.angle - 0.8
    glint_x, glint_y = x + iris * 0.3 * math.cos(glint), y + iris * 0.3 * math.sin(glint)
    disc(picture, glint_x, glint_y, iris * 0.16, (255, 255, 255))


def flower(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    petals = int(rng.integers(4, 9))
    for angle in around(petals, pose.angle):
        petal = pose.facing(angle).scaled(0.5)
        fill(picture, petal.place(_petal(16, 0.35)), palette[0])
        stroke(picture, petal.place([(0.2, 0), (1.6, 0)]), palette[2])
    disc(picture, pose.x, pose.y, pose.size * 0.22, palette[1])


def _petal(count: int, width: float) -> Points:
    """A lens from (0, 0) to (2, 0)."""
    return np.asarray(lens(count, width) + np.array((1, 0)))


def daisy(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    x, y, size = pose.x, pose.y, pose.size
    petals = int(rng.integers(12, 24))
    for angle in around(petals, pose.angle):
        stroke(picture, pose.facing(angle).place([(0.25, 0), (1, 0)]), palette[0], max(1, int(size * 0.09)))
    disc(picture, x, y, size * 0.3, palette[1])
    for _ in range(12):
        seed_x, seed_y = x + rng.uniform(-0.2, 0.2) * size, y + rng.uniform(-0.2, 0.2) * size
        disc(picture, seed_x, seed_y, size * 0.04 + 0.5, palette[2])


def feather(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    for x in np.linspace(-1, 1, 34):
        barb = 0.42 * (1 - x * x) ** 0.6 * (1 if x < 0.7 else 0.6)
        stroke(picture, pose.place([(x, 0), (x + 0.25, barb)]), palette[0])
        stroke(picture, pose.place([(x, 0), (x + 0.25, -barb)]), palette[1])
    stroke(picture, pose.place([(-1.2, 0), (1.1, 0)]), palette[2], 2)


def leaf(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    fill(picture, pose.place(lens(24, 0.45)), palette[0])
    stroke(picture, pose.place([(-1.2, 0), (1, 0)]), palette[1], 2)
    for x in np.linspace(-0.8, 0.6, 7):
        vein = 0.4 * (1 - x * x) * 0.8
        stroke(picture, pose.place([(x, 0), (x + 0.25, vein)]), palette[1])
        stroke(picture, pose.place([(x, 0), (x + 0.25, -vein)]), palette[1])


def tree(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    _branch(picture, rng, pose.scaled(0.5), palette[0], forks=6, width=4)


def _branch(picture: Picture, rng: Generator, pose: Pose, color: Color, forks: int, width: float) -> None:
    """A branch as long as the pose's size, and what forks from its end."""
    if forks == 0 or pose.size < 2:
        return
    start, end = ray(pose.x, pose.y, pose.angle, 0, pose.size)
    stroke(picture, [start, end], color, max(1, int(width)))
    for side in _BOTH_SIDES:
        length = pose.size * rng.uniform(0.62, 0.82)
        twig = Pose(*end, length, pose.angle + side * rng.uniform(0.25, 0.6))
        _branch(picture, rng, twig, color, forks - 1, width * 0.7)


def fern(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    _frond(picture, pose.scaled(1.6), palette, leaflets=9, feathered=True)


def _frond(picture: Picture, pose: Pose, palette: Palette, leaflets: int, feathered: bool) -> None:
    """A stem as long as the pose's size with pairs of leaflets, each again a frond if `feathered`."""
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    for k in range(leaflets):
        x, y = pose.x + pose.size * k / leaflets * cos, pose.y + pose.size * k / leaflets * sin
        length = pose.size * 0.42 * (1 - k / leaflets)
        for side in _BOTH_SIDES:
            leaflet = Pose(x, y, length, pose.angle + side)
            if feathered:
                _frond(picture, leaflet, palette, leaflets=7, feathered=False)
            else:
                stroke(picture, ray(x, y, leaflet.angle, 0, length), palette[0])
    stroke(picture, ray(pose.x, pose.y, pose.angle, 0, pose.size), palette[1])


def shell(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    """Two colours of discs along a logarithmic spiral, the outermost first."""
    direction = 1 if rng.random() < 0.5 else -1
    for k in range(26, 0, -1):
        turn = k * 0.32
        radius = pose.size * math.exp(0.13 * (turn - 8.4))
        angle = direction * turn + pose.angle
        x, y = pose.x + radius * math.cos(angle), pose.y + radius * math.sin(angle)
        disc(picture, x, y, radius * 0.62, palette[k % 2])


def fish(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    """Most swim nearly level to the right, none on its back."""
    upright = pose.angle + math.pi if math.cos(pose.angle) < 0 else pose.angle
    pose = pose.facing(upright if rng.random() < 0.3 else rng.uniform(-0.5, 0.5))
    fill(picture, pose.place([(-0.7, 0), (-1.25, 0.45), (-1.1, 0), (-1.25, -0.45)]), palette[1])
    fill(picture, pose.place(lens(20, 0.45)), palette[0])
    for x in np.linspace(-0.6, 0.3, 5):
        scale = 0.35 * (1 - x * x)
        stroke(picture, pose.place([(x, scale), (x + 0.12, 0), (x, -scale)]), palette[2])
    x, y = pose.at(0.62, -0.1)
    disc(picture, x, y, pose.size * 0.1, (250, 250, 250))
    disc(picture, x, y, pose.size * 0.05, (0, 0, 0))


def bear(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    """A bear's head, in the palette's first colour."""
    pose = pose.facing(rng.uniform(-0.4, 0.4))
    size = pose.size
    fur, dark, light = palette[0], shade(palette[0], 0.6), shade(palette[0], 0.5, 110)
    for side in _BOTH_SIDES:
        ear = pose.at(side * 0.72, -0.72)
        disc(picture, *ear, size * 0.36, fur)
        disc(picture, *ear, size * 0.2, dark)
    disc(picture, pose.x, pose.y, size, fur)
    disc(picture, *pose.at(0, 0.38), size * 0.42, light)
    disc(picture, *pose.at(0, 0.22), size * 0.16, (15, 12, 12))
    for side in _BOTH_SIDES:
        x, y = pose.at(side * 0.38, -0.18)
        disc(picture, x, y, size * 0.13, (10, 8, 8))
        disc(picture, x - size * 0.04, y - size * 0.04, size * 0.04, (255, 255, 255))
    stroke(picture, pose.place([(-0.16, 0.5), (0, 0.58), (0.16, 0.5)]), (20, 15, 15), 2)
    for _ in range(40):
        angle = rng.random() * 6.28
        root, _ = ray(pose.x, pose.y, angle, size * 0.9, size)
        _, tip = ray(pose.x, pose.y, angle + 0.1, size, size * 1.08)
        stroke(picture, [root, tip], dark)


def penguin(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    """A penguin from the front, beak and feet in the palette's first colour."""
    pose = pose.facing(rng.uniform(-0.3, 0.3))
    beak = palette[0]
    angles = np.linspace(0, 6.28, 26)

    def part(x: float, y: float, x_radius: float, y_radius: float, color: Color) -> None:
        fill(picture, pose.place(oval(x, y, x_radius, y_radius, angles)), color)

    part(0, 0.1, 0.55, 0.95, (25, 25, 35))
    part(0, 0.25, 0.38, 0.72, (245, 245, 240))
    part(0, -0.72, 0.36, 0.36, (25, 25, 35))
    for side in _BOTH_SIDES:
        part(side * 0.58, 0.15, 0.12, 0.5, (30, 30, 40))
    for side in _BOTH_SIDES:
        part(side * 0.2, 1.02, 0.2, 0.09, beak)
    for side in _BOTH_SIDES:
        part(side * 0.14, -0.78, 0.09, 0.1, (250, 250, 250))
        part(side * 0.14, -0.77, 0.045, 0.055, (0, 0, 0))
    fill(picture, pose.place([(-0.12, -0.66), (0.12, -0.66), (0, -0.45)]), beak)


def butterfly(picture: Picture, rng: Generator, pose: Pose, palette: Palette) -> None:
    for side in _BOTH_SIDES:
        for raised, length, width in ((-0.7, 1.0, 0.42), (0.6, 0.75, 0.4)):
            angle = raised if side > 0 else math.pi - raised
            wing = Pose(0, 0, length * 0.5, angle).place(_petal(20, width))
            fill(picture, pose.place(wing), palette[0])
            spot = pose.at(length * 0.6 * math.cos(angle), length * 0.6 * math.sin(angle))
            disc(picture, *spot, pose.size * 0.15, palette[1])
            disc(picture, *spot, pose.size * 0.07, palette[2])
    stroke(picture, pose.place([(0, -0.4), (0, 0.5)]), (20, 20, 20), 3)
