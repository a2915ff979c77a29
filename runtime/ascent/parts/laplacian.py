"""Every band of a gradient's Laplacian pyramid at unit strength: coarse shapes climb as fast as fine ones."""

from __future__ import annotations

import cv2
import numpy as np

from ....models.arrays import Floats, Image, Size
from ...settings.settings import Settings
from ..filters import Filter, filtered
from .part import Part, UpdateContext, UpdateGraph

# A band weaker than this share of its gradient is rounding, not to be blown up; and no division by 0.
_MIN_BAND_RMS, _EPSILON = 1e-5, 1e-30


def _is_wanted(settings: Settings) -> bool:
    return settings.laplacian > 0


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    return laplacian_normalized(direction, context.settings.laplacian)


def laplacian_normalized(gradient: Image, levels: int) -> Image:
    """The CHW gradient with every band of its Laplacian pyramid at unit strength (TF1's deepdream notebook).

    Splits it with 5x5 binomial filters into `levels` bands and a rest, divides each by its root mean square, and puts
    them together again.
    """
    rest = gradient.transpose(1, 2, 0)
    faintest = max(_MIN_BAND_RMS * _rms(rest), _EPSILON)
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


def _unit(band: Floats, faintest: float) -> Floats:
    unit: Floats = band / np.float32(max(_rms(band), faintest))
    return unit


def _rms(band: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(band, dtype=np.float64))))


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    faintest = graph.add("Max", graph.add("Mul", graph.root_mean_square(direction), _MIN_BAND_RMS), _EPSILON)
    bands: list[tuple[str, Size]] = []
    rest, size = direction, graph.size
    while len(bands) < graph.settings.laplacian and min(size) > 1:
        down = Filter.halving(size)
        coarse = filtered(graph, rest, down)
        enlarged = filtered(graph, coarse, Filter.doubling(down.size, size))
        bands.append((_unit_graph(graph, graph.add("Sub", rest, enlarged), faintest), size))
        rest, size = coarse, down.size
    merged = _unit_graph(graph, rest, faintest)
    for band, larger in reversed(bands):
        merged = graph.add("Add", filtered(graph, merged, Filter.doubling(size, larger)), band)
        size = larger
    return merged


def _unit_graph(graph: UpdateGraph, band: str, faintest: str) -> str:
    return graph.add("Div", band, graph.add("Max", graph.root_mean_square(band), faintest))


LAPLACIAN = Part("laplacian", _is_wanted, _by_numpy, _as_graph, host_planes=3, graph_planes=4)
