"""The L2 penalty, which pulls an image towards the middle of its range.

The setting `l2` times the distance from the middle is subtracted from the direction, as in weight decay.
"""

from __future__ import annotations

import numpy as np

from ....models.arrays import Image
from ...settings.settings import Settings
from .part import Limits, Part, UpdateContext, UpdateGraph


def _is_wanted(settings: Settings) -> bool:
    return settings.l2 > 0


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    direction -= np.float32(context.settings.l2) * (context.image - np.float32(_midpoint(context.limits)))
    return direction


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    distance = graph.add("Sub", graph.image, _midpoint(graph.limits))
    return graph.add("Sub", direction, graph.add("Mul", distance, graph.settings.l2))


def _midpoint(limits: Limits) -> float:
    return sum(limits) / 2


L2 = Part("l2", _is_wanted, _by_numpy, _as_graph, host_planes=1)
