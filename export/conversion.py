"""From a folded forward graph to an ONNX graph of its losses and their gradient, by TensorFlow and tf2onnx."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ..models import contract
from .errors import ExportError
from .forward import IMAGE, Convolution, Forward
from .handlers import HANDLERS
from .objectives import OBJECTIVES
from .operators import bias_name, evaluate, kernel_name

OPSET = 17
IR_VERSION = 8


def convert(forward: Forward, layers: tuple[str, ...], objective: str) -> onnx.ModelProto:
    """An ONNX model that follows the bundle contract, without metadata.

    The weights are inputs of the trace and become initializers afterwards: so TensorFlow and tf2onnx carry none of
    their bytes, cannot fold them into transposed copies, and each is stored once for both directions.
    """
    weights = _weights(forward)
    function, signature = _trace(forward, layers, objective)
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    model, _ = tf2onnx.convert.from_function(
        function, input_signature=signature, opset=OPSET, custom_op_handlers=dict(HANDLERS)
    )
    _refuse_unconverted(model)
    _store_weights(model.graph, weights)
    _name_dimensions(model.graph, len(layers))
    return helper.make_model(
        model.graph,
        producer_name="onnxdream",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


def _weights(forward: Forward) -> dict[str, NDArray[np.float32]]:
    """Kernels, OIHW, and biases by name."""
    weights = {}
    for op in forward.operators:
        if isinstance(op, Convolution):
            weights[kernel_name(op)] = np.ascontiguousarray(op.kernel.transpose(3, 2, 0, 1))
            weights[bias_name(op)] = op.bias
    return weights


def _trace(forward: Forward, layers: tuple[str, ...], objective: str) -> tuple[Any, list[tf.TensorSpec]]:
    """The function (image, layer_weights, weights…) -> losses, gradient, and its signature."""
    loss_of = OBJECTIVES[objective]

    def losses_and_gradient(image: Any, layer_weights: Any, *arrays: Any) -> dict[str, Any]:
        weights = dict(zip(names, arrays, strict=True))
        with tf.GradientTape() as tape:
            tape.watch(image)
            nodes = {IMAGE: image}
            for op in forward.operators:
                nodes[op.name] = evaluate(op, [nodes[name] for name in op.inputs], weights)
            losses = [loss_of(nodes[layer]) for layer in layers]
        batch = tf.shape(image)[:1]
        heads = [tf.fill(batch, layer_weights[i]) for i in range(len(layers))]
        gradient = tape.gradient(losses, image, output_gradients=heads)
        return {contract.LOSSES: tf.stack(losses, axis=1), contract.GRADIENT: gradient}

    shapes = {name: array.shape for name, array in _weights(forward).items()}
    names = list(shapes)
    signature = [
        tf.TensorSpec([None, 3, None, None], tf.float32, contract.IMAGE),
        tf.TensorSpec([len(layers)], tf.float32, contract.LAYER_WEIGHTS),
        *(tf.TensorSpec(shape, tf.float32, name) for name, shape in shapes.items()),
    ]
    return tf.function(losses_and_gradient), signature


def _refuse_unconverted(model: onnx.ModelProto) -> None:
    foreign = sorted({node.op_type for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    names = {output.name for output in model.graph.output}
    if foreign or names != {contract.LOSSES, contract.GRADIENT}:
        raise ExportError(f"tf2onnx left operators unconverted: {', '.join(foreign) or sorted(names)}")


def _store_weights(graph: onnx.GraphProto, weights: dict[str, NDArray[np.float32]]) -> None:
    """Gives the inputs that stand for weights their values."""
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())


def _name_dimensions(graph: onnx.GraphProto, layers: int) -> None:
    """Declares the four tensors of the contract, in its order, with its dimensions; drops all other inputs."""
    del graph.value_info[:]
    picture: list[str | int] = [contract.BATCH, 3, contract.HEIGHT, contract.WIDTH]
    shapes: dict[str, list[str | int]] = {
        contract.IMAGE: picture,
        contract.GRADIENT: picture,
        contract.LAYER_WEIGHTS: [layers],
        contract.LOSSES: [contract.BATCH, layers],
    }
    for values, names in (
        (graph.input, (contract.IMAGE, contract.LAYER_WEIGHTS)),
        (graph.output, (contract.LOSSES, contract.GRADIENT)),
    ):
        del values[:]
        values.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes[name]) for name in names)
    graph.name = "onnxdream"
    graph.doc_string = ""
