"""The step itself: moves the image along the direction, scaled by the mask, and clips it to its limits."""

from __future__ import annotations

import numpy as np

from ....models.arrays import Floats, Image
from ...settings.schedule import value_at_step
from ...settings.settings import Settings
from .part import Part, UpdateContext, UpdateGraph


def _is_wanted(_: Settings) -> bool:
    return True


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    settings, image = context.settings, context.image
    direction *= np.float32(value_at_step(settings.step_size, context.number, settings.steps))
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
    """Adds the factor of the direction, the step size times the mask; returns its name.

    It is float32 [1] or [1, 1, 1, 1] without a mask, and [1, 1, height, width] with one.
    """
    step_size, steps, mask = graph.settings.step_size, graph.settings.steps, graph.mask
    if not isinstance(step_size, tuple):
        constant = np.full((1, 1, 1, 1), step_size, np.float32)
        return graph.constant(constant if mask is None else constant * mask)

    def values_at(number: int) -> list[Floats]:
        return [np.array([value_at_step(step_size, number, steps)], np.float32)]

    (rate,) = graph.add_scheduled_inputs(("step_size",), values_at)
    return rate if mask is None else graph.add("Mul", mask[None, None], rate)


STEP = Part("step", _is_wanted, _by_numpy, _as_graph)
