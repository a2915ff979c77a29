"""Emulation of float16 by a float32 graph that rounds, to show on a CPU what float16 does on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper


def emulate_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph in float32, with every tensor that was float16 rounded to the values of float16.

    It computes as GPUs do, which accumulate in float32 and round the result. onnxruntime's CPU provider does not: it
    has few float16 kernels, inserts casts around the other operators and then removes these casts in pairs, so that
    only the weights are rounded and nothing overflows. It keeps the casts here, because they belong to the graph.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    half = {value.name for value in inferred.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes = [new for node in graph.node for new in _rounding(node, half)]
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _rounding(node: NodeProto, half: set[str]) -> Iterator[NodeProto]:
    """Yields the node, computing in float32, and the casts that round its outputs."""
    casts = []
    for i, name in enumerate(node.output):
        if name in half:
            node.output[i] = f"{name}/exact"
            casts.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/half"], to=TensorProto.FLOAT16))
            casts.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
    yield node
    yield from casts
