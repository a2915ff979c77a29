"""Pulls of an image: L2 towards the middle of its range, `stay` towards the undreamed picture.

The setting `l2` times the distance from the middle is subtracted from the direction before the optimizer, as a penalty.
`stay` is subtracted behind it, so that no optimizer rescales it, as in decoupled weight decay (Loshchilov and Hutter
2019). It pulls by `stay` times 10 times the distance from the picture: a steady direction of strength 1 then comes to
rest 0.1 from the picture where `stay` is 1, and 0.5 where it is 0.2. A step never moves back further than to the
picture itself.
"""

from __future__ import annotations

import numpy as np

from ....models.arrays import Floats, Image
from ...settings.schedule import value_at_step
from ...settings.settings import Settings
from .part import Limits, Part, UpdateContext, UpdateGraph

# The pull of `stay` 1, in units of a direction's strength for each unit of the range -1 to 1.
_STAY_STRENGTH = 10.0


def _wants_l2(settings: Settings) -> bool:
    return settings.l2 > 0


def _l2_by_numpy(direction: Image, context: UpdateContext) -> Image:
    direction -= np.float32(context.settings.l2) * (context.image - np.float32(_midpoint(context.limits)))
    return direction


def _l2_as_graph(direction: str, graph: UpdateGraph) -> str:
    distance = graph.add("Sub", graph.image, _midpoint(graph.limits))
    return graph.add("Sub", direction, graph.add("Mul", distance, graph.settings.l2))


def _midpoint(limits: Limits) -> float:
    return sum(limits) / 2


def _wants_stay(settings: Settings) -> bool:
    return settings.stay > 0


def _stay_by_numpy(direction: Image, context: UpdateContext) -> Image:
    assert context.base is not None
    distance = context.image - context.base
    distance *= np.float32(_pull(context.settings, context.number))
    direction -= distance
    return direction


def _stay_as_graph(direction: str, graph: UpdateGraph) -> str:
    settings = graph.settings
    distance = graph.add("Sub", graph.image, graph.input("base", graph.image_shape))
    if _pull(settings, 1) == _pull(settings, settings.steps):
        return graph.add("Sub", direction, graph.add("Mul", distance, _pull(settings, 1)))

    def values_at(number: int) -> list[Floats]:
        return [np.array([_pull(settings, number)], np.float32)]

    (pull,) = graph.add_scheduled_inputs(("pull",), values_at)
    return graph.add("Sub", direction, graph.add("Mul", distance, pull))


def _pull(settings: Settings, number: int) -> float:
    """Returns the factor of the distance from the picture at update `number` of an octave, counted from 1."""
    return min(_STAY_STRENGTH * settings.stay, 1 / value_at_step(settings.step_size, number, settings.steps))


L2 = Part("l2", _wants_l2, _l2_by_numpy, _l2_as_graph, host_planes=1)
# On the host, the undreamed picture and its distance; on a GPU, the picture.
STAY = Part("stay", _wants_stay, _stay_by_numpy, _stay_as_graph, host_planes=2, graph_planes=1)
