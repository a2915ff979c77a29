"""Operators of image graphs, and graphs compiled to sessions."""

from __future__ import annotations

import numpy as np
import pytest

from onnxdream.models.arrays import Floats
from onnxdream.runtime.ascent.graph_builder import CompiledGraph, ImageGraph, int64_array
from onnxdream.runtime.errors import ComputationError
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.tensors import Device, Tensor

CPU = Machine("cpu", 1)
SHAPE = (1, 3, 5, 6)


def random_image(seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def computed(graph: ImageGraph, output: str, shape: tuple[int, ...] = SHAPE) -> Floats:
    """Returns an output of a graph whose input is `x`, float32 of the given shape."""
    found = Device(CPU).empty(shape)
    CompiledGraph(graph, {output: shape}, CPU).bind({"x": Tensor.on_host(random_image(1))}, found).run()
    return found.fetch()


def test_means_are_of_all_values() -> None:
    for name, expected in (
        ("mean", random_image(1).mean()),
        ("root_mean_square", np.sqrt((random_image(1) ** 2).mean())),
    ):
        graph = ImageGraph()
        output = getattr(graph, name)(graph.input("x", SHAPE))
        assert computed(graph, output, (1, 1, 1, 1)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("start", "end"), [(0, 2), (1, None), (-1, None), (0, -2)])
def test_columns_are_a_slice(start: int, end: int | None) -> None:
    graph, expected = ImageGraph(), random_image(1)[..., start:end]
    x = graph.input("x", SHAPE)
    output = graph.slice_columns(x, start) if end is None else graph.slice_columns(x, start, end)
    np.testing.assert_array_equal(computed(graph, output, expected.shape), expected)


@pytest.mark.parametrize("count", [0, 2, -1])
def test_columns_are_rolled_left(count: int) -> None:
    for named in (False, True):
        graph = ImageGraph()
        output = graph.roll_columns_left(
            graph.input("x", SHAPE), graph.constant(int64_array(count)) if named else count
        )
        np.testing.assert_array_equal(computed(graph, output), np.roll(random_image(1), -count, axis=3))


def test_outputs_keep_their_order_and_may_depend_on_each_other() -> None:
    graph = ImageGraph()
    x = graph.input("x", SHAPE)
    twice = graph.add("Add", x, x)
    found = [Device(CPU).empty(SHAPE) for _ in range(2)]
    outputs = {graph.add("Add", twice, x): SHAPE, twice: SHAPE}
    CompiledGraph(graph, outputs, CPU).bind({"x": Tensor.on_host(random_image(1))}, *found).run()
    np.testing.assert_allclose(found[0].fetch(), 3 * random_image(1), atol=1e-6)
    np.testing.assert_allclose(found[1].fetch(), 2 * random_image(1), atol=1e-6)


def test_a_missing_operand_is_refused() -> None:
    graph = ImageGraph()
    with pytest.raises(ComputationError):
        CompiledGraph(graph, {graph.add("Add", graph.input("x", SHAPE), "y"): SHAPE}, CPU)


def test_tensors_of_another_shape_are_refused() -> None:
    graph = ImageGraph()
    compiled = CompiledGraph(graph, {graph.add("Neg", graph.input("x", SHAPE)): SHAPE}, CPU)
    with pytest.raises(ComputationError):
        compiled.bind({"x": Tensor.on_host(np.zeros((1, 3, 4, 6), np.float32))}, Device(CPU).empty(SHAPE)).run()
