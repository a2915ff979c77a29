"""One step of gradient ascent as one model, for an image that stays where its gradient is computed.

Part for part the same as `Update`; what both do is tested against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.arrays import Floats, Size
from ..provider.machine import Machine
from ..provider.tensors import BoundSession, Tensor
from ..settings.settings import Settings
from .graph_builder import CompiledGraph, ImageGraph, int64
from .parts.part import Limits, UpdateGraph, slot_name
from .update import parts_of

Shift = tuple[int, int]


class GraphUpdate:
    """`Update` for images of one size on one machine; where `jitter` is set it rolls the gradient back first.

    `mask` is float32 [height, width], `colours` the matrix [3, 3] of settings that have one; `changes` says whether an
    update must be fed `inputs` before each run. Raises ProviderError and ComputationError.
    """

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        size: Size,
        machine: Machine,
        mask: Floats | None = None,
        colours: Floats | None = None,
    ) -> None:
        self._jitters = bool(settings.jitter)
        self._size = size
        graph = UpdateGraph(settings, limits, size, mask, colours)
        direction = graph.input("gradient", graph.picture)
        if settings.jitter:
            direction = _rolled(graph, direction, size[0])
        for part in parts_of(settings):
            direction = part.as_graph(direction, graph)
        self._timings = graph.timings
        self.changes = self._jitters or bool(self._timings)
        self._program = CompiledGraph(graph, dict.fromkeys((direction, *graph.next_slots), graph.picture), machine)

    def bind(self, image: Tensor, gradient: Tensor, slots: Sequence[Tensor], outputs: Sequence[Tensor]) -> BoundSession:
        """Bound to an image, a gradient and slots, and to `outputs`, which become the next image and the next slots.

        These must be other tensors; all are [1, 3, h, w]. Raises ComputationError.
        """
        inputs = {"image": image, "gradient": gradient}
        inputs |= {slot_name(device): slot for device, slot in enumerate(slots)}
        return self._program.bind(inputs, *outputs)

    def inputs(self, number: int, shift: Shift = (0, 0)) -> dict[str, Tensor]:
        """What an update is fed: `number` counts the octave's updates from 1; `shift` is how far the image was rolled
        that the gradient is of."""
        found: dict[str, Tensor] = {}
        if self._jitters:
            found |= roll_inputs((-shift[0], -shift[1]), self._size)
        for names, timing in self._timings.items():
            found |= dict(zip(names, map(Tensor.on_host, timing(number)), strict=True))
        return found


def roll(size: Size, machine: Machine) -> CompiledGraph:
    """What rolls pictures of one size round their edges, as numpy does: `image`, fed with `roll_inputs`, into another
    tensor.

    Raises ProviderError and ComputationError.
    """
    graph, picture = ImageGraph(), (1, 3, *size)
    return CompiledGraph(graph, {_rolled(graph, graph.input("image", picture), size[0]): picture}, machine)


def loss_row(size: Size, layers: int, machine: Machine) -> CompiledGraph:
    """What puts `losses` [1, layers] and the sum of a `gradient`, which is finite where that is, into one row.

    Raises as `roll` does.
    """
    graph = ImageGraph()
    losses, gradient = graph.input("losses", (1, layers)), graph.input("gradient", (1, 3, *size))
    planes = graph.add("ReduceSum", gradient, int64(2, 3), keepdims=0)
    total = graph.add("ReduceSum", planes, int64(1), keepdims=1)
    return CompiledGraph(graph, {graph.add("Concat", losses, total, axis=1): (1, layers + 1)}, machine)


def _rolled(graph: ImageGraph, image: str, height: int) -> str:
    """A picture that begins with column `right` of what it was, and has its `rows` in turn."""
    rows, right = graph.input("rows", (height,), int64=True), graph.input("right", (1,), int64=True)
    return graph.add("Gather", graph.rolled_columns(image, right), rows, axis=2)


def roll_inputs(shift: Shift, size: Size) -> dict[str, Tensor]:
    """Which row comes to be where, and which column to be the first."""
    rows, right = np.roll(np.arange(size[0]), shift[0]), np.array([-shift[1] % size[1]])
    return {"rows": Tensor.on_host(rows.astype(np.int64)), "right": Tensor.on_host(right.astype(np.int64))}
