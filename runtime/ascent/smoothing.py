"""Smoothing of a gradient: what a dream's brush looks like."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# A band weaker than this share of its gradient is rounding, not to be blown up; and no division by 0.
FAINTEST, LEAST = 1e-5, 1e-30


def blurred(gradient: Array, sigma: float) -> Array:
    """The CHW gradient under a Gaussian of that many pixels, edges mirrored; 0 leaves it as it is."""
    if not sigma:
        return gradient
    return np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in gradient])


def laplacian_normalized(gradient: Array, levels: int) -> Array:
    """The CHW gradient with every band of its Laplacian pyramid at unit strength (TF1's deepdream notebook).

    Splits it with 5x5 binomial filters into `levels` bands and a rest, divides each by its root mean square, and puts
    them together again: coarse shapes climb as fast as fine ones.
    """
    rest = gradient.transpose(1, 2, 0)
    faintest = max(FAINTEST * _strength(rest), LEAST)
    bands = []
    for _ in range(levels):
        if min(rest.shape[:2]) < 2:
            break
        coarse = cv2.pyrDown(rest)
        bands.append(_unit(rest - cv2.pyrUp(coarse, dstsize=(rest.shape[1], rest.shape[0])), faintest))
        rest = coarse
    merged = _unit(rest, faintest)
    for band in reversed(bands):
        merged = cv2.pyrUp(merged, dstsize=(band.shape[1], band.shape[0])) + band
    return np.ascontiguousarray(merged.transpose(2, 0, 1))


def _unit(band: Array, faintest: float) -> Array:
    unit: Array = band / np.float32(max(_strength(band), faintest))
    return unit


def _strength(band: Array) -> float:
    return float(np.sqrt(np.mean(np.square(band, dtype=np.float64))))
