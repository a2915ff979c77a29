"""Momentum: the decaying sum of all directions so far (the heavy-ball method of Polyak 1964)."""

from __future__ import annotations

import numpy as np

from ....models.arrays import Image
from ...settings.settings import Settings
from .part import Part, UpdateContext, UpdateGraph


def _is_wanted(settings: Settings) -> bool:
    return settings.optimizer == "momentum"


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    (velocity,) = context.slots
    velocity *= np.float32(context.settings.momentum)
    velocity += direction
    return np.array(velocity)


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    decayed = graph.add("Mul", graph.read_slot(), graph.settings.momentum)
    return graph.write_slot(graph.add("Add", decayed, direction))


MOMENTUM = Part("momentum", _is_wanted, _by_numpy, _as_graph, slots=1, host_planes=2, graph_planes=1)
