"""The 48 classes of drawings, and how one drawing of a class is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from . import creatures, shapes, textures
from .canvas import Picture, Pose, quantised, random_color, random_palette
from .fields import SIZE, Field, as_field, blend, noise

Motif: TypeAlias = Callable[[Picture, Generator], None]


def draw(rng: Generator, name: str) -> Picture:
    """A new drawing of the class `name`: uint8 `[SIZE, SIZE, 3]`, RGB.

    The motif stands before a random background, half the time unevenly lit, sometimes out of focus, always
    with some grain. KeyError for a name that is not in `NAMES`.
    """
    picture = quantised(_background(rng))
    MOTIFS[name](picture, rng)
    exposed = picture.astype(np.float32)
    if rng.random() < 0.5:
        exposed *= (0.55 + 0.75 * noise(rng, 3, 2))[..., None]
    if rng.random() < 0.35:
        exposed = cv2.GaussianBlur(exposed, (0, 0), rng.uniform(0.4, 1.4))
    exposed += rng.standard_normal(exposed.shape).astype(np.float32) * rng.uniform(0, 12)
    return quantised(exposed)


def _background(rng: Generator) -> NDArray[np.float32]:
    """Float32 `[SIZE, SIZE, 3]`: one colour, a gradient, clouds, or clouds of four colours."""
    kind = rng.integers(4)
    if kind == 0:
        return np.full((SIZE, SIZE, 3), random_color(rng), np.float32)
    if kind == 1:
        return _blend_at_random(rng, _gradient(rng))
    if kind == 2:
        return _blend_at_random(rng, noise(rng, 4, 2))
    coarse = _blend_at_random(rng, noise(rng, 5, 3))
    fine = _blend_at_random(rng, noise(rng, 5, 8))
    return as_field(coarse * 0.6 + fine * 0.4)


def _gradient(rng: Generator) -> Field:
    angle = rng.random() * 2 * np.pi
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    along = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    return as_field(np.clip(0.5 + 0.7 * along, 0, 1))


def _blend_at_random(rng: Generator, field: Field) -> NDArray[np.float32]:
    return blend(field, random_color(rng), random_color(rng))


def _scattered(figure: shapes.Figure, smallest: int, largest: int, fewest: int, most: int) -> Motif:
    """From `fewest` to `most` - 1 figures of these sizes (pixels), large ones first."""

    def draw_figures(picture: Picture, rng: Generator) -> None:
        palette = random_palette(rng, 4)
        count = int(rng.integers(fewest, most))
        poses = [
            Pose(
                x=rng.uniform(0, SIZE),
                y=rng.uniform(0, SIZE),
                size=rng.uniform(smallest, largest),
                angle=rng.uniform(0, 2 * np.pi),
            )
            for _ in range(count)
        ]
        for pose in sorted(poses, key=lambda pose: -pose.size):
            figure(picture, rng, pose, palette)

    return draw_figures


def _covering(texture: Callable[[Generator], Field]) -> Motif:
    """The whole drawing in two colours, blended by the texture's field."""

    def draw_texture(picture: Picture, rng: Generator) -> None:
        picture[:] = quantised(_blend_at_random(rng, texture(rng)))

    return draw_texture


MOTIFS: dict[str, Motif] = {
    "eye": _scattered(creatures.eye, 12, 34, 3, 9),
    "rings": _scattered(shapes.rings, 10, 34, 4, 12),
    "spiral": _scattered(shapes.spiral, 12, 34, 4, 10),
    "lspiral": _scattered(shapes.log_spiral, 14, 40, 3, 8),
    "flower": _scattered(creatures.flower, 12, 36, 4, 11),
    "daisy": _scattered(creatures.daisy, 12, 34, 4, 11),
    "star": _scattered(shapes.star, 8, 28, 6, 18),
    "triangle": _scattered(shapes.polygon(3), 8, 28, 6, 18),
    "square": _scattered(shapes.polygon(4), 8, 28, 6, 18),
    "hexagon": _scattered(shapes.polygon(6), 8, 26, 6, 18),
    "disc": _scattered(shapes.ball, 6, 24, 6, 22),
    "feather": _scattered(creatures.feather, 20, 48, 2, 7),
    "leaf": _scattered(creatures.leaf, 14, 38, 4, 12),
    "tree": _scattered(creatures.tree, 24, 50, 2, 6),
    "fern": _scattered(creatures.fern, 16, 34, 2, 5),
    "shell": _scattered(creatures.shell, 14, 38, 2, 7),
    "fish": _scattered(creatures.fish, 14, 34, 3, 10),
    "bear": _scattered(creatures.bear, 14, 36, 2, 6),
    "penguin": _scattered(creatures.penguin, 18, 42, 2, 6),
    "wheel": _scattered(shapes.wheel, 12, 34, 3, 9),
    "gear": _scattered(shapes.gear, 10, 32, 3, 9),
    "butterfly": _scattered(creatures.butterfly, 16, 40, 2, 7),
    "tower": _scattered(shapes.tower, 20, 44, 2, 6),
    "arch": _scattered(shapes.arch, 16, 40, 3, 8),
    "knot": _scattered(shapes.knot, 14, 36, 3, 8),
    "curl": _scattered(shapes.curl, 6, 14, 20, 50),
    "stripes": _covering(textures.stripes),
    "sine": _covering(textures.sine),
    "check": _covering(textures.check),
    "plaid": _covering(textures.plaid),
    "dots": _covering(textures.dots),
    "wave": _covering(textures.wave),
    "zigzag": _covering(textures.zigzag),
    "scales": _covering(textures.scales),
    "brick": _covering(textures.brick),
    "honeycomb": _covering(textures.honeycomb),
    "voronoi": _covering(textures.voronoi),
    "crack": _covering(textures.crack),
    "giraffe": _covering(textures.giraffe),
    "cell": _covering(textures.cell),
    "cloud": _covering(textures.cloud),
    "marble": _covering(textures.marble),
    "wood": _covering(textures.wood),
    "zebra": _covering(textures.zebra),
    "leopard": _covering(textures.leopard),
    "fur": textures.fur,
    "hatch": textures.hatch,
    "glyph": textures.glyph,
}

NAMES = tuple(MOTIFS)
"""The classes in the order of their labels."""
