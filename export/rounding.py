"""A float16 graph as a float32 one that rounds: for telling, on a CPU, what float16 does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper


def emulate_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in float32, where every tensor that was float16 is rounded to what float16 holds.

    It computes as GPUs do, which add up in float32 and round the result. onnxruntime's CPU provider does not: it has
    hardly a float16 kernel, puts casts around the operators and then drops these casts in pairs, so that nothing
    but the weights is ever rounded, and nothing overflows. The casts here are the graph's own, which it keeps.
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
    """The node in float32 and the casts behind it."""
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
