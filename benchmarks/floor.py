"""The floor, a lower bound of the time of a step: only the convolutions, on onnxruntime's CPU provider.

The model has every convolution of the folded forward graph, with its ReLU or ReLU6 if it has one, and every
convolution's gradient with respect to its input: for stride 1 a convolution with the flipped kernel, otherwise a
transposed one. They are built from the forward graph and not from the bundle, so that changes of the bundle's graph do
not move the floor.

The convolutions are independent nodes of one model, with inputs of their real shapes. onnxruntime's profile reports how
long each kernel ran, in the blocked layout of the real graph and without the nodes that convert to it. No real graph
can be faster with the same kernels, because here convolutions share inputs, and every sum, mask, pooling and
concatenation is left out.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from rows import Case, WidthHeight

from onnxdream.models.arrays import Floats

Shape = tuple[int, int, int]  # channels, height, width
# Runs that are not counted: a session's first runs have cold caches and allocate memory.
_WARM_UP = 3
_KERNELS = ("Conv", "FusedConv", "ConvTranspose")


class Floor:
    """The system `floor`; its step is one run of every convolution, and its time that of their kernels."""

    def __init__(self, case: Case, threads: int) -> None:
        facts = json.loads((case.folder / "forward.json").read_text())
        with np.load(case.folder / "forward.npz") as arrays:
            self._model = build_model(facts["operators"], dict(arrays), case.size)
        self._threads = threads
        rng = np.random.default_rng(0)
        shapes = {value.name: _shape(value) for value in self._model.graph.input}
        self._feed = {
            name: ort.OrtValue.ortvalue_from_numpy(rng.standard_normal(shape, np.float32))
            for name, shape in shapes.items()
        }

    def step_seconds(self, count: int) -> list[float]:
        """Returns the kernel seconds of each of `count` runs, after some that are not counted."""
        with tempfile.TemporaryDirectory() as folder:
            options = ort.SessionOptions()
            options.intra_op_num_threads = self._threads
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "floor")
            options.add_session_config_entry("session.set_denormal_as_zero", "1")
            session = ort.InferenceSession(self._model.SerializeToString(), options, ["CPUExecutionProvider"])
            names = [value.name for value in self._model.graph.output]
            for _ in range(_WARM_UP + count):
                session.run_with_ort_values(names, self._feed)
            events = json.loads(Path(session.end_profiling()).read_text())
        return kernel_seconds(events)[_WARM_UP:]

    def versions(self) -> dict[str, str]:
        """Returns the version of onnxruntime."""
        return {"onnxruntime": ort.__version__}


def build_model(operators: list[dict[str, Any]], arrays: dict[str, Floats], size: WidthHeight) -> onnx.ModelProto:
    """Builds a model of every convolution and its gradient; those with the same input shape share a graph input.

    `operators` and `arrays` are the contents of the fixtures `forward.json` and `forward.npz`.
    """
    graph = _GraphBuilder()
    activations = {op["inputs"][0]: op["kind"] for op in operators if op["kind"] in ("Relu", "Relu6")}
    shapes = dict(_shapes(operators, arrays, size))
    for op in operators:
        if op["kind"] == "Convolution":
            kernel, bias = arrays[f"{op['name']}/kernel"], arrays[f"{op['name']}/bias"]
            x, y = shapes[op["inputs"][0]], shapes[op["name"]]
            graph.forward(op, kernel, bias, x, activations.get(op["name"]))
            graph.backward(op, kernel, x, y)
    return graph.model()


def kernel_seconds(events: list[dict[str, Any]]) -> list[float]:
    """Returns, for each run in a profile of onnxruntime, the seconds of all its convolution kernels together."""
    runs = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == "model_run")
    kernels = [
        event for event in events if event["name"].endswith("_kernel_time") and event["args"].get("op_name") in _KERNELS
    ]
    return [sum(event["dur"] for event in kernels if start <= event["ts"] < end) / 1e6 for start, end in runs]


class _GraphBuilder:
    """Collects the nodes, weights, inputs and outputs of the model."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: dict[Shape, str] = {}
        self.outputs: list[str] = []

    def forward(self, op: dict[str, Any], kernel: Floats, bias: Floats, shape: Shape, activation: str | None) -> None:
        """Adds a convolution of an input of this shape, with its activation.

        `kernel` is [output channels, input channels of a group, height, width], `bias` [output channels].
        """
        names = [
            self._input(shape),
            self._weight(f"{op['name']}/kernel", kernel),
            self._weight(f"{op['name']}/bias", bias),
        ]
        output = f"{op['name']}/forward"
        self._add("Conv", names, output, strides=op["strides"], pads=_pads(op, shape), group=op["groups"])
        if activation == "Relu":
            self._add("Relu", [output], f"{output}/activation")
        elif activation == "Relu6":
            limits = [self._weight(f"{output}/{limit}", np.array(limit, np.float32)) for limit in (0, 6)]
            self._add("Clip", [output, *limits], f"{output}/activation")
        self.outputs.append(f"{output}/activation" if activation else output)

    def backward(self, op: dict[str, Any], kernel: Floats, shape: Shape, output_shape: Shape) -> None:
        """Adds the gradient of a convolution whose input and output have these shapes."""
        name, pads, groups = f"{op['name']}/backward", _pads(op, shape), op["groups"]
        dy = self._input(output_shape)
        if op["strides"] == [1, 1]:
            flipped = self._weight(f"{op['name']}/flipped", _flipped(kernel, groups))
            pads = [side - 1 - pad for side, pad in zip(kernel.shape[2:] * 2, pads, strict=True)]
            self._add("Conv", [dy, flipped], name, pads=pads, group=groups)
        else:
            names = [dy, f"{op['name']}/kernel"]
            self._add("ConvTranspose", names, name, strides=op["strides"], pads=pads, group=groups)
        self.outputs.append(name)

    def model(self) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *shape)) for shape, name in self.inputs.items()
        ]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "floor", inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def _input(self, shape: Shape) -> str:
        return self.inputs.setdefault(shape, "x{}x{}x{}".format(*shape))

    def _weight(self, name: str, array: Floats) -> str:
        self.weights.append(numpy_helper.from_array(array, name))
        return name


