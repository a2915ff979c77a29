"""Small graphs that are built at run time."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from onnxdream.models.contract import IR_VERSION, OPSET
from onnxdream.runtime.provider.onnx_graph import Graph
from onnxdream.runtime.provider.selection import probe


def session(data: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"])


def test_operands_are_names_numbers_and_arrays() -> None:
    graph = Graph()
    x, rows = graph.input("x", (2, 3)), graph.input("rows", (2,), int64=True)
    sums = graph.add("Add", graph.add("Mul", x, 0.5), np.array([[1.0], [2.0]]))
    output = graph.add("Transpose", graph.add("Gather", sums, rows, axis=0), perm=[1, 0])
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    (found,) = session(graph.model({output: (3, 2)})).run(None, {"x": values, "rows": np.array([1, 0])})
    np.testing.assert_array_equal(found, (values / 2 + [[1], [2]])[::-1].T)


def test_sizes_are_written_into_the_model() -> None:
    graph = Graph()
    data = graph.model({graph.add("Mul", graph.input("x", (2, 3)), 2): (2, 3), graph.constant(np.array(0.5)): ()})
    opened = session(data)
    assert [value.shape for value in opened.get_inputs()] == [[2, 3]]
    assert [value.shape for value in opened.get_outputs()] == [[2, 3], []]


def test_the_probe_is_a_valid_model_of_our_opset() -> None:
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(probe(), full_check=True)
    model = onnx.load_from_string(probe())
    assert model.ir_version == IR_VERSION
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
