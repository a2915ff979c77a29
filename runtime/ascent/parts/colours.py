"""The colour matrix that every pixel's gradient is multiplied by, against rainbow speckle (`settings/colours.py`)."""

from __future__ import annotations

from ....models.arrays import Image
from ...settings.colours import apply_colour_matrix, parse_colours
from ...settings.settings import Settings
from ..graph_builder import int64_array
from .part import Part, UpdateContext, UpdateGraph


def _is_wanted(settings: Settings) -> bool:
    return parse_colours(settings.colours).has_matrix


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    assert context.colours is not None
    return apply_colour_matrix(direction, context.colours)


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    assert graph.colours is not None
    product = graph.add("MatMul", graph.colours, graph.add("Reshape", direction, int64_array(1, 3, -1)))
    return graph.add("Reshape", product, int64_array(*graph.image_shape))


COLOURS = Part("colours", _is_wanted, _by_numpy, _as_graph, host_planes=1, graph_planes=1)
