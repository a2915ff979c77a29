"""The clips of benchmarks/films.py: photographs of examples/ that move, are cut, flash and fade.

A clip is a list of frames, uint8 [height, width, 3].
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from onnxdream.models.arrays import Pixels, Size
from onnxdream.runtime.image.files import read_picture

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
import clips as clips  # noqa: E402 - the tests' writer of films, for the other modules, too

_PHOTOGRAPHS = ("bears", "rocket", "penguins", "cat")
_FLASH_STRENGTHS = (1.0, 0.8)
_FADE, _BLACK = 12, 8  # frames


@dataclass(frozen=True)
class Extent:
    """How large and how long the clips are. `size` is that of all but those of the sections share and peers.

    `cuts` is a number of cuts; the others are numbers of frames.
    """

    size: Size
    speed_size: Size
    moving: int
    still: int
    cuts: int
    sound: int
    memory: int
    speed: int
    rounds: int


FULL = Extent(Size(192, 256), Size(360, 640), moving=24, still=100, cuts=20, sound=600, memory=2000, speed=12, rounds=7)
# Checks that all sections run; its figures mean nothing.
QUICK = Extent(Size(72, 96), Size(72, 128), moving=4, still=5, cuts=4, sound=40, memory=120, speed=4, rounds=2)


def photograph(name: str, size: Size) -> Pixels:
    """Returns a photograph of examples/, shrunk until it just covers that size."""
    pixels = read_picture(ROOT / "examples" / f"{name}.jpg").pixels[..., :3]
    scale = max(size.height / pixels.shape[0], size.width / pixels.shape[1])
    width, height = (round(side * scale) for side in pixels.shape[1::-1])
    covering = max(size.width, width), max(size.height, height)
    return np.asarray(cv2.resize(pixels, covering, interpolation=cv2.INTER_AREA))


def pan(size: Size, frames: int, step: int = 2, name: str = "bears") -> list[Pixels]:
    """A camera pans over a photograph, by `step` pixels to the right and half of them down in each frame."""
    right, down = step * (frames - 1), step * (frames - 1) // 2
    wall = photograph(name, Size(size.height + down, size.width + right))
    return [_crop(wall, step * i // 2, step * i, size) for i in range(frames)]


def parallax(size: Size, frames: int) -> list[Pixels]:
    """A camera pans over a photograph, while a square of another moves across it in the other direction."""
    side = size.height // 3
    square = _crop(photograph("penguins", Size(side, side)), 0, 0, Size(side, side))
    clip = pan(size, frames)
    travel = size.width - side
    for i, frame in enumerate(clip):
        left = round(travel * (i + 1) / (frames + 1))
        frame[side : 2 * side, left : left + side] = square
    return clip


def still(size: Size) -> Pixels:
    """A photograph."""
    return _crop(photograph("bears", size), 0, 0, size)


def cuts(size: Size, count: int, seed: int = 0) -> tuple[list[Pixels], list[int]]:
    """Shots of 6 to 20 frames, slow pans over parts of photographs; returns the frames, and where the cuts are."""
    rng = np.random.default_rng(seed)
    clip: list[Pixels] = []
    begins: list[int] = []
    name = ""
    for _ in range(count + 1):
        name = str(rng.choice([other for other in _PHOTOGRAPHS if other != name]))
        begins.append(len(clip))
        clip += _shot(rng, photograph(name, Size(2 * size.height, 2 * size.width)), size)
    return clip, begins[1:]


def _shot(rng: np.random.Generator, wall: Pixels, size: Size) -> list[Pixels]:
    frames, step = int(rng.integers(6, 21)), int(rng.integers(0, 3))
    if rng.integers(2):
        wall = np.asarray(cv2.flip(wall, 1), np.uint8)
    top = int(rng.integers(0, wall.shape[0] - size.height + 1))
    left = int(rng.integers(0, wall.shape[1] - size.width - step * frames + 1))
    return [_crop(wall, top, left + step * i, size) for i in range(frames)]


def strobe(size: Size, frames: int, seed: int = 0) -> list[Pixels]:
    """A slow pan, of which every first to third frame is white or black, or nearly so."""
    rng = np.random.default_rng(seed)
    clip, number = pan(size, frames, step=1), 1
    while number < frames - 1:  # the last frame shows that the flash before it was one
        strength, light = rng.choice(_FLASH_STRENGTHS), 255 * int(rng.integers(2))
        clip[number] = _mixed(clip[number], light, float(strength))
        number += int(rng.integers(2, 4))
    return clip


def fade(size: Size, frames: int) -> tuple[list[Pixels], range]:
    """A pan that fades to black, and another that fades up; returns the frames, and which of them are black."""
    one, other = pan(size, frames + _FADE, step=1), pan(size, frames + _FADE, step=1, name="penguins")
    shares = [(i + 1) / (_FADE + 1) for i in range(_FADE)]
    down = [_mixed(frame, 0, share) for frame, share in zip(one[frames:], shares, strict=True)]
    up = [_mixed(frame, 0, 1 - share) for frame, share in zip(other[:_FADE], shares, strict=True)]
    black = [np.zeros((*size, 3), np.uint8)] * _BLACK
    begin = frames + _FADE
    return [*one[:frames], *down, *black, *up, *other[_FADE:]], range(begin, begin + _BLACK)


def fast_pan(size: Size, frames: int) -> list[Pixels]:
    """A pan by a fourteenth of the width in each frame."""
    step, wall = size.width // 14, photograph("rocket", Size(2 * size.height, 3 * size.width))
    reach = wall.shape[1] - size.width
    lefts = [step * i % (2 * reach) for i in range(frames)]
    return [_crop(wall, size.height // 2, min(left, 2 * reach - left), size) for left in lefts]


def there_and_back(size: Size, frames: int) -> list[Pixels]:
    """A slow pan of 50 frames, forwards and backwards until there are enough frames."""
    way = pan(size, 50, step=1)
    both = [*way, *way[-2:0:-1]]
    return [both[i % len(both)] for i in range(frames)]


def _crop(wall: Pixels, top: int, left: int, size: Size) -> Pixels:
    return np.array(wall[top : top + size.height, left : left + size.width], np.uint8)


def _mixed(frame: Pixels, light: int, share: float) -> Pixels:
    """A frame with a share of an even light."""
    return np.asarray(np.rint(frame * (1 - share) + light * share), np.uint8)
