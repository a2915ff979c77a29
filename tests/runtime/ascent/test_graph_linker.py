"""Small graphs linked to one model, and what a session makes of it."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from onnxdream.runtime.ascent.graph_linker import GRAPHS, Chain, Program
from onnxdream.runtime.bundle.onnx_file import read_model_file
from onnxdream.runtime.errors import ComputationError
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.tensors import Place, Tensor

CPU = Machine("cpu", 1)
SHAPE = (1, 3, 5, 6)


def some(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def sum_of_three() -> tuple[Chain, str]:
    chain = Chain()
    one, other = chain.input("one", SHAPE), chain.input("other", SHAPE)
    (first,) = chain.add("merge", one=one, other=other)
    (second,) = chain.add("merge", one=first, other=chain.constant(some(3)))
    return chain, second


def test_the_same_graph_twice_is_two_links() -> None:
    chain, output = sum_of_three()
    found = Place(CPU).empty(SHAPE)
    Program(chain, [output], CPU).bind({"one": Tensor.on_host(some(1)), "other": Tensor.on_host(some(2))}, found).run()
    np.testing.assert_allclose(found.fetch(), some(1) + some(2) + some(3), atol=1e-6)


def test_a_link_s_output_may_be_one_of_the_model_s_too() -> None:
    chain = Chain()
    one = chain.input("one", SHAPE)
    (first,) = chain.add("merge", one=one, other=one)
    (second,) = chain.add("merge", one=first, other=one)
    twice, thrice = (Place(CPU).empty(SHAPE) for _ in range(2))
    Program(chain, [first, second], CPU).bind({"one": Tensor.on_host(some(1))}, twice, thrice).run()
    np.testing.assert_allclose(twice.fetch(), 2 * some(1), atol=1e-6)
    np.testing.assert_allclose(thrice.fetch(), 3 * some(1), atol=1e-6)


def test_a_chain_is_a_safe_model_of_plain_operators_with_its_sizes_in_it() -> None:
    chain, output = sum_of_three()
    data = chain.model([output])
    assert read_model_file(data).metadata == {}
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [value.shape for value in session.get_inputs()] == [list(SHAPE)] * 2
    assert [value.shape for value in session.get_outputs()] == [list(SHAPE)]


@pytest.mark.parametrize("path", sorted(GRAPHS.glob("*.onnx")), ids=lambda path: path.stem)
def test_every_graph_that_ships_is_small_and_plain(path) -> None:  # type: ignore[no-untyped-def]
    data = path.read_bytes()
    assert len(data) < 3000
    read_model_file(data)
    ort.InferenceSession(data, providers=["CPUExecutionProvider"])


def test_a_link_that_is_not_fed_is_refused() -> None:
    chain = Chain()
    (output,) = chain.add("merge", one=chain.input("one", SHAPE))
    with pytest.raises(ComputationError):
        Program(chain, [output], CPU)


def test_tensors_of_another_shape_are_refused() -> None:
    chain, output = sum_of_three()
    program = Program(chain, [output], CPU)
    small = Tensor.on_host(np.zeros((1, 3, 4, 6), np.float32))
    with pytest.raises(ComputationError):
        program.bind({"one": small, "other": small}, Place(CPU).empty(SHAPE)).run()


def test_the_graphs_are_those_that_the_exporter_writes() -> None:
    pytest.importorskip("tensorflow")
    from onnxdream.export import graphs

    assert {path.name for path in GRAPHS.glob("*")} == set(graphs.GRAPHS)
    for name, build in graphs.GRAPHS.items():
        assert (GRAPHS / name).read_bytes() == build().SerializeToString(), f"{name}: write the graphs again"
