"""One update of gradient ascent as an ONNX graph, for an image that stays in the memory of the device.

It has the same parts as `Update`, and the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.arrays import Floats, Size
from ..provider.machine import Machine
from ..provider.tensors import BoundSession, Tensor
from ..settings.settings import Settings
from .graph_builder import CompiledGraph, ImageGraph, int64_array
from .parts.part import Limits, UpdateGraph, slot_name
from .update import parts_of

# Pixels that an image is rolled by, down and right.
Shift = tuple[int, int]


class GraphUpdate:
    """`Update` for images of one size on one machine. With jitter, it first rolls the gradient back.

    `mask` is float32 [height, width], `colours` the colour matrix, float32 [3, 3]; either may be None. The
    slots were new after `slots_after` updates of the octave. `needs_inputs` is True if `inputs` must be fed before each
    run. Raises ProviderError and ComputationError.
    """

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        size: Size,
        machine: Machine,
        mask: Floats | None = None,
        colours: Floats | None = None,
        slots_after: int = 0,
    ) -> None:
        self._has_jitter = bool(settings.jitter)
        self._size = size
        graph = UpdateGraph(settings, limits, size, mask, colours, slots_after)
        direction = graph.input("gradient", graph.image_shape)
        if settings.jitter:
            direction = _add_roll(graph, direction, size[0])
        for part in parts_of(settings):
            direction = part.as_graph(direction, graph)
        self._scheduled_inputs = graph.scheduled_inputs
        self.needs_inputs = self._has_jitter or bool(self._scheduled_inputs)
        outputs = dict.fromkeys((direction, *graph.next_slots), graph.image_shape)
        self._compiled = CompiledGraph(graph, outputs, machine)

    def bind(
        self,
        image: Tensor,
        gradient: Tensor,
        slots: Sequence[Tensor],
        outputs: Sequence[Tensor],
        base: Tensor | None = None,
    ) -> BoundSession:
        """Binds the update to an image, a gradient and slots, and to `outputs`: the next image and the next slots.

        `base` is the undreamed image, which the setting `stay` needs. All tensors are float32 [1, 3, height, width],
        and no output may be an input. Raises ComputationError.
        """
        inputs = {"image": image, "gradient": gradient} | ({} if base is None else {"base": base})
        inputs |= {slot_name(index): slot for index, slot in enumerate(slots)}
        return self._compiled.bind(inputs, *outputs)

    def inputs(self, number: int, shift: Shift = (0, 0)) -> dict[str, Tensor]:
        """Returns the inputs of an update, by name, that change from step to step.

        `number` counts the octave's updates from 1; `shift` is that of the image that the gradient was computed for.
        """
        found: dict[str, Tensor] = {}
        if self._has_jitter:
            found |= roll_inputs((-shift[0], -shift[1]), self._size)
        for names, values_at in self._scheduled_inputs.items():
            found |= dict(zip(names, map(Tensor.on_host, values_at(number)), strict=True))
        return found


def compile_roll(size: Size, machine: Machine) -> CompiledGraph:
    """Compiles a graph that rolls images of one size as `np.roll` does.

    It reads `image`, float32 [1, 3, height, width], and `roll_inputs`, and writes a tensor of the image's shape. Raises
    ProviderError and ComputationError.
    """
    graph, shape = ImageGraph(), (1, 3, *size)
    return CompiledGraph(graph, {_add_roll(graph, graph.input("image", shape), size[0]): shape}, machine)


def compile_loss_row(size: Size, layers: int, machine: Machine) -> CompiledGraph:
    """Compiles a graph that joins the losses and the sum of the gradient, which is finite if the gradient is.

    It reads `losses`, float32 [1, layers], and `gradient`, float32 [1, 3, height, width], and writes a row,
    float32 [1, layers + 1]. Raises ProviderError and ComputationError.
    """
    graph = ImageGraph()
    losses, gradient = graph.input("losses", (1, layers)), graph.input("gradient", (1, 3, *size))
    planes = graph.add("ReduceSum", gradient, int64_array(2, 3), keepdims=0)
    total = graph.add("ReduceSum", planes, int64_array(1), keepdims=1)
    return CompiledGraph(graph, {graph.add("Concat", losses, total, axis=1): (1, layers + 1)}, machine)


def _add_roll(graph: ImageGraph, image: str, height: int) -> str:
    """Adds a roll of an image, whose inputs are those of `roll_inputs`; returns the output's name."""
    rows, right = graph.input("rows", (height,), int64=True), graph.input("right", (1,), int64=True)
    return graph.add("Gather", graph.roll_columns_left(image, right), rows, axis=2)


def roll_inputs(shift: Shift, size: Size) -> dict[str, Tensor]:
    """Returns the inputs of a roll by a shift: `rows`, int64 [height], the source row of each row; and `right`,
    int64 [1], the column that becomes the first."""
    rows, right = np.roll(np.arange(size[0]), shift[0]), np.array([-shift[1] % size[1]])
    return {"rows": Tensor.on_host(rows.astype(np.int64)), "right": Tensor.on_host(right.astype(np.int64))}
