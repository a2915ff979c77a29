"""The two example pictures, three bears and six penguins: `python -m … recipe.scenes [FOLDER]`.

Positions are pixels of a 1200 x 900 picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import typer
from numpy.random import Generator
from numpy.typing import NDArray

from .canvas import Color, Palette, Picture, Pose, fill, oval, quantised, ray, shade, stroke
from .creatures import bear, penguin
from .fields import Field, as_field, blend, octaves

WIDTH, HEIGHT = 1200, 900

_ROWS, _COLUMNS = np.arange(HEIGHT)[:, None], np.arange(WIDTH)[None]
_ROUND = np.linspace(0, 2 * np.pi, 60)
_UP, _DOWN, _LEVEL = -np.pi / 2, np.pi / 2, 0.05

Mask = NDArray[np.bool_]
Scenery = NDArray[np.float32]


class Ellipse(NamedTuple):
    """An upright ellipse: its centre and its two radii."""

    x: float
    y: float
    x_radius: float
    y_radius: float


@dataclass(frozen=True)
class Strokes:
    """Short strokes roughly in one direction (radians), each of one of the colours."""

    colors: Palette
    count: int
    length: float
    direction: float


class Animal(NamedTuple):
    """Where the head (a bear's) or the middle (a penguin's) is, and how large."""

    x: float
    y: float
    size: float


_BEARS: tuple[tuple[Animal, Color], ...] = (
    (Animal(330, 610, 118), (122, 82, 50)),
    (Animal(640, 560, 150), (92, 60, 38)),
    (Animal(930, 640, 100), (150, 106, 66)),
)
_PENGUINS = (
    Animal(180, 560, 95),
    Animal(360, 600, 130),
    Animal(560, 540, 105),
    Animal(740, 610, 140),
    Animal(930, 570, 110),
    Animal(1080, 640, 125),
)
_BEAKS: Palette = [(235, 140, 40), (240, 190, 60), (220, 90, 50), (245, 170, 30)]


def draw_bears() -> Picture:
    """Three bears on a meadow before firs and hills: uint8 `[HEIGHT, WIDTH, 3]`, RGB."""
    rng = np.random.default_rng(3)
    sky = blend(_falling(1.6), (120, 165, 215), (225, 215, 190))
    scenery = sky * 0.82 + blend(_clouds(rng, 3), (120, 150, 190), (250, 245, 235)) * 0.18
    hills: Sequence[tuple[float, Color]] = (
        (0.38, (105, 120, 140)),
        (0.46, (80, 100, 95)),
        (0.54, (55, 80, 60)),
    )
    for k, (level, color) in enumerate(hills):
        skyline = level * HEIGHT + (_profile(rng, 5 + 3 * k) - 0.5) * HEIGHT * 0.22
        texture = 0.75 + 0.5 * _clouds(rng, 18)[..., None]
        _paint(scenery, np.array(color, np.float32) * texture, skyline.astype(int) <= _ROWS)
    picture = quantised(scenery)
    for _ in range(26):
        _draw_fir(picture, rng)

    meadow = 0.62 * HEIGHT + 20 * np.sin(_COLUMNS / 140) < _ROWS
    _paint(picture, quantised(blend(_clouds(rng, 8), (60, 85, 35), (150, 140, 70))), meadow)
    greens: Palette = [(70, 105, 40), (120, 135, 55), (160, 150, 80), (45, 75, 30)]
    _scatter(picture, rng, meadow, Strokes(greens, count=16000, length=16, direction=_UP))
    for animal, fur in _BEARS:
        _draw_bear(picture, rng, animal, fur)
    return _exposed(picture, rng, darkest=0.86, contrast=0.28, grain=5)


def draw_penguins() -> Picture:
    """Six penguins on the ice before the sea and icebergs: uint8 `[HEIGHT, WIDTH, 3]`, RGB."""
    rng = np.random.default_rng(5)
    sky = blend(_falling(1.8), (60, 110, 190), (250, 190, 150))
    scenery = sky * 0.7 + blend(_clouds(rng, 2), (90, 120, 200), (255, 220, 200)) * 0.3
    icebergs: Sequence[tuple[float, Color]] = ((0.36, (150, 185, 215)), (0.44, (190, 215, 235)))
    for level, color in icebergs:
        skyline = level * HEIGHT + np.abs(_profile(rng, 7) - 0.5) * HEIGHT * 0.3
        texture = 0.8 + 0.4 * _clouds(rng, 14)[..., None]
        _paint(scenery, np.array(color, np.float32) * texture, skyline.astype(int) <= _ROWS)

    waves = as_field(0.5 + 0.5 * np.sin(_ROWS * 0.35 + 6 * _clouds(rng, 5)))
    _paint(scenery, blend(waves, (20, 70, 120), (70, 150, 180)), _ROWS > 0.52 * HEIGHT)
    ice = 0.6 * HEIGHT + (_profile(rng, 6) - 0.5) * 90 < _ROWS
    _paint(scenery, blend(_clouds(rng, 6), (205, 222, 240), (255, 255, 255)), ice)
    picture = quantised(scenery)
    whites: Palette = [(225, 235, 248), (190, 210, 232), (250, 250, 255)]
    _scatter(picture, rng, ice, Strokes(whites, count=9000, length=22, direction=_LEVEL))
    for animal in _PENGUINS:
        _draw_penguin(picture, rng, animal)
    return _exposed(picture, rng, darkest=0.88, contrast=0.24, grain=4)


def _draw_fir(picture: Picture, rng: Generator) -> None:
    """Nine triangles over one another."""
    x, foot, size = rng.uniform(0, WIDTH), rng.uniform(0.52, 0.66) * HEIGHT, rng.uniform(90, 200)
    for tier in range(9):
        width, y = size * 0.32 * (1 - tier / 9), foot - size * tier / 9
        green = quantised(np.array((28, 62, 38)) * rng.uniform(0.7, 1.4)).tolist()
        fill(picture, [(x - width, y), (x + width, y), (x, y - size * 0.26)], green)


def _draw_bear(picture: Picture, rng: Generator, animal: Animal, fur: Color) -> None:
    x, y, size = animal
    coat = [fur, shade(fur, 0.7), shade(fur, 1.2)]
    body = [
        Ellipse(x, y + size * 1.55, size * 1.05, size * 1.25),
        Ellipse(x - size * 0.75, y + size * 2.4, size * 0.42, size * 0.5),
        Ellipse(x + size * 0.75, y + size * 2.4, size * 0.42, size * 0.5),
        Ellipse(x - size * 0.95, y + size * 1.4, size * 0.32, size * 0.75),
        Ellipse(x + size * 0.95, y + size * 1.4, size * 0.32, size * 0.75),
    ]
    for part in body:
        _fill_ellipse(picture, part, fur)
    hair = Strokes(coat, count=int(size * 38), length=size * 0.14, direction=_DOWN)
    _scatter(picture, rng, _mask(body), hair)
    bear(picture, rng, Pose(x, y, size, 0), [fur])
    bare = [
        Ellipse(x, y + size * 0.3, size * 0.5, size * 0.5),
        Ellipse(x - size * 0.38, y - size * 0.18, size * 0.2, size * 0.2),
        Ellipse(x + size * 0.38, y - size * 0.18, size * 0.2, size * 0.2),
    ]
    head = _mask([Ellipse(x, y, size, size * 0.95)], without=bare)
    _comb_outwards(picture, rng, head, animal, coat)


def _comb_outwards(picture: Picture, rng: Generator, head: Mask, animal: Animal, coat: Palette) -> None:
    """Hairs on a bear's head that point away from its middle."""
    for x, y in _random_pixels(rng, head, int(animal.size * 26)):
        direction = math.atan2(y - animal.y, x - animal.x) + rng.normal() * 0.3
        length = animal.size * 0.11 * rng.uniform(0.5, 1.4)
        stroke(picture, ray(x, y, direction, 0, length), coat[int(rng.integers(3))])


