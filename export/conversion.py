"""Converts a folded forward graph to an ONNX graph of its losses and their gradient, with TensorFlow and tf2onnx."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tf2onnx.optimizer.const_fold_optimizer import ConstFoldOptimizer
from tf2onnx.optimizer.identity_optimizer import IdentityOptimizer
from tf2onnx.optimizer.merge_duplicated_nodes_optimizer import MergeDuplicatedNodesOptimizer

from ..models import contract
from ..models.contract import IR_VERSION, OPSET
from .errors import ExportError
from .forms.handlers import FORMS, PORTABLE, Form, handlers
from .forward import IMAGE, Convolution, Forward
from .objectives import OBJECTIVES, ChannelMeans, position_window
from .operators import bias_name, kernel_name
from .precision import FP32, Precision
from .rewriting import rewritten

Weights = NDArray[np.floating[Any]]

_OPTIMIZERS = {
    "fold_constants": ConstFoldOptimizer,
    "merge_duplication": MergeDuplicatedNodesOptimizer,
    "remove_identity": IdentityOptimizer,
}


def convert(
    forward: Forward,
    layers: tuple[str, ...],
    objective: str,
    border: int = 0,
    precision: Precision = FP32,
    has_tiny_values: bool = False,
) -> dict[str, onnx.ModelProto]:
    """Converts a graph to ONNX models that follow the bundle contract, without metadata; returns form -> model.

    In a lower precision than fp32, which is meant for GPUs, there is only the portable form. `has_tiny_values` is
    whether activations may be below 2^-23, as in networks that are hardly trained; masks then take longer.

    The weights are inputs of the trace and become initializers afterwards. Thus TensorFlow and tf2onnx do not copy
    their bytes and cannot fold them into transposed copies, and each weight is stored once for both directions. Raises
    ExportError if tf2onnx does not convert an operator.
    """
    forward = rewritten(forward, layers)
    weights = _weights(forward, precision)
    channels = [forward.channels[layer] for layer in layers]
    signature = _signature(sum(channels), len(layers), weights)
    function = _function(forward, layers, OBJECTIVES[objective], border, precision, list(weights))
    trace = _Trace.of(function, signature, list(weights))
    models = {}
    for form in FORMS if precision.is_full else (PORTABLE,):
        model = trace.convert(form, has_tiny_values)
        _refuse_unconverted(model)
        _store_weights(model.graph, weights)
        _declare(model.graph, len(layers), sum(channels))
        model.graph.initializer.extend(_defaults(channels))
        models[form.NAME] = helper.make_model(
            model.graph,
            producer_name="onnxdream",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
    return models


@dataclass(frozen=True)
class _Trace:
    """A traced function that can be converted to each form.

    `names` maps its tensors to the names in its signature and of its outputs.
    """

    graph: Any
    inputs: list[str]
    outputs: list[str]
    names: dict[str, str]

    @classmethod
    def of(cls, function: Any, signature: list[tf.TensorSpec], weights: list[str]) -> _Trace:
        """Traces a TensorFlow function, whose last arguments get the names `weights` in the converted model."""
        concrete = function.get_concrete_function(*signature)
        inputs, outputs = ([tensor.name for tensor in tensors] for tensors in (concrete.inputs, concrete.outputs))
        names = tf2onnx.convert.tensor_names_from_structed(concrete, inputs, outputs)
        names |= zip(inputs[len(inputs) - len(weights) :], weights, strict=True)
        return cls(tf2onnx.tf_loader.from_function(concrete, inputs, outputs), inputs, outputs, names)

    def convert(self, form: Form, has_tiny_values: bool) -> onnx.ModelProto:
        """Converts the trace as `tf2onnx.convert.from_function` does, but with fewer optimizers.

        The others mainly remove Transpose operators. They find nothing to remove here and take minutes on large graphs.
        """
        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(self.graph, name="")
            converted = tf2onnx.tfonnx.process_tf_graph(
                graph,
                opset=OPSET,
                custom_op_handlers=handlers(form, has_tiny_values),
                input_names=self.inputs,
                output_names=self.outputs,
                tensors_to_rename=self.names,
            )
        optimized = tf2onnx.optimizer.optimize_graph(converted, catch_errors=False, optimizers=dict(_OPTIMIZERS))
        return optimized.make_model("onnxdream")


def _weights(forward: Forward, precision: Precision) -> dict[str, Weights]:
    """Returns the kernels, OIHW, and the biases, [O], by name, in the type of the precision's convolutions."""
    weights, dtype = {}, precision.convolutions.as_numpy_dtype
    for op in forward.operators:
        if isinstance(op, Convolution):
            weights[kernel_name(op)] = np.ascontiguousarray(op.kernel.transpose(3, 2, 0, 1), dtype)
            weights[bias_name(op)] = op.bias.astype(dtype)
    return weights


