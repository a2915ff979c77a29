"""Adam: the running mean of directions by their running size (Kingma and Ba 2015, algorithm 1)."""

from __future__ import annotations

import numpy as np

from ....models.arrays import Floats, Image
from ...settings.settings import Settings
from .part import Part, UpdateContext, UpdateGraph

_DECAY, _EPSILON = 0.999, 1e-8


def _is_wanted(settings: Settings) -> bool:
    return settings.optimizer == "adam"


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    mean, square = context.slots
    mean += np.float32(1 - context.settings.momentum) * (direction - mean)
    square += np.float32(1 - _DECAY) * (direction * direction - square)
    mean_weight, square_weight = _weights(context.settings, context.number)
    size = np.sqrt(square / np.float32(square_weight))
    adapted: Floats = mean / np.float32(mean_weight) / (size + np.float32(_EPSILON))
    return adapted


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    def weights(number: int) -> list[Floats]:
        return [np.array([weight], np.float32) for weight in _weights(graph.settings, number)]

    mean_weight, square_weight = graph.timed(("mean_weight", "square_weight"), weights)
    mean, square = graph.slot(), graph.slot()
    ahead = graph.add("Mul", graph.add("Sub", direction, mean), 1 - graph.settings.momentum)
    mean = graph.remember(graph.add("Add", mean, ahead))
    ahead = graph.add("Mul", graph.add("Sub", graph.add("Mul", direction, direction), square), 1 - _DECAY)
    square = graph.remember(graph.add("Add", square, ahead))
    size = graph.add("Sqrt", graph.add("Div", square, square_weight))
    return graph.add("Div", graph.add("Div", mean, mean_weight), graph.add("Add", size, _EPSILON))


def _weights(settings: Settings, number: int) -> tuple[float, float]:
    """What the running means are divided by at an octave's update, counted from 1, so that they are unbiased."""
    return 1 - settings.momentum**number, 1 - _DECAY**number


ADAM = Part("adam", _is_wanted, _by_numpy, _as_graph, slots=2, host_planes=5)