def _draw_penguin(picture: Picture, rng: Generator, animal: Animal) -> None:
    x, y, size = animal
    shadow = Ellipse(x + size * 0.2, y + size * 1.05, size * 0.9, size * 0.14)
    _fill_ellipse(picture, shadow, (150, 175, 205))
    penguin(picture, rng, Pose(x, y, size, 0), [_BEAKS[int(rng.integers(4))]])

    def feathers(part: Ellipse, colors: Palette, density: float, length: float) -> None:
        down = Strokes(colors, count=int(size * density), length=size * length, direction=_DOWN)
        _scatter(picture, rng, _mask([part]), down)

    belly = Ellipse(x, y + size * 0.25, size * 0.34, size * 0.66)
    feathers(belly, [(235, 238, 242), (205, 212, 222), (250, 250, 250)], 10, 0.1)
    crown = Ellipse(x, y - size * 0.85, size * 0.3, size * 0.14)
    feathers(crown, [(30, 30, 42), (60, 62, 80)], 3, 0.08)
    for side in (-1, 1):
        cheek = Ellipse(x + side * size * 0.3, y - size * 0.5, size * 0.08, size * 0.16)
        feathers(cheek, [(250, 200, 70), (245, 170, 40)], 2, 0.06)


def _scatter(picture: Picture, rng: Generator, mask: Mask, strokes: Strokes) -> None:
    """Draw the strokes from anywhere in the mask."""
    for x, y in _random_pixels(rng, mask, strokes.count):
        angle = strokes.direction + rng.normal() * 0.5
        color = strokes.colors[int(rng.integers(len(strokes.colors)))]
        line = ray(x, y, angle, 0, strokes.length * rng.uniform(0.6, 1.5))
        # A channel that the brightening could push past 255 stays as it is.
        red, green, blue = (int(v * rng.uniform(0.8, 1.15)) if v * 1.15 < 255 else v for v in color)
        stroke(picture, line, (red, green, blue))


