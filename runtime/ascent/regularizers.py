"""What pulls a dream back: total variation against speckle, L2 against extremes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Keeps the slope of the total variation finite on flat areas; in squared units of the backbone's range.
FLAT = 1e-6


def total_variation_slope(image: Array) -> Array:
    """Gradient of the total variation, sum over pixels of sqrt(dx² + dy²), of a CHW image."""
    down = np.diff(image, axis=1, append=image[:, -1:])
    right = np.diff(image, axis=2, append=image[:, :, -1:])
    length = np.sqrt(down * down + right * right + np.float32(FLAT))
    down /= length
    right /= length
    slope = -(down + right)
    slope[:, 1:] += down[:, :-1]
    slope[:, :, 1:] += right[:, :, :-1]
    return slope
