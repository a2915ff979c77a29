"""Colours of a dream: what the setting `colours` says, and the matrices that each pixel's gradient is multiplied by.

A network's gradient points anywhere in RGB, so that a dream grows rainbow speckle. Multiplied by a colour covariance
K = A Aᵀ, a step is what it would be if the ascent moved decorrelated colours y of a picture x = A y: dx = A Aᵀ dE/dx
(Olah et al. 2017, "Feature Visualization", preconditioning). The trace is 3, that of the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats, Image
from ..errors import SettingsError

ColourSource = Literal["free", "own", "imagenet", "lightness"]

# A square root of the covariance of colours in ImageNet, rows R, G, B: `color_correlation_svd_sqrt` over the greatest
# norm of its columns, `color_correlation_normalized` in lucid/optvis/param/color.py (Apache-2.0).
_IMAGENET = np.array(
    [[0.56282854, 0.19482528, 0.04329450], [0.58447580, 0.0, -0.10823626], [0.58447580, -0.19482528, 0.06494176]]
)
# Pixels of a picture that are in float64 at once.
_BLOCK = 2**18


@dataclass(frozen=True)
class Colours:
    """`free` as the gradient has them, the picture's `own`, those of `imagenet`, or its `lightness` alone.

    `share` of `own`, from 0 to 1, is mixed with the free ones.
    """

    kind: ColourSource
    share: float = 1.0

    @property
    def have_matrix(self) -> bool:
        """Whether the gradient is multiplied by one."""
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


def own_colours(image: Image, share: float) -> Floats:
    """A picture's colour covariance with trace 3, mixed with the identity: `share` of the one, the rest of the other.

    `image` is CHW in the backbone's range; the matrix is float32 [3, 3]. One colour all over has no covariance, and
    leaves the identity.
    """
    pixels = image.reshape(3, -1)
    identity = np.eye(3)
    if (pixels.max(axis=1) == pixels.min(axis=1)).all():
        return identity.astype(np.float32)
    mean = pixels.mean(axis=1, dtype=np.float64, keepdims=True)
    covariance = np.zeros((3, 3))
    for start in range(0, pixels.shape[1], _BLOCK):
        off = pixels[:, start : start + _BLOCK] - mean
        covariance += off @ off.T
    mixed: Floats = (share * _with_trace_3(covariance) + (1 - share) * identity).astype(np.float32)
    return mixed


def imagenet_colours() -> Floats:
    """The colour covariance of ImageNet's pictures with trace 3, float32 [3, 3], as lucid publishes its root."""
    covariance: Floats = _with_trace_3(_IMAGENET @ _IMAGENET.T).astype(np.float32)
    return covariance


def multiplied(gradient: Image, matrix: Floats) -> Image:
    """The CHW gradient with each pixel's RGB multiplied by a matrix [3, 3]."""
    product: Image = (matrix @ gradient.reshape(3, -1)).reshape(gradient.shape)
    return product


def _with_trace_3(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = covariance * (3 / np.trace(covariance))
    return scaled
