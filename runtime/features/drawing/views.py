"""Views: what a network is shown of an image at a step, so that a feature does not depend on a single pixel's place.

Each view is linear, apart from noise, and comes with its adjoint, through which gradients return to the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Floats, Size

ViewsName = Literal["crops", "jitter", "affine", "none"]

# Jitter: the largest shift in pixels, as a part of the side.
_SHIFT = 1 / 16
# Affine views: the least and the largest scale, and the largest angle in degrees (lucid's standard transforms).
_SCALES, _ANGLE = (0.9, 1.1), 10.0
# Crops: their sides as parts of the image's at the first and at the last step, how far their centres spread, and the
# side at which the network sees them.
_FIRST_SIDES, _LAST_SIDES, _SPREAD, _SEEN = (0.5, 0.7), (0.2, 0.35), 0.12, 0.75
# Standard deviation of the noise that is added to crops.
_NOISE = 0.06


class View(Protocol):
    """One view of a batch of images of the same size."""

    def of(self, images: Floats) -> Floats:
        """Returns the views of images: [n, 3, height, width] becomes [n, 3, height, width] of the views' size."""
        ...

    def adjoint(self, gradients: Floats) -> Floats:
        """Returns the gradients with respect to the images, given those with respect to their views."""
        ...


@dataclass(frozen=True)
class Whole:
    """The image as it is."""

    def of(self, images: Floats) -> Floats:
        return images

    def adjoint(self, gradients: Floats) -> Floats:
        return gradients


@dataclass(frozen=True)
class Shifted:
    """The image shifted down and right by whole pixels, wrapping around."""

    down: int
    right: int

    def of(self, images: Floats) -> Floats:
        return np.roll(images, (self.down, self.right), (2, 3))

    def adjoint(self, gradients: Floats) -> Floats:
        return np.roll(gradients, (-self.down, -self.right), (2, 3))


class Affine:
    """The image scaled, turned and shifted about its centre, between its pixels interpolated, mirrored beyond its edge.

    `angle` is in degrees, anticlockwise, `down` and `right` in pixels.
    """

    def __init__(self, size: Size, scale: float, angle: float, down: float, right: float) -> None:
        height, width = size
        self._size = size
        sine, cosine = (np.float32(part(math.radians(angle)) / scale) for part in (math.sin, math.cos))
        rows = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2 + down)
        columns = np.arange(width, dtype=np.float32)[None] - np.float32((width - 1) / 2 + right)
        y = cosine * rows + sine * columns + np.float32((height - 1) / 2)
        x = cosine * columns - sine * rows + np.float32((width - 1) / 2)
        top, left = np.floor(y), np.floor(x)
        below, beside = y - top, x - left
        lines = [_mirrored(top.astype(np.int32) + step, height) * np.int32(width) for step in (0, 1)]
        places = [_mirrored(left.astype(np.int32) + step, width) for step in (0, 1)]
        # The four pixels around each place, and the share of each.
        self._places = [(line + place).ravel() for line in lines for place in places]
        self._shares = [(one * other).ravel() for one in (1 - below, below) for other in (1 - beside, beside)]

    def of(self, images: Floats) -> Floats:
        planes = images.reshape(-1, self._size.pixels)
        seen = np.zeros_like(planes)
        for place, share in zip(self._places, self._shares, strict=True):
            seen += planes.take(place, axis=1) * share
        return seen.reshape(images.shape)

    def adjoint(self, gradients: Floats) -> Floats:
        planes = gradients.reshape(-1, self._size.pixels)
        images = np.zeros_like(planes)
        for place, share in zip(self._places, self._shares, strict=True):
            for image, plane in zip(images, planes, strict=True):
                image += np.bincount(place, plane * share, self._size.pixels)
        return images.reshape(gradients.shape)


class Crop:
    """A part of the image, resampled to the views' size, with noise added."""

    def __init__(self, rows: Floats, columns: Floats, noise: Floats) -> None:
        """`rows` [size, height] and `columns` [size, width] are matrices that resample, see `resampling`."""
        self._rows, self._columns, self._noise = rows, columns, noise

    def of(self, images: Floats) -> Floats:
        seen: Floats = self._rows @ images @ self._columns.T + self._noise
        return seen

    def adjoint(self, gradients: Floats) -> Floats:
        whole: Floats = self._rows.T @ gradients @ self._columns
        return whole


@dataclass(frozen=True)
class Views:
    """Which views of images of a size the network is shown: `count` at each step, each of the size `seen`."""

    name: ViewsName
    size: Size
    smallest: Size

    @property
    def count(self) -> int:
        return 4 if self.name == "crops" else 1

    @property
    def seen(self) -> Size:
        if self.name != "crops":
            return self.size
        return Size(*(max(round(_SEEN * side), least) for side, least in zip(self.size, self.smallest, strict=True)))

    def at(self, progress: float, random: np.random.Generator) -> list[View]:
        """Returns the views of a step, at this progress from 0 to 1."""
        if self.name == "crops":
            return [self._crop(progress, random) for _ in range(self.count)]
        if self.name == "none":
            return [Whole()]
        reach = max(1, round(_SHIFT * min(self.size)))
        down, right = map(int, random.integers(-reach, reach + 1, 2))
        if self.name == "jitter":
            return [Shifted(down, right)]
        return [Affine(self.size, random.uniform(*_SCALES), random.uniform(-_ANGLE, _ANGLE), down, right)]

    def _crop(self, progress: float, random: np.random.Generator) -> Crop:
        least, most = (first + progress * (last - first) for first, last in zip(_FIRST_SIDES, _LAST_SIDES, strict=True))
        part = random.uniform(least, most)
        rows, columns = (
            resampling(length, seen, _start(length, part, random), part * length)
            for length, seen in zip(self.size, self.seen, strict=True)
        )
        noise = random.standard_normal((3, *self.seen), np.float32) * np.float32(_NOISE)
        return Crop(rows, columns, noise)


def resampling(length: int, count: int, start: float, extent: float) -> Floats:
    """Returns the matrix [count, length] that samples `count` pixels from `start` over an extent of a row of pixels.

    It interpolates linearly where it enlarges and averages where it shrinks.
    """
    step = extent / count
    centres = np.clip(start + step * (np.arange(count) + 0.5) - 0.5, 0, length - 1)
    shares = np.maximum(0, 1 - abs(np.arange(length)[None] - centres[:, None]) / max(1.0, step))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def _start(length: int, part: float, random: np.random.Generator) -> float:
    """Where a crop begins whose centre is near that of the image."""
    extent = part * length
    return float(np.clip(random.normal(length / 2, _SPREAD * length) - extent / 2, 0, length - extent))


def _mirrored(indices: NDArray[np.int32], length: int) -> NDArray[np.int32]:
    """Mirrors indices beyond the edges at the first and the last pixel."""
    last = np.int32(length - 1)
    folded: NDArray[np.int32] = np.clip(last - abs(last - abs(indices)), 0, last)
    return folded
