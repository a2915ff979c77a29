"""Colours of a dream: the setting `colours`, and the matrices that each pixel's gradient is multiplied by.

A network's gradient can point anywhere in RGB, which shows as rainbow speckle. Multiplying it by a colour covariance K
= A Aᵀ makes a step the same as if the ascent moved the decorrelated colours y of a picture x = A y: dx = A Aᵀ dE/dx
(Olah et al. 2017, "Feature Visualization", section on preconditioning). The covariance is scaled to a trace of 3, that
of the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats, Image
from ..errors import SettingsError

ColourSource = Literal["free", "own", "imagenet", "lightness"]

# A square root A of the covariance of colours in ImageNet, rows R, G, B: `color_correlation_svd_sqrt` divided by the
# largest norm of its columns, `color_correlation_normalized` in lucid/optvis/param/color.py (Apache-2.0).
_IMAGENET = np.array(
    [[0.56282854, 0.19482528, 0.04329450], [0.58447580, 0.0, -0.10823626], [0.58447580, -0.19482528, 0.06494176]]
)
# Pixels that are converted to float64 at once, so that a covariance needs little memory.
_BLOCK = 2**18


@dataclass(frozen=True)
class Colours:
    """The source of a dream's colours.

    `free` leaves the gradient unchanged, `own` uses the covariance of the picture's colours, `imagenet` that of
    ImageNet's pictures, and `lightness` changes only the lightness of the result. `share`, from 0 to 1, is the weight
    of `own` against `free`.
    """

    kind: ColourSource
    share: float = 1.0

    @property
    def has_matrix(self) -> bool:
        """Whether the gradient is multiplied by a colour matrix."""
        return self.kind in ("own", "imagenet")


def parse_colours(text: object) -> Colours:
    """Reads `free`, `own`, `own:0.7`, `imagenet` or `lightness`. Raises SettingsError."""
    refusal = SettingsError(
        f"colours must be free, own, a share of own from 0 to 1 as in own:0.7, imagenet or lightness, not {text!r}"
    )
    for known in get_args(ColourSource):
        if text == known:
            return Colours(known)
    kind, _, share = str(text).partition(":")
    try:
        colours = Colours("own", float(share))
    except ValueError:
        raise refusal from None
    if kind != "own" or not 0 <= colours.share <= 1:
        raise refusal
    return colours


def own_colours(image: Floats, share: float) -> Floats:
    """Returns the colour matrix of an image, float32 [3, 3]: `share` of its covariance, and the rest of the identity.

    `image` is an Image or some of its pixels, float32 [3, pixels]. The covariance is scaled to a trace of 3. An image
    of a single colour has no covariance and returns the identity.
    """
    pixels = image.reshape(3, -1)
    identity = np.eye(3)
    if (pixels.max(axis=1) == pixels.min(axis=1)).all():
        return identity.astype(np.float32)
    mean = pixels.mean(axis=1, dtype=np.float64, keepdims=True)
    covariance = np.zeros((3, 3))
    for start in range(0, pixels.shape[1], _BLOCK):
        deviations = pixels[:, start : start + _BLOCK] - mean
        covariance += deviations @ deviations.T
    mixed: Floats = (share * _with_trace_3(covariance) + (1 - share) * identity).astype(np.float32)
    return mixed


def imagenet_root() -> Floats:
    """Returns the matrix that makes colours, as in ImageNet's pictures, of decorrelated ones, float32 [3, 3]."""
    return _IMAGENET.astype(np.float32)


def imagenet_colours() -> Floats:
    """Returns the colour covariance of ImageNet's pictures, float32 [3, 3], with a trace of 3 (from lucid's root)."""
    covariance: Floats = _with_trace_3(_IMAGENET @ _IMAGENET.T).astype(np.float32)
    return covariance


def apply_colour_matrix(gradient: Image, matrix: Floats) -> Image:
    """Returns the gradient with each pixel's RGB multiplied by a colour matrix, float32 [3, 3]."""
    product: Image = (matrix @ gradient.reshape(3, -1)).reshape(gradient.shape)
    return product


def _with_trace_3(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = covariance * (3 / np.trace(covariance))
    return scaled
