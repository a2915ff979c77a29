"""Gaussian blur of the gradient, which softens the strokes of a dream."""

from __future__ import annotations

import cv2
import numpy as np

from ....models.arrays import Floats, Image
from ...settings.schedule import largest_value, value_at_step
from ...settings.settings import Settings
from ..filters import Filter, add_filter
from .part import Part, UpdateContext, UpdateGraph


def _is_wanted(settings: Settings) -> bool:
    return largest_value(settings.blur) > 0


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    return blurred(direction, value_at_step(context.settings.blur, context.number, context.settings.steps))


def blurred(gradient: Image, sigma: float) -> Image:
    """Returns the gradient, blurred by a Gaussian with mirrored edges. `sigma` is in pixels; 0 does not blur."""
    if not sigma:
        return gradient
    return np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in gradient])


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    blur, steps = graph.settings.blur, graph.settings.steps
    widest = Filter.gaussian(graph.size, largest_value(blur))
    if not isinstance(blur, tuple):
        return add_filter(graph, direction, widest)

    def matrices(number: int) -> tuple[Floats, Floats]:
        now = Filter.gaussian(graph.size, value_at_step(blur, number, steps), largest_value(blur))
        return now.rows.matrix, now.columns.matrix

    names = graph.add_scheduled_inputs(("blur_rows", "blur_columns"), matrices)
    return add_filter(graph, direction, widest, names)


BLUR = Part("blur", _is_wanted, _by_numpy, _as_graph, host_planes=1, graph_planes=1)
