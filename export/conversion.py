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
from .objectives import OBJECTIVES, ChannelMeans
from .operators import bias_name, evaluate, kernel_name

OPSET = 17
IR_VERSION = 8


def convert(forward: Forward, layers: tuple[str, ...], objective: str, border: int = 0) -> onnx.ModelProto:
    """An ONNX model that follows the bundle contract, without metadata.

    The weights are inputs of the trace and become initializers afterwards: so TensorFlow and tf2onnx carry none of
    their bytes, cannot fold them into transposed copies, and each is stored once for both directions.
    """
    weights = _weights(forward)
    channels = [forward.channels[layer] for layer in layers]
    function, signature = _trace(forward, layers, OBJECTIVES[objective], border)
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    model, _ = tf2onnx.convert.from_function(
        function, input_signature=signature, opset=OPSET, custom_op_handlers=dict(HANDLERS)
    )
    _refuse_unconverted(model)
    _store_weights(model.graph, weights)
    _declare(model.graph, len(layers), sum(channels))
    default = np.concatenate([np.full(count, 1 / count, np.float32) for count in channels])
    model.graph.initializer.append(numpy_helper.from_array(default, contract.CHANNEL_WEIGHTS))
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


def _trace(
    forward: Forward, layers: tuple[str, ...], channel_means: ChannelMeans, border: int
) -> tuple[Any, list[tf.TensorSpec]]:
    """The function (image, layer_weights, channel_weights, weights…) -> the outputs of the contract; its signature."""
    channels = [forward.channels[layer] for layer in layers]

    def outputs(image: Any, layer_weights: Any, channel_weights: Any, *arrays: Any) -> dict[str, Any]:
        weights = dict(zip(names, arrays, strict=True))
        with tf.GradientTape() as tape:
            tape.watch(image)
            nodes = {IMAGE: image}
            for op in forward.operators:
                nodes[op.name] = evaluate(op, [nodes[name] for name in op.inputs], weights)
            means = [channel_means(nodes[layer], border) for layer in layers]
        per_layer = tf.split(channel_weights, channels) if len(layers) > 1 else [channel_weights]
        losses = [tf.reduce_sum(m * w, axis=1) for m, w in zip(means, per_layer, strict=True)]
        heads = [
            tf.broadcast_to(layer_weights[i] * w, tf.shape(m))
            for i, (m, w) in enumerate(zip(means, per_layer, strict=True))
        ]
        return {
            contract.LOSSES: tf.stack(losses, axis=1),
            contract.GRADIENT: tape.gradient(means, image, output_gradients=heads),
            contract.CHANNEL_MEANS: tf.concat(means, axis=1),
        }

    shapes = {name: array.shape for name, array in _weights(forward).items()}
    names = list(shapes)
    signature = [
        tf.TensorSpec([None, 3, None, None], tf.float32, contract.IMAGE),
        tf.TensorSpec([len(layers)], tf.float32, contract.LAYER_WEIGHTS),
        tf.TensorSpec([sum(channels)], tf.float32, contract.CHANNEL_WEIGHTS),
        *(tf.TensorSpec(shape, tf.float32, name) for name, shape in shapes.items()),
    ]
    return tf.function(outputs), signature


def _refuse_unconverted(model: onnx.ModelProto) -> None:
    foreign = sorted({node.op_type for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    names = {output.name for output in model.graph.output}
    if foreign or names != {contract.LOSSES, contract.GRADIENT, contract.CHANNEL_MEANS}:
        raise ExportError(f"tf2onnx left operators unconverted: {', '.join(foreign) or sorted(names)}")


def _store_weights(graph: onnx.GraphProto, weights: dict[str, NDArray[np.float32]]) -> None:
    """Gives the inputs that stand for weights their values."""
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())


def _declare(graph: onnx.GraphProto, layers: int, channels: int) -> None:
    """Declares the tensors of the contract, in its order, with its dimensions; drops all other inputs."""
    del graph.value_info[:]
    picture: list[str | int] = [contract.BATCH, 3, contract.HEIGHT, contract.WIDTH]
    inputs: dict[str, list[str | int]] = {
        contract.IMAGE: picture,
        contract.LAYER_WEIGHTS: [layers],
        contract.CHANNEL_WEIGHTS: [channels],
    }
    outputs: dict[str, list[str | int]] = {
        contract.LOSSES: [contract.BATCH, layers],
        contract.GRADIENT: picture,
        contract.CHANNEL_MEANS: [contract.BATCH, channels],
    }
    for values, shapes in ((graph.input, inputs), (graph.output, outputs)):
        del values[:]
        values.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, s) for name, s in shapes.items())
    graph.name = "onnxdream"
    graph.doc_string = ""
