"""Holds a film's exposure: no brightening, no drifting hue and no growing contrast from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....models.arrays import Image

# Limits of what the change of one frame is multiplied by.
_SMALLEST_GAIN, _LARGEST_GAIN = 0.5, 1.5
# Standard deviation in levels of 255 up to which a frame is blank, and from which on its dream is fully visible.
_BLANK, _VISIBLE = 2.0, 8.0


@dataclass(frozen=True)
class Exposure:
    """What the dream of a shot's first frame has added to its picture, which later frames keep to.

    `means` are the means of its red, green and blue, `variance` is that of all values around them; both are in units
    of an image's range.
    """

    means: tuple[float, float, float]
    variance: float

    @classmethod
    def of(cls, image: Image, base: Image) -> Exposure:
        """The exposure that a dream adds to the undreamed picture `base` of the same size."""
        red, green, blue = map(float, _means(image - base).ravel())
        return cls((red, green, blue), _covariance(image, image) - _covariance(base, base))

    def held(self, change: Image, base: Image, persist: float) -> Image:
        """The change of a frame's picture `base`, moved to these means and scaled to add this variance.

        The gain makes up at most for a persistence of `persist`, so that no chance pattern is blown up at once.
        """
        centred = change - _means(change)
        own, shared = _covariance(centred, centred), _covariance(base, centred)
        # The gain g at which the variance of base + g * change exceeds that of base by `variance`.
        root = shared * shared + own * self.variance
        gain = (math.sqrt(root) - shared) / own if root > 0 and own > 0 else 1.0
        largest = min(_LARGEST_GAIN, 1 / max(persist, 1 / _LARGEST_GAIN))
        means = np.array(self.means, np.float32)[:, None, None]
        held: Image = centred * np.float32(min(max(gain, _SMALLEST_GAIN), largest)) + means
        return held


def visibility(base: Image) -> float:
    """How much of the dream a picture shows, 0..1: none where it is blank, so that a fade to black ends in black."""
    levels = 127.5 * math.sqrt(_covariance(base, base))
    return min(1.0, max(0.0, (levels - _BLANK) / (_VISIBLE - _BLANK)))


def _means(image: Image) -> Image:
    means: Image = image.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    return means


def _covariance(one: Image, other: Image) -> float:
    """The mean product of the deviations of two images from the means of their planes."""
    return float(np.mean((one - _means(one)) * (other - _means(other)), dtype=np.float64))
