"""Pictures of high dynamic range (PQ and HLG in BT.2020 colours) as those that any screen shows.

The formulas are those of Recommendation ITU-R BT.2100-2: table 4 for PQ, table 5 for HLG. BT.2408 gives the light of
white, 203 cd/m², and BT.2087 the matrix between the colours.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats

Transfer = Literal["PQ", "HLG"]

_WHITE = 203.0  # cd/m², of a white page
_PEAK = 1000.0  # cd/m², of the screens that such films are made for
_KNEE = 0.6  # of white: darker light is kept as it is, lighter light is pressed together up to the peak
_LEVELS = 65536
# Linear BT.2020 to linear BT.709 (BT.2087-0, annex 2).
_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
_HLG_GAMMA = 1.2  # of the system, for a peak of 1000 cd/m²


def to_sdr(pixels: NDArray[np.uint16], transfer: Transfer) -> NDArray[np.uint8]:
    """Converts a picture [height, width, 3] in BT.2020 colours, using the dtype's whole range, to sRGB."""
    light = _signal_to_light(transfer)[pixels]
    if transfer == "HLG":  # what a screen shows depends on the brightness of each pixel (the OOTF)
        light *= (light @ _BT2020_LUMA)[..., None] ** np.float32(_HLG_GAMMA - 1)
        light *= np.float32(_PEAK / _WHITE)
    light = np.maximum(light @ _TO_BT709.T, 0)
    brightest = light.max(axis=-1, keepdims=True)
    light *= _pressed(brightest) / np.maximum(brightest, 1e-6)
    levels = np.minimum(light * (_LEVELS - 1) + 0.5, _LEVELS - 1).astype(np.uint16)
    srgb: NDArray[np.uint8] = _light_to_srgb()[levels]
    return srgb


def _pressed(light: Floats) -> Floats:
    """Light relative to white, pressed into the range 0 to 1 above the knee.

    The curve is Reinhard's (Photographic Tone Reproduction for Digital Images, 2002, equation 4) from the knee on: it
    begins with the slope 1, and the peak becomes white.
    """
    above = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    peak = (_PEAK / _WHITE - _KNEE) / (1 - _KNEE)
    curve = _KNEE + (1 - _KNEE) * above * (1 + above / peak**2) / (1 + above)
    return np.minimum(np.where(light > _KNEE, curve, light), 1).astype(np.float32)


@cache
def _signal_to_light(transfer: Transfer) -> Floats:
    """The light of each level, float32 [65536]: relative to white for PQ, of the scene (0 to 1) for HLG."""
    signal = np.linspace(0, 1, _LEVELS)
    if transfer == "PQ":
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        root = signal ** (1 / m2)
        light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * 10000 / _WHITE
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return light.astype(np.float32)


@cache
def _light_to_srgb() -> NDArray[np.uint8]:
    """The sRGB level of each of 65536 levels of light (IEC 61966-2-1), uint8."""
    light = np.linspace(0, 1, _LEVELS)
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(signal * 255).astype(np.uint8)
