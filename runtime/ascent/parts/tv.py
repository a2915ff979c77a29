"""The pull of total variation, which draws a dream away from speckle."""

from __future__ import annotations

import numpy as np

from ....models.arrays import Image
from ...settings.settings import Settings
from .part import Part, UpdateContext, UpdateGraph

# Keeps the slope of the total variation finite on flat areas; in squared units of the backbone's range.
_EPSILON = 1e-6


def _is_wanted(settings: Settings) -> bool:
    return settings.tv > 0


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    direction -= np.float32(context.settings.tv) * total_variation_gradient(context.image)
    return direction


def total_variation_gradient(image: Image) -> Image:
    """Gradient of the total variation, sum over pixels of sqrt(dx² + dy²), of a CHW image."""
    down = np.diff(image, axis=1, append=image[:, -1:])
    right = np.diff(image, axis=2, append=image[:, :, -1:])
    length = np.sqrt(down * down + right * right + np.float32(_EPSILON))
    down /= length
    right /= length
    slope = -(down + right)
    slope[:, 1:] += down[:, :-1]
    slope[:, :, 1:] += right[:, :, :-1]
    return slope


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    image, rows = graph.image, np.arange(graph.size[0])
    last = graph.columns(image, -1)
    dx = graph.add("Sub", graph.add("Concat", graph.columns(image, 1), last, axis=3), image)
    dy = graph.add("Sub", graph.add("Gather", image, np.append(rows[1:], rows[-1]), axis=2), image)
    squares = graph.add("Add", graph.add("Mul", dx, dx), graph.add("Mul", dy, dy))
    share = graph.add("Div", graph.settings.tv, graph.add("Sqrt", graph.add("Add", squares, _EPSILON)))
    dx, dy = graph.add("Mul", dx, share), graph.add("Mul", dy, share)
    # What comes in over an edge is the last difference, which is 0.
    across = graph.add("Sub", dx, graph.rolled_columns(dx, -1))
    down = graph.add("Sub", dy, graph.add("Gather", dy, np.roll(rows, 1), axis=2))
    return graph.add("Add", direction, graph.add("Add", across, down))


TV = Part("tv", _is_wanted, _by_numpy, _as_graph, host_planes=4, graph_planes=3)
