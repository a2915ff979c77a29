"""The graphs of bundles and of updates as CUDA and TensorRT need them; no GPU is needed to check that.

`data/cuda-kernels-VERSION.json` lists the kernels that onnxruntime-gpu registers for CUDA, for the types and the opset
of onnxdream's graphs: operator -> rows of type parameter -> types. Some kernel of a row takes every combination of its
types. `tests/gpu` checks where nodes really run.
"""
# ruff: noqa: E402

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime as ort
import pytest

onnx = pytest.importorskip("onnx", reason="needs the export extra")

from exports import unverified
from make_tiny_bundle import TINY_LITE_PATH, TINY_PATH
from onnx import TensorProto, helper, shape_inference
from tiny import LAYERS, LITE_LAYERS, TINY, TINY_LITE
from updates import ALL_PARTS, CPU, EXAMPLES, LIMITS

from onnxdream.models import assembly
from onnxdream.models.contract import IR_VERSION, OPSET
from onnxdream.runtime import Bundle, Settings
from onnxdream.runtime.ascent import graph_builder
from onnxdream.runtime.ascent.update_graph import GraphUpdate, compile_loss_row, compile_roll
from onnxdream.runtime.bundle.sessions import model_for
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.selection import probe
from onnxdream.runtime.provider.session import open_session
from onnxdream.runtime.settings.settings import OptimizerName

TYPES = {
    TensorProto.FLOAT: "float",
    TensorProto.FLOAT16: "float16",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.BOOL: "bool",
}
INTEGERS = {TensorProto.INT64, TensorProto.INT32}
CUDA = Machine("cuda", 1)
SIZE = (96, 80)
SIZES = {"batch": 1, "weights_batch": 1, "height": SIZE[0], "width": SIZE[1]}
BUNDLES = [*(one.path for one in assembly.BUILT_IN), TINY_PATH, TINY_LITE_PATH]
TABLES = sorted((Path(__file__).parent / "data").glob("cuda-kernels-*.json"))

each_bundle = pytest.mark.parametrize("path", BUNDLES, ids=[path.stem for path in BUNDLES])
each_half = pytest.mark.parametrize(("backbone", "objective"), [("tiny", "mean"), ("tiny-lite", "l2")])
each_table = pytest.mark.parametrize("table", TABLES, ids=[path.stem for path in TABLES])


@cache
def kernels_of(table: Path) -> dict[str, list[dict[str, list[str]]]]:
    return json.loads(table.read_text(encoding="utf-8"))


def without_kernel(model: Any, table: Path) -> list[str]:
    """Returns the nodes for which CUDA has no kernel, each as its operator and the types that it is given."""
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.output, *graph.value_info]}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    lacking = set()
    for node in graph.node:
        schema, given = onnx.defs.get_schema(node.op_type, OPSET), {}
        for parameters, names in ((schema.inputs, node.input), (schema.outputs, node.output)):
            for place, name in enumerate(names):
                if name:
                    parameter = parameters[min(place, len(parameters) - 1)].type_str
                    given[parameter] = TYPES.get(types.get(name, TensorProto.UNDEFINED), "an unknown type")
        rows = kernels_of(table).get(node.op_type, [])
        if not any(all(given.get(name, taken[0]) in taken for name, taken in row.items()) for row in rows):
            lacking.add(f"{node.op_type} {given}")
    return sorted(lacking)


