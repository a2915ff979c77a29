"""The forward operators in TensorFlow, NCHW, each with a gradient that converts to plain ONNX.

TensorFlow's own gradients of these operators do not convert, since ShapeN, ConcatOffset, Tile and others have no ONNX
equivalent. So each operator gets a `tf.custom_gradient` built from operators that tf2onnx or `forms.handlers` converts.
The functions are only traced, never run: TensorFlow has no NCHW kernels on a CPU. Kernels are OIHW, as in the bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import tensorflow as tf

from .activations import FUNCTIONS
from .forward import (
    Activation,
    AveragePool,
    ChannelNorm,
    Concat,
    Convolution,
    GlobalMean,
    Identity,
    MaxPool,
    Operator,
    Pad,
    Product,
    Relu,
    Relu6,
    ReluMask,
    Scale,
    Sum,
    Upsample,
    WindowOperator,
)

Tensor = Any


@singledispatch
def evaluate(op: Operator, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    """Adds an operator to the trace and returns its output.

    `inputs` and the output are NCHW, of one float type. `weights` maps the names of kernels, OIHW, and biases, [O], to
    tensors of this type.
    """
    raise NotImplementedError(type(op).__name__)


@evaluate.register
def _(op: Scale, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    scale, offset = (tf.constant(value, inputs[0].dtype) for value in (op.scale, op.offset))

    @tf.custom_gradient
    def scaled(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return x * scale + offset, lambda dy: dy * scale

    return scaled(inputs[0])


@evaluate.register
def _(op: Convolution, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    kernel, bias = tf.transpose(weights[kernel_name(op)], [2, 3, 1, 0]), weights[bias_name(op)]
    has_margins = any(op.margins)
    window = {
        "strides": [1, 1, *op.strides],
        "padding": "EXPLICIT" if has_margins else op.padding,
        "explicit_paddings": [0, 0, 0, 0, *op.margins] if has_margins else [],
        "dilations": [1, 1, *op.dilation],
        "data_format": "NCHW",
    }

    @tf.custom_gradient
    def convolution(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def gradient(dy: Tensor) -> Tensor:
            return tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, **window)

        y = tf.raw_ops.Conv2D(input=x, filter=kernel, **window)
        return tf.nn.bias_add(y, bias, data_format="NCHW"), gradient

    return convolution(inputs[0])


@evaluate.register
def _(op: Relu, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    @tf.custom_gradient
    def relu(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        y = tf.nn.relu(x)
        # The mask is computed from the output: with a mask of x, onnxruntime could not fuse Conv and Relu.
        return y, lambda dy: tf.raw_ops.ReluGrad(gradients=dy, features=y) if op.masks else dy

    return relu(inputs[0])


@evaluate.register
def _(op: Relu6, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    @tf.custom_gradient
    def relu6(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        y = tf.nn.relu6(x)
        return y, lambda dy: tf.raw_ops.Relu6Grad(gradients=dy, features=y)

    return relu6(inputs[0])


@evaluate.register
def _(op: Activation, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    function = FUNCTIONS[op.function]

    @tf.custom_gradient
    def activation(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        y = function.value(x, *op.parameters)
        return y, lambda dy: dy * function.slope(x, y, *op.parameters)

    return activation(inputs[0])


@evaluate.register
def _(op: ReluMask, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    @tf.custom_gradient
    def mask(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        y = tf.identity(x)
        return y, lambda dy: tf.raw_ops.ReluGrad(gradients=dy, features=y)

    return mask(inputs[0])


@evaluate.register
def _(op: MaxPool, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    window = _pooling(op)

    @tf.custom_gradient
    def max_pool(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        y = tf.nn.max_pool2d(x, **window)
        return y, lambda dy: tf.raw_ops.MaxPoolGrad(orig_input=x, orig_output=y, grad=dy, **window)

    return max_pool(inputs[0])


@evaluate.register
def _(op: AveragePool, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    window = _pooling(op)

    @tf.custom_gradient
    def average_pool(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        y = tf.nn.avg_pool2d(x, **window)
        return y, lambda dy: tf.raw_ops.AvgPoolGrad(orig_input_shape=tf.shape(x), grad=dy, **window)

    return average_pool(inputs[0])


def _pooling(op: WindowOperator) -> dict[str, Any]:
    """Returns TensorFlow's arguments of a pooling and of its gradient."""
    return {
        "ksize": [1, 1, *op.window],
        "strides": [1, 1, *op.strides],
        "padding": op.padding,
        "data_format": "NCHW",
    }


