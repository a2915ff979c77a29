"""Laplacian-pyramid normalisation: every frequency band of the gradient gets the same strength.

Coarse shapes then grow as fast as fine ones. Source: "Laplacian Pyramid Gradient Normalization" in TensorFlow 1's
deepdream notebook; the pyramid is that of Burt and Adelson 1983.
"""

from __future__ import annotations

import cv2
import numpy as np

from ....models.arrays import Floats, Image, Size
from ...settings.settings import Settings
from ..filters import Filter, add_filter
from .part import Part, UpdateContext, UpdateGraph

# A band is divided by at least this share of the gradient's root mean square: a weaker one is rounding error, which
# must not be amplified. The epsilon avoids a division by 0.
_MIN_BAND_RMS, _EPSILON = 1e-5, 1e-30


def _is_wanted(settings: Settings) -> bool:
    return settings.laplacian > 0


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    return laplacian_normalized(direction, context.settings.laplacian)


def laplacian_normalized(gradient: Image, levels: int) -> Image:
    """Returns the gradient with a root mean square of 1 in every band of its Laplacian pyramid.

    Splits it with 5x5 binomial filters into `levels` bands and a low-pass residual, divides each by its root mean
    square, and adds them up again. Small images have fewer bands.
    """
    residual = gradient.transpose(1, 2, 0)
    min_rms = max(_MIN_BAND_RMS * _root_mean_square(residual), _EPSILON)
    bands = []
    for _ in range(levels):
        if min(residual.shape[:2]) < 2:
            break
        coarse = cv2.pyrDown(residual)
        enlarged = cv2.pyrUp(coarse, dstsize=(residual.shape[1], residual.shape[0]))
        bands.append(_normalized(residual - enlarged, min_rms))
        residual = coarse
    merged = _normalized(residual, min_rms)
    for band in reversed(bands):
        merged = cv2.pyrUp(merged, dstsize=(band.shape[1], band.shape[0])) + band
    return np.ascontiguousarray(merged.transpose(2, 0, 1))


def _normalized(band: Floats, min_rms: float) -> Floats:
    """Returns a band, float32 [height, width, 3], divided by its root mean square or by `min_rms` if that is larger."""
    normalized: Floats = band / np.float32(max(_root_mean_square(band), min_rms))
    return normalized


def _root_mean_square(band: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(band, dtype=np.float64))))


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    min_rms = graph.add("Max", graph.add("Mul", graph.root_mean_square(direction), _MIN_BAND_RMS), _EPSILON)
    bands: list[tuple[str, Size]] = []
    residual, size = direction, graph.size
    while len(bands) < graph.settings.laplacian and min(size) > 1:
        down = Filter.halving(size)
        coarse = add_filter(graph, residual, down)
        enlarged = add_filter(graph, coarse, Filter.doubling(down.size, size))
        bands.append((_add_normalized(graph, graph.add("Sub", residual, enlarged), min_rms), size))
        residual, size = coarse, down.size
    merged = _add_normalized(graph, residual, min_rms)
    for band, larger in reversed(bands):
        merged = graph.add("Add", add_filter(graph, merged, Filter.doubling(size, larger)), band)
        size = larger
    return merged


def _add_normalized(graph: UpdateGraph, band: str, min_rms: str) -> str:
    return graph.add("Div", band, graph.add("Max", graph.root_mean_square(band), min_rms))


LAPLACIAN = Part("laplacian", _is_wanted, _by_numpy, _as_graph, host_planes=3, graph_planes=4)
