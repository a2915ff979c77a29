"""Textures: patterns that cover the whole drawing, as fields of two colours or as strokes.

A field is a function of the random generator; a covering of strokes also takes the picture it draws on.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator

from .canvas import Picture, random_palette, ray, stroke
from .fields import SIZE, Cells, Field, as_field, cells, noise, pixels, soft_edge, warped_grid

_TURN = 2 * np.pi


def stripes(rng: Generator) -> Field:
    u, _ = warped_grid(rng)
    return soft_edge(np.sin(_TURN * u) * 0.3)


def sine(rng: Generator) -> Field:
    u, _ = warped_grid(rng)
    return as_field(0.5 + 0.5 * np.sin(_TURN * u))


def check(rng: Generator) -> Field:
    u, v = warped_grid(rng)
    return soft_edge(np.sin(_TURN * u) * np.sin(_TURN * v) * 0.5)


def plaid(rng: Generator) -> Field:
    u, v = warped_grid(rng)
    warp, weft = np.sin(_TURN * u) > 0.2, np.sin(_TURN * v) > 0.2
    return as_field(warp * 0.5 + weft * 0.5)


def dots(rng: Generator) -> Field:
    u, v = warped_grid(rng)
    return soft_edge(0.33 - np.hypot(u % 1 - 0.5, v % 1 - 0.5))


def wave(rng: Generator) -> Field:
    u, v = warped_grid(rng)
    return soft_edge(np.sin(_TURN * (u + 0.35 * np.sin(_TURN * v * 0.6))) * 0.3)


def zigzag(rng: Generator) -> Field:
    u, v = warped_grid(rng)
    return soft_edge(np.sin(_TURN * (u + np.abs((v * 0.7) % 1 - 0.5) * 1.2)) * 0.3)


def scales(rng: Generator) -> Field:
    """Rows of rounded scales, every second row shifted by half a scale."""
    u, v = warped_grid(rng)
    row = np.floor(v * 2)
    across, down = (u + 0.5 * (row % 2)) % 1 - 0.5, (v * 2) % 1
    distance = np.hypot(across * 1.1, down * 0.9)
    rim = soft_edge(0.5 - np.abs(distance - 0.5) * 4)
    return as_field(np.clip(distance * 1.3, 0, 1) * (0.4 + 0.6 * rim))


def brick(rng: Generator) -> Field:
    u, v = warped_grid(rng)
    row = np.floor(v * 1.6)
    across, down = (u * 0.8 + 0.5 * (row % 2)) % 1, (v * 1.6) % 1
    to_side, to_course = np.minimum(across, 1 - across) * 1.2, np.minimum(down, 1 - down) * 0.8
    return soft_edge(np.minimum(to_side, to_course) - 0.07)


def honeycomb(rng: Generator) -> Field:
    """Walls that join to jagged rows rather than to hexagons: so the shipped weights have learnt the class."""
    u, v = warped_grid(rng)
    nearest = np.full((SIZE, SIZE), 9, np.float32)
    second = nearest.copy()
    for u_shift, v_shift in ((0, 0), (0.5, 0.866)):
        distance = np.hypot((u - u_shift + 0.5) % 1 - 0.5, ((v - v_shift + 0.866) % 1.732) - 0.866)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return soft_edge(second - nearest - 0.08)


def voronoi(rng: Generator) -> Field:
    """Flat cells, each of its own tone (a hash of the seed's number)."""
    return as_field(np.sin(_cells(rng, 15, 90).seed * 12.9898) * 0.5 + 0.5)


def crack(rng: Generator) -> Field:
    pattern = _cells(rng, 15, 90)
    return soft_edge((pattern.second - pattern.nearest) * 0.08 - 0.12)


def giraffe(rng: Generator) -> Field:
    pattern = _cells(rng, 10, 40)
    return soft_edge((pattern.second - pattern.nearest) * 0.05 - 0.3 + noise(rng, 4, 8) * 0.15)


def cell(rng: Generator) -> Field:
    nearest = _cells(rng, 15, 90).nearest
    return as_field(np.clip(nearest / (nearest.max() * 0.6), 0, 1))


def leopard(rng: Generator) -> Field:
    """Ragged rings round the seeds."""
    nearest = _cells(rng, 25, 70).nearest
    ring = np.abs(nearest / nearest.mean() - 0.75)
    return soft_edge(0.25 - ring * 0.9 + (noise(rng, 4, 10) - 0.5) * 0.35)


def _cells(rng: Generator, fewest: int, most: int) -> Cells:
    return cells(rng, int(rng.integers(fewest, most)))


def cloud(rng: Generator) -> Field:
    return noise(rng, 6, 2, persistence=0.6)


def marble(rng: Generator) -> Field:
    x, y = pixels()
    slope = x * rng.uniform(0.02, 0.08) + y * rng.uniform(0.02, 0.08)
    return as_field(0.5 + 0.5 * np.sin(slope + noise(rng, 5, 3) * rng.uniform(6, 16)))


def wood(rng: Generator) -> Field:
    """Growth rings round a heart that may lie outside the picture."""
    x, y = pixels()
    heart_x, heart_y = rng.uniform(-SIZE, 2 * SIZE), rng.uniform(-SIZE, 2 * SIZE)
    radius = np.hypot(x - heart_x, (y - heart_y) * rng.uniform(0.2, 1))
    rings = np.sin(radius * rng.uniform(0.2, 0.5) + noise(rng, 4, 3) * 6)
    return as_field(0.5 + 0.5 * rings)


def zebra(rng: Generator) -> Field:
    """Noise between two blurs: labyrinthine stripes of one width."""
    sigma = rng.uniform(2.5, 7)
    grain = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    band = cv2.GaussianBlur(grain, (0, 0), sigma) - cv2.GaussianBlur(grain, (0, 0), sigma * 1.8)
    return soft_edge(band / (band.std() + 1e-6) * 0.4)


def fur(picture: Picture, rng: Generator) -> None:
    """Bent hairs, combed along a slowly turning direction."""
    direction = noise(rng, 2, 2) * 6.28
    palette = random_palette(rng, 3)
    for k in range(900):
        x, y = rng.random(2) * SIZE
        angle = direction[int(y), int(x)]
        length = rng.uniform(6, 16)
        root, middle = ray(x, y, angle, 0, length)
        _, tip = ray(x, y, angle + np.float32(0.4), 0, length * 1.7)
        stroke(picture, [root, middle, tip], palette[k % 3])


def hatch(picture: Picture, rng: Generator) -> None:
    """Two or three layers of parallel lines."""
    palette = random_palette(rng, 3)
    for layer in range(int(rng.integers(2, 4))):
        angle = rng.random() * np.pi
        spacing = rng.uniform(5, 14)
        for offset in np.arange(-SIZE, SIZE, spacing):
            x, y = SIZE / 2 - offset * math.sin(angle), SIZE / 2 + offset * math.cos(angle)
            stroke(picture, ray(x, y, angle, -SIZE, SIZE), palette[layer], int(rng.integers(1, 3)))


def glyph(picture: Picture, rng: Generator) -> None:
    """Letters, digits and signs in OpenCV's eight fonts."""
    palette = random_palette(rng, 3)
    for k in range(int(rng.integers(8, 26))):
        character = chr(int(rng.integers(ord("0"), ord("z") + 1)))
        corner = int(rng.random() * SIZE), int(rng.random() * SIZE)
        font, scale = int(rng.integers(0, 8)), rng.uniform(0.6, 2.2)
        width = int(rng.integers(1, 4))
        cv2.putText(picture, character, corner, font, scale, palette[k % 3], width, cv2.LINE_AA)