@evaluate.register
def _(op: Pad, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    top, bottom, left, right = op.margins

    @tf.custom_gradient
    def padded(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def gradient(dy: Tensor) -> Tensor:
            return tf.slice(dy, [0, 0, top, left], tf.shape(x))

        # tf2onnx would move the padding of a plain Pad into a convolution behind it, past this package's handlers.
        margins = [[0, 0], [0, 0], [top, bottom], [left, right]]
        return tf.raw_ops.PadV2(input=x, paddings=margins, constant_values=tf.zeros([], x.dtype)), gradient

    return padded(inputs[0])


@evaluate.register
def _(op: Upsample, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    down, right = op.factor
    channels = inputs[0].shape[1]

    @tf.custom_gradient
    def upsampled(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        batch, _, height, width = tf.unstack(tf.shape(x))
        blocks = tf.stack([batch, channels, height, down, width, right])

        def gradient(dy: Tensor) -> Tensor:
            return tf.reduce_sum(tf.reshape(dy, blocks), axis=[3, 5])

        whole = tf.stack([batch, channels, height * down, width * right])
        return tf.reshape(tf.broadcast_to(x[:, :, :, None, :, None], blocks), whole), gradient

    return upsampled(inputs[0])


@evaluate.register
def _(op: ChannelNorm, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    epsilon = tf.constant(op.epsilon, inputs[0].dtype)

    @tf.custom_gradient
    def normalized(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        centred = x - _channel_mean(x)
        inverse = tf.math.rsqrt(_channel_mean(centred * centred) + epsilon)
        y = centred * inverse

        def gradient(dy: Tensor) -> Tensor:
            return (dy - _channel_mean(dy) - y * _channel_mean(dy * y)) * inverse

        return y, gradient

    return normalized(inputs[0])


def _channel_mean(x: Tensor) -> Tensor:
    """Returns the mean of the channels of each pixel: NCHW -> [batch, 1, H, W]."""
    return tf.reduce_mean(x, axis=1, keepdims=True)


@evaluate.register
def _(op: Product, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    @tf.custom_gradient
    def product(x: Tensor, y: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        def gradient(dz: Tensor) -> tuple[Tensor, ...]:
            of_factors = dz * y, dz * x
            if op.points[0] == op.points[1]:
                return of_factors
            return tuple(
                tf.reduce_sum(of_factor, axis=[2, 3], keepdims=True) if is_point else of_factor
                for of_factor, is_point in zip(of_factors, op.points, strict=True)
            )

        return x * y, gradient

    return product(*inputs)


@evaluate.register
def _(op: Concat, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    channels = [x.shape[1] for x in inputs]

    @tf.custom_gradient
    def concat(*xs: Tensor) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
        return tf.concat(xs, axis=1), lambda dy: tf.split(dy, channels, axis=1)

    return concat(*inputs)


@evaluate.register
def _(op: Sum, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    @tf.custom_gradient
    def total(*xs: Tensor) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
        return tf.add_n(xs), lambda dy: [dy] * len(xs)

    return total(*inputs)


@evaluate.register
def _(op: Identity, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    return inputs[0]


@evaluate.register
def _(op: GlobalMean, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    @tf.custom_gradient
    def mean(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def gradient(dy: Tensor) -> Tensor:
            pixels = tf.cast(tf.reduce_prod(tf.shape(x)[2:]), tf.float32)  # float16 counts to 65504
            return tf.broadcast_to(tf.cast(tf.cast(dy, tf.float32) / pixels, x.dtype), tf.shape(x))

        return tf.reduce_mean(x, axis=[2, 3], keepdims=True), gradient

    return mean(inputs[0])


def kernel_name(op: Convolution) -> str:
    """Returns the name of a convolution's kernel in the trace and in the bundle."""
    return f"{op.name}/kernel"


def bias_name(op: Convolution) -> str:
    """Returns the name of a convolution's bias in the trace and in the bundle."""
    return f"{op.name}/bias"
