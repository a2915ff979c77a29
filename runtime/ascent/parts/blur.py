"""A Gaussian over the gradient: the brush is soft."""

from __future__ import annotations

import cv2
import numpy as np

from ....models.arrays import Floats, Image
from ...settings.schedule import largest, scheduled
from ...settings.settings import Settings
from ..filters import Filter, filtered
from .part import Part, UpdateContext, UpdateGraph


def _is_wanted(settings: Settings) -> bool:
    return largest(settings.blur) > 0


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    return blurred(direction, scheduled(context.settings.blur, context.number, context.settings.steps))


def blurred(gradient: Image, sigma: float) -> Image:
    """The CHW gradient under a Gaussian of that many pixels, edges mirrored; 0 leaves it as it is."""
    if not sigma:
        return gradient
    return np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in gradient])


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    blur, steps = graph.settings.blur, graph.settings.steps
    widest = Filter.gaussian(graph.size, largest(blur))
    if not isinstance(blur, tuple):
        return filtered(graph, direction, widest)

    def matrices(number: int) -> tuple[Floats, Floats]:
        now = Filter.gaussian(graph.size, scheduled(blur, number, steps), largest(blur))
        return now.rows.matrix, now.columns.matrix

    return filtered(graph, direction, widest, graph.timed(("blur_rows", "blur_columns"), matrices))


BLUR = Part("blur", _is_wanted, _by_numpy, _as_graph, host_planes=1, graph_planes=1)