def optimized(model: bytes, folder: Path) -> Any:
    """Returns a model as onnxruntime's basic optimization leaves it for pictures of one size, with all known shapes."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    for name, length in SIZES.items():
        options.add_free_dimension_override_by_name(name, length)
    ort.InferenceSession(model, options, ["CPUExecutionProvider"])
    return shape_inference.infer_shapes(onnx.load(folder / "optimized.onnx"), strict_mode=True, data_prop=True)


def dynamic_nodes(model: Any) -> list[str]:
    """Returns the operators at which a shape becomes unknown before the run; those behind them do not count."""
    shapes = {value.name: value.type.tensor_type.shape.dim for value in [*model.graph.value_info, *model.graph.output]}
    dynamic, found = set(), []
    for node in model.graph.node:
        unknown = {o for o in node.output if o not in shapes or any(not d.HasField("dim_value") for d in shapes[o])}
        if unknown and not dynamic & set(node.input):
            found.append(node.op_type)
        dynamic |= unknown
    return found


def integer_nodes(model: Any) -> list[str]:
    """Returns the operators of nodes that compute integers."""
    types = {value.name: value.type.tensor_type.elem_type for value in [*model.graph.value_info, *model.graph.output]}
    return [node.op_type for node in model.graph.node if {types.get(name) for name in node.output} & INTEGERS]


def constant_nodes(model: Any) -> list[str]:
    """Returns the operators of nodes that depend on constants only, which would be computed at every step.

    The casts that the CPU provider needs for float16 do not count.
    """
    constants, found = {tensor.name for tensor in model.graph.initializer} | {""}, []
    for node in model.graph.node:
        if set(node.input) <= constants:
            constants |= set(node.output)
            found.append(node.op_type)
    return [operator for operator in found if operator != "Cast"]


def require_fixed(model: Any) -> None:
    """Asserts that a model's work is known before it runs, as a TensorRT engine and a CUDA graph need it."""
    assert dynamic_nodes(model) == []
    assert integer_nodes(model) == []
    assert constant_nodes(model) == []


@pytest.fixture(scope="module")
def half() -> Callable[[str, str, str], bytes]:
    """Returns the graph of a tiny bundle in a lower precision than fp32: `half(backbone, precision, objective)`."""
    pytest.importorskip("tensorflow")
    from onnxdream.export.bundle import ExportRequest, make_bundle

    layers = {TINY.name: (TINY, LAYERS), TINY_LITE.name: (TINY_LITE, LITE_LAYERS)}

    @cache
    def exported(backbone: str, precision: str, objective: str) -> bytes:
        request = ExportRequest(*layers[backbone], weights="random", precision=precision, objective=objective)
        with unverified():
            return model_for(Bundle.load(make_bundle(request)[0]), CUDA, takes_positions=True)

    return exported


@contextmanager
def compiling() -> Iterator[list[bytes]]:
    """Yields a list of the graphs that are compiled meanwhile."""
    found: list[bytes] = []

    def keep(model: bytes, *rest: Any, **options: Any) -> Any:
        found.append(model)
        return open_session(model, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_builder, "open_session", keep)
        yield found
    assert found


def settings_of_updates() -> Iterator[Settings]:
    """Yields settings that use every part of an update, alone and together."""
    for examples in EXAMPLES.values():
        yield from (Settings(**{"gradient_norm": "none", **example}) for example in examples)
    for optimizer in get_args(OptimizerName):
        yield Settings(optimizer=optimizer, **ALL_PARTS)


@cache
def graphs_of_updates(jitter: int) -> set[bytes]:
    """The graphs of updates with all these settings, without and with a mask."""
    with compiling() as found:
        for settings in settings_of_updates():
            for mask in (None, np.ones(SIZE, np.float32)):
                changed = replace(settings, jitter=jitter)
                GraphUpdate(changed, LIMITS, SIZE, CPU.native_machine, mask, np.eye(3, dtype=np.float32))
    return set(found)


def graphs_of(compile_one: Callable[..., object], *given: Any) -> set[bytes]:
    """The graph that a function compiles."""
    with compiling() as found:
        compile_one(*given, CPU.native_machine)
    return set(found)


@each_table
@each_bundle
def test_every_node_of_a_bundle_has_a_cuda_kernel(path: Path, table: Path) -> None:
    model = model_for(Bundle.load(path), CUDA, takes_positions=True)
    assert without_kernel(onnx.load_from_string(model), table) == []


