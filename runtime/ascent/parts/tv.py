"""The total-variation penalty, which removes speckle (Rudin, Osher and Fatemi 1992).

The setting `tv` times the gradient of the total variation is subtracted from the direction.
"""

from __future__ import annotations

import numpy as np

from ....models.arrays import Image
from ...settings.settings import Settings
from .part import Part, UpdateContext, UpdateGraph

# Keeps the gradient of the total variation finite on flat areas; in squared units of the range -1 to 1.
_EPSILON = 1e-6


def _is_wanted(settings: Settings) -> bool:
    return settings.tv > 0


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    direction -= np.float32(context.settings.tv) * total_variation_gradient(context.image)
    return direction


def total_variation_gradient(image: Image) -> Image:
    """Returns the gradient of the total variation, the sum over all pixels of sqrt(dx² + dy² + epsilon), of an image.

    It has the image's shape; dx and dy are the differences to the next column and row.
    """
    down = np.diff(image, axis=1, append=image[:, -1:])
    right = np.diff(image, axis=2, append=image[:, :, -1:])
    length = np.sqrt(down * down + right * right + np.float32(_EPSILON))
    down /= length
    right /= length
    gradient = -(down + right)
    gradient[:, 1:] += down[:, :-1]
    gradient[:, :, 1:] += right[:, :, :-1]
    return gradient


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    image, rows = graph.image, np.arange(graph.size[0])
    last = graph.slice_columns(image, -1)
    dx = graph.add("Sub", graph.add("Concat", graph.slice_columns(image, 1), last, axis=3), image)
    dy = graph.add("Sub", graph.add("Gather", image, np.append(rows[1:], rows[-1]), axis=2), image)
    squares = graph.add("Add", graph.add("Mul", dx, dx), graph.add("Mul", dy, dy))
    share = graph.add("Div", graph.settings.tv, graph.add("Sqrt", graph.add("Add", squares, _EPSILON)))
    dx, dy = graph.add("Mul", dx, share), graph.add("Mul", dy, share)
    # A roll brings the last difference to the first place; it is 0, so nothing leaks across the edge.
    across = graph.add("Sub", dx, graph.roll_columns_left(dx, -1))
    down = graph.add("Sub", dy, graph.add("Gather", dy, np.roll(rows, 1), axis=2))
    return graph.add("Add", direction, graph.add("Add", across, down))


TV = Part("tv", _is_wanted, _by_numpy, _as_graph, host_planes=4, graph_planes=3)