def _function(
    forward: Forward,
    layers: tuple[str, ...],
    channel_means: ChannelMeans,
    border: int,
    precision: Precision,
    names: list[str],
) -> Any:
    """Returns the function (image, layer_weights, channel_weights, position, weights …) -> the contract's outputs.

    `names` are the names of the weights, in the order of the arguments.
    """
    channels = [forward.channels[layer] for layer in layers]

    def outputs(image: Any, layer_weights: Any, channel_weights: Any, position: Any, *arrays: Any) -> dict[str, Any]:
        weights = dict(zip(names, arrays, strict=True))
        with tf.GradientTape() as image_tape:
            image_tape.watch(image)
            nodes = {IMAGE: tf.cast(image, precision.others)}
            for op in forward.operators:
                nodes[op.name] = precision.evaluate(op, [nodes[name] for name in op.inputs], weights)
            activations = [tf.cast(nodes[layer], tf.float32) for layer in layers]
        with tf.GradientTape() as layer_tape:
            layer_tape.watch(activations)
            windows = [
                position_window(tf.gather(position, i), activation) if forward.stride(layer) else None
                for i, (layer, activation) in enumerate(zip(layers, activations, strict=True))
            ]
            means = [channel_means(a, window, border) for a, window in zip(activations, windows, strict=True)]
        per_layer = tf.split(channel_weights, channels, axis=1) if len(layers) > 1 else [channel_weights]
        losses = [tf.reduce_sum(m * w, axis=1) for m, w in zip(means, per_layer, strict=True)]
        mean_gradients = [
            tf.ones_like(m) * (layer_weights[i] * w) for i, (m, w) in enumerate(zip(means, per_layer, strict=True))
        ]
        output_gradients = layer_tape.gradient(means, activations, output_gradients=mean_gradients)
        return {
            contract.LOSSES: tf.stack(losses, axis=1),
            contract.GRADIENT: precision.gradient(image_tape, activations, image, output_gradients),
            contract.CHANNEL_MEANS: tf.concat(means, axis=1),
        }

    return tf.function(outputs, autograph=False)


def _signature(channels: int, layers: int, weights: dict[str, Weights]) -> list[tf.TensorSpec]:
    """Returns the inputs of the function: the inputs of the contract, then the weights.

    TensorFlow allows fewer characters in names than Keras does in those of layers, so the weights have numbers.
    """
    return [
        tf.TensorSpec([None, 3, None, None], tf.float32, contract.IMAGE),
        tf.TensorSpec([layers], tf.float32, contract.LAYER_WEIGHTS),
        tf.TensorSpec([None, channels], tf.float32, contract.CHANNEL_WEIGHTS),
        tf.TensorSpec([layers, 3], tf.float32, contract.POSITION),
        *(tf.TensorSpec(array.shape, array.dtype, f"weight{i}") for i, array in enumerate(weights.values())),
    ]


def _defaults(channels: list[int]) -> list[onnx.TensorProto]:
    """Returns the default values of the inputs that have one; `channels` are those of each layer."""
    plain = np.concatenate([np.full(count, 1 / count, np.float32) for count in channels])[None]
    everywhere = np.tile(np.array(contract.EVERYWHERE, np.float32), (len(channels), 1))
    return [
        numpy_helper.from_array(plain, contract.CHANNEL_WEIGHTS),
        numpy_helper.from_array(everywhere, contract.POSITION),
    ]


def _refuse_unconverted(model: onnx.ModelProto) -> None:
    """Raises ExportError for operators that are not plain ONNX, and for missing outputs."""
    foreign = sorted({node.op_type for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    names = {output.name for output in model.graph.output}
    if foreign or names != {contract.LOSSES, contract.GRADIENT, contract.CHANNEL_MEANS}:
        raise ExportError(
            f"tf2onnx left operators unconverted: {', '.join(foreign or sorted(names))}; please report it"
        )


def _store_weights(graph: onnx.GraphProto, weights: dict[str, Weights]) -> None:
    """Stores the weights as initializers with the names of the inputs that were traced in their place."""
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())


def _declare(graph: onnx.GraphProto, layers: int, channels: int) -> None:
    """Declares the inputs and outputs of the contract in its order, with its dimensions; drops all other inputs."""
    del graph.value_info[:]
    picture: list[str | int] = [contract.BATCH, 3, contract.HEIGHT, contract.WIDTH]
    inputs: dict[str, list[str | int]] = {
        contract.IMAGE: picture,
        contract.LAYER_WEIGHTS: [layers],
        contract.CHANNEL_WEIGHTS: [contract.WEIGHTS_BATCH, channels],
        contract.POSITION: [layers, 3],
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
