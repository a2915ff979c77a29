"""The step itself: the image moves along the direction where a mask lets it, and stays within its limits."""

from __future__ import annotations

import numpy as np

from ....models.arrays import Floats, Image
from ...settings.schedule import scheduled
from ...settings.settings import Settings
from .part import Part, UpdateContext, UpdateGraph


def _is_wanted(_: Settings) -> bool:
    return True


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    settings, image = context.settings, context.image
    direction *= np.float32(scheduled(settings.step_size, context.number, settings.steps))
    if context.mask is not None:
        direction *= context.mask
    image += direction
    if settings.clip:
        np.clip(image, *context.limits, out=image)
    return direction


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    low, high = graph.limits if graph.settings.clip else (-np.inf, np.inf)
    moved = graph.add("Add", graph.image, graph.add("Mul", direction, _rate(graph)))
    return graph.add("Clip", moved, np.array(low, np.float32), np.array(high, np.float32))


def _rate(graph: UpdateGraph) -> str:
    """What a direction is multiplied by, [1, 1, 1, 1] or one for each pixel."""
    step_size, steps, mask = graph.settings.step_size, graph.settings.steps, graph.mask
    if not isinstance(step_size, tuple):
        rate = np.full((1, 1, 1, 1), step_size, np.float32)
        return graph.constant(rate if mask is None else rate * mask)

    def now(number: int) -> list[Floats]:
        return [np.array([scheduled(step_size, number, steps)], np.float32)]

    (rate_now,) = graph.timed(("step_size",), now)
    return rate_now if mask is None else graph.add("Mul", mask[None, None], rate_now)


STEP = Part("step", _is_wanted, _by_numpy, _as_graph)