@each_half
@pytest.mark.parametrize("precision", ["fp16", "mixed"])
def test_every_node_of_a_bundle_in_half_has_a_cuda_kernel(
    backbone: str, precision: str, objective: str, half: Callable[[str, str, str], bytes]
) -> None:
    for table in TABLES:
        assert without_kernel(onnx.load_from_string(half(backbone, precision, objective)), table) == []


def test_every_node_of_the_runtime_s_own_graphs_has_a_cuda_kernel() -> None:
    updates = graphs_of_updates(0) | graphs_of_updates(9)
    for model in {*updates, *graphs_of(compile_roll, SIZE), *graphs_of(compile_loss_row, SIZE, 3), probe()}:
        for table in TABLES:
            assert without_kernel(onnx.load_from_string(model), table) == []


@each_bundle
def test_all_work_of_a_bundle_is_known_before_it_runs(path: Path, tmp_path: Path) -> None:
    """And without positions, nothing of them is left: only they need exponentials."""
    exponentials = []
    for takes_positions in (False, True):
        model = optimized(model_for(Bundle.load(path), CUDA, takes_positions), tmp_path)
        require_fixed(model)
        exponentials.append([node.op_type for node in model.graph.node].count("Exp"))
    assert exponentials[0] == 0 < exponentials[1]


@each_half
@pytest.mark.parametrize("precision", ["fp16", "mixed"])
def test_all_work_of_a_bundle_in_half_is_known_before_it_runs(
    backbone: str, precision: str, objective: str, half: Callable[[str, str, str], bytes], tmp_path: Path
) -> None:
    require_fixed(optimized(half(backbone, precision, objective), tmp_path))


def test_all_work_of_an_update_is_known_before_it_runs(tmp_path: Path) -> None:
    for model in graphs_of_updates(0) | graphs_of(compile_loss_row, SIZE, 3):
        require_fixed(optimized(model, tmp_path))


def test_only_the_slices_of_a_roll_depend_on_the_shift(tmp_path: Path) -> None:
    """The shift is an input: neither a TensorRT engine nor a CUDA graph could hold a roll; CUDA itself can run it."""
    for model in graphs_of_updates(9) | graphs_of(compile_roll, SIZE):
        found = optimized(model, tmp_path)
        assert dynamic_nodes(found) == ["Slice", "Slice"]
        assert integer_nodes(found) == constant_nodes(found) == []


def one_node(operator: str, inputs: dict[str, int], output: int, constants: dict[str, list[int]] | None = None) -> Any:
    """Returns a model with one node."""
    values = [helper.make_tensor_value_info(name, kind, ["height", 4]) for name, kind in inputs.items()]
    stored = [helper.make_tensor(name, TensorProto.INT64, [len(v)], v) for name, v in (constants or {}).items()]
    node = helper.make_node(operator, [*inputs, *(constants or {})], ["y"])
    outputs = [helper.make_tensor_value_info("y", output, None)]
    graph = helper.make_graph([node], "one", values, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


@each_table
def test_a_node_without_a_kernel_is_found(table: Path) -> None:
    single, half, integer = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
    assert without_kernel(one_node("Relu", {"x": single}, single), table) == []
    assert without_kernel(one_node("Relu", {"x": half}, half), table) == []
    assert without_kernel(one_node("Softsign", {"x": integer}, integer), table) == ["Softsign {'T': 'int64'}"]
    assert without_kernel(one_node("Pad", {"x": integer}, integer, {"pads": [0, 0, 1, 1]}), table)
    assert without_kernel(one_node("Tan", {"x": single}, single), table)


def test_work_that_is_not_known_before_a_run_is_found(tmp_path: Path) -> None:
    model = optimized(one_node("NonZero", {"x": TensorProto.FLOAT}, TensorProto.INT64).SerializeToString(), tmp_path)
    assert dynamic_nodes(model) == integer_nodes(model) == ["NonZero"]
    constant = helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0])
    nodes = [helper.make_node("Neg", ["c"], ["d"]), helper.make_node("Add", ["x", "d"], ["y"])]
    assert constant_nodes(helper.make_model(helper.make_graph(nodes, "two", [], [], [constant]))) == ["Neg"]
