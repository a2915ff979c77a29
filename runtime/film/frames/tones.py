"""Holds the tones of the frames that grow out of each other: no burning out, no fading to grey, no drifting hue."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Image

# Limits of what the deviations of one frame are multiplied by along any colour.
_SMALLEST_GAIN, _LARGEST_GAIN = 0.5, 2.0
# Added to the variances, in squared units of an image's range: colours that a picture does not have stay out of it.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Tones:
    """The distribution of an image's colours, in units of its range.

    `means` are the means of red, green and blue, float64 [3], and `covariance` is theirs, float64 [3, 3]: its diagonal
    is the contrast of each, and the rest says how grey or colourful the image is.
    """

    means: NDArray[np.float64] = field(repr=False)
    covariance: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, image: Image) -> Tones:
        """The tones of an image."""
        means = image.mean(axis=(1, 2), dtype=np.float64)
        deviations = (image - means.astype(np.float32)[:, None, None]).reshape(3, -1)
        covariance = (deviations @ deviations.T).astype(np.float64) / deviations.shape[1]
        return cls(means, covariance + _LEAST_VARIANCE * np.eye(3))

    def held(self, image: Image) -> Image:
        """The image with these tones, by the linear map of its colours that changes them least.

        Source: Pitié, Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping for example-based colour
        transfer", section 3. Its gain along any colour is limited, so that no chance pattern is blown up.
        """
        own = Tones.of(image)
        root, inverse = _power(own.covariance, 0.5), _power(own.covariance, -0.5)
        gains, colours = np.linalg.eigh(inverse @ _power(root @ self.covariance @ root, 0.5) @ inverse)
        matrix = (colours * np.clip(gains, _SMALLEST_GAIN, _LARGEST_GAIN)) @ colours.T
        shift = self.means - matrix @ own.means
        held: Image = (matrix.astype(np.float32) @ image.reshape(3, -1)).reshape(image.shape)
        held += shift.astype(np.float32)[:, None, None]
        return held


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """A symmetric, positive definite matrix to the power of `exponent`."""
    values, vectors = np.linalg.eigh(matrix)
    power: NDArray[np.float64] = (vectors * np.maximum(values, _LEAST_VARIANCE / 2) ** exponent) @ vectors.T
    return power
