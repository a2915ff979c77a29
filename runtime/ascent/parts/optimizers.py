"""The optimizers, which make a direction of all directions so far; the setting `momentum` says how long they last.

`momentum` is their decaying sum (the heavy-ball method of Polyak 1964), `adam` their mean divided by the root of their
mean square (Kingma and Ba 2015, algorithm 1, with `momentum` as beta1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....models.arrays import Floats, Image
from ...settings.settings import Settings
from .part import Part, UpdateContext, UpdateGraph

_BETA2, _EPSILON = 0.999, 1e-8


def _wants_momentum(settings: Settings) -> bool:
    return settings.optimizer == "momentum"


def _momentum_by_numpy(direction: Image, context: UpdateContext) -> Image:
    (velocity,) = context.slots
    velocity *= np.float32(context.settings.momentum)
    velocity += direction
    return np.array(velocity)


def _momentum_as_graph(direction: str, graph: UpdateGraph) -> str:
    decayed = graph.add("Mul", graph.read_slot(), graph.settings.momentum)
    return graph.write_slot(graph.add("Add", decayed, direction))


def _wants_adam(settings: Settings) -> bool:
    return settings.optimizer == "adam"


def _adam_by_numpy(direction: Image, context: UpdateContext) -> Image:
    return adapted(direction, context.slots, context.settings.momentum, context.number - context.slots_after)


def adapted(direction: Floats, slots: Sequence[Floats], beta1: float, number: int, epsilon: float = _EPSILON) -> Floats:
    """Returns Adam's direction at an update, counted from 1; all arrays have the same shape.

    `slots` are the running means of the directions and of their squares, which change in place.
    """
    mean, square = slots
    mean += np.float32(1 - beta1) * (direction - mean)
    square += np.float32(1 - _BETA2) * (direction * direction - square)
    mean_correction, square_correction = _bias_corrections(beta1, number)
    root = np.sqrt(square / np.float32(square_correction))
    found: Floats = mean / np.float32(mean_correction) / (root + np.float32(epsilon))
    return found


def _adam_as_graph(direction: str, graph: UpdateGraph) -> str:
    beta1 = graph.settings.momentum

    def values_at(number: int) -> list[Floats]:
        corrections = _bias_corrections(beta1, max(1, number - graph.slots_after))
        return [np.array([correction], np.float32) for correction in corrections]

    names = ("mean_weight", "square_weight")
    mean_correction, square_correction = graph.add_scheduled_inputs(names, values_at)
    mean, square = graph.read_slot(), graph.read_slot()
    change = graph.add("Mul", graph.add("Sub", direction, mean), 1 - beta1)
    mean = graph.write_slot(graph.add("Add", mean, change))
    change = graph.add("Mul", graph.add("Sub", graph.add("Mul", direction, direction), square), 1 - _BETA2)
    square = graph.write_slot(graph.add("Add", square, change))
    root = graph.add("Sqrt", graph.add("Div", square, square_correction))
    return graph.add("Div", graph.add("Div", mean, mean_correction), graph.add("Add", root, _EPSILON))


def _bias_corrections(beta1: float, number: int) -> tuple[float, float]:
    """Returns the divisors that make the running means unbiased at an update, counted from the slots' first."""
    return 1 - beta1**number, 1 - _BETA2**number


MOMENTUM = Part(
    "momentum", _wants_momentum, _momentum_by_numpy, _momentum_as_graph, slots=1, host_planes=2, graph_planes=1
)
ADAM = Part("adam", _wants_adam, _adam_by_numpy, _adam_as_graph, slots=2, host_planes=5)
