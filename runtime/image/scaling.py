"""The linear map between a picture's pixel values and an image's range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats, Image
from ..settings.settings import Normalization


@dataclass(frozen=True)
class Scale:
    """A linear map from the pixel values `x_min`..`x_max` to an image's range `low`..`high`."""

    x_min: float
    x_max: float
    low: float
    high: float

    @classmethod
    def of(
        cls, pixels: NDArray[np.generic], max_value: float, normalization: Normalization, limits: tuple[float, float]
    ) -> Scale:
        """The map for a picture or for some of its pixels, uint8 or uint16 [..., 3].

        `minmax` is eq. 1 of the paper over all pixels and channels; a picture of one value uses x_max - x_min = 1.
        `backbone` maps 0..`max_value`, whatever the picture contains. `limits` is the range of images.
        """
        if normalization == "backbone":
            return cls(0.0, max_value, *limits)
        x_min, x_max = float(pixels.min()), float(pixels.max())
        return cls(x_min, x_max if x_max > x_min else x_min + 1.0, *limits)

    @property
    def slope(self) -> float:
        """Units of an image per pixel value."""
        return (self.high - self.low) / (self.x_max - self.x_min)

    def to_image(self, pixels: NDArray[np.generic]) -> Image:
        """The image of pixel values, any type [height, width, 3]; allocates nothing but the image."""
        image = np.empty((pixels.shape[2], *pixels.shape[:2]), np.float32)
        for plane, values in zip(image, np.moveaxis(pixels, 2, 0), strict=True):
            plane[:] = values
            plane -= np.float32(self.x_min)
            plane *= np.float32(self.slope)
            plane += np.float32(self.low)
        return image

    def to_pixels(self, plane: Floats) -> Floats:
        """The pixel values of one plane of an image, both float32 [height, width]; neither rounded nor clipped."""
        pixels: Floats = plane - np.float32(self.low)
        pixels /= np.float32(self.slope)
        pixels += np.float32(self.x_min)
        return pixels