def _random_pixels(rng: Generator, mask: Mask, count: int) -> list[tuple[int, int]]:
    """The x and y of pixels drawn from the mask."""
    ys, xs = np.nonzero(mask)
    chosen = rng.integers(0, len(ys), count)
    return list(zip(xs[chosen].tolist(), ys[chosen].tolist(), strict=True))


def _fill_ellipse(picture: Picture, ellipse: Ellipse, color: Color | int) -> None:
    fill(picture, oval(*ellipse, _ROUND), color)


def _mask(parts: Sequence[Ellipse], without: Sequence[Ellipse] = ()) -> Mask:
    """The pixels `[HEIGHT, WIDTH]` inside any of the parts and in none of the others."""
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    for part in parts:
        _fill_ellipse(drawn, part, 255)
    for part in without:
        _fill_ellipse(drawn, part, 0)
    return drawn > 0


def _paint(scenery: Picture | Scenery, paint: Picture | Scenery, mask: Mask) -> None:
    """Take the paint's pixels where the mask, which may be of one column, is set."""
    np.copyto(scenery, paint, where=mask[..., None])


def _falling(steepness: float) -> Field:
    """One column, from 0 at the top edge to 1 at `1 / steepness` of the height and below."""
    return as_field(np.clip(np.linspace(0, 1, HEIGHT)[:, None] * steepness, 0, 1))


def _clouds(rng: Generator, base: int, height: int = HEIGHT) -> Field:
    """Noise from 0 to 1 whose coarsest grid has `base` columns."""
    field = octaves(rng, height, WIDTH, base, count=6)
    return as_field(field / field.max())


def _profile(rng: Generator, base: int) -> Field:
    """One row `[WIDTH]` of noise, for a skyline."""
    return as_field(_clouds(rng, base, height=2)[0])


def _exposed(picture: Picture, rng: Generator, darkest: float, contrast: float, grain: float) -> Picture:
    """The picture under uneven light, with film grain."""
    light = darkest + contrast * _clouds(rng, 4)[..., None]
    return quantised(picture.astype(np.float32) * light + rng.normal(0, grain, picture.shape))


def write_scenes(
    folder: Annotated[Path, typer.Argument(help="Where bears.jpg and penguins.jpg go.")] = Path(),
) -> None:
    """Draw bears.jpg and penguins.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in (("bears", draw_bears()), ("penguins", draw_penguins())):
        path = folder / f"{name}.jpg"
        encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        path.write_bytes(encoded.tobytes())
        typer.echo(path)


if __name__ == "__main__":
    typer.run(write_scenes)