def _shapes(
    operators: list[dict[str, Any]], arrays: dict[str, Floats], size: WidthHeight
) -> Iterator[tuple[str, Shape]]:
    """Yields the name and the shape of the image and of every operator's output."""
    shapes: dict[str, Shape] = {"image": (3, size[1], size[0])}
    yield "image", shapes["image"]
    for op in operators:
        inputs = [shapes[name] for name in op["inputs"]]
        channels, height, width = inputs[0]
        if op["kind"] == "Concat":
            channels = sum(shape[0] for shape in inputs)
        if op["kind"] == "Convolution":
            channels = arrays[f"{op['name']}/kernel"].shape[0]
        if "window" in op:
            axes = zip((height, width), op["window"], op["strides"], strict=True)
            height, width = (
                -(-side // stride) if op["same"] else (side - window) // stride + 1 for side, window, stride in axes
            )
        if op["kind"] == "GlobalMean":
            height = width = 1
        shapes[op["name"]] = (channels, height, width)
        yield op["name"], shapes[op["name"]]


def _pads(op: dict[str, Any], shape: Shape) -> list[int]:
    """Returns ONNX's pads for an input of this shape; TensorFlow's SAME padding puts an odd zero behind it."""
    if not op["same"]:
        return [0] * 4
    axes = zip(shape[1:], op["window"], op["strides"], strict=True)
    totals = [max((-(-side // stride) - 1) * stride + window - side, 0) for side, window, stride in axes]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]


def _flipped(kernel: Floats, groups: int) -> Floats:
    """Returns a kernel flipped vertically and horizontally, with each group's input and output channels swapped."""
    outputs, inputs, height, width = kernel.shape
    per_group = kernel[:, :, ::-1, ::-1].reshape(groups, outputs // groups, inputs, height, width)
    swapped = per_group.swapaxes(1, 2).reshape(groups * inputs, outputs // groups, height, width)
    return np.ascontiguousarray(swapped)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
