"""The objectives: the mean of each channel of a layer, with its gradient, traced in TensorFlow.

A layer's loss is the weighted sum of its channels' means. With equal weights, 1 / channels, it is the layer's mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any
# A radius, as a part of the picture, that is small enough for any layer and large enough to divide by.
_SMALLEST_RADIUS = 1e-6
# Activation, window of the position or None, border -> means.
ChannelMeans = Callable[[Tensor, "Tensor | None", int], Tensor]


def mean(activation: Tensor, window: Tensor | None, border: int) -> Tensor:
    """Mean activation of each channel (TensorFlow's DeepDream tutorial; our reading of the paper's loss).

    float32 [batch, C, H, W] -> [batch, C]. `window`, float32 [1, 1, H, W], weights the activations; None leaves them as
    they are. The outermost `border` rows and columns count as zeros: the sum is still divided by H * W, as in Keras's
    example.
    """

    @tf.custom_gradient
    def means(a: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def gradient(dmeans: Tensor) -> Tensor:
            share = _per_pixel(dmeans, a)
            if window is not None:
                return _with_border(share * _inside(window, border), border)
            return _with_border(tf.broadcast_to(share, tf.shape(_inside(a, border))), border)

        return _mean(_weighted(a, window), border), gradient

    return means(activation)


def l2(activation: Tensor, window: Tensor | None, border: int) -> Tensor:
    """Mean of the squared activation of each channel (Caffe's deepdream, Keras's example); arguments as for `mean`."""

    @tf.custom_gradient
    def means(a: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def gradient(dmeans: Tensor) -> Tensor:
            return _with_border(_inside(_weighted(a, window), border) * _per_pixel(2.0 * dmeans, a), border)

        return _mean(_weighted(a * a, window), border), gradient

    return means(activation)


def position_window(position: Tensor, activation: Tensor) -> Tensor:
    """Returns the weights of a layer's neurons around a position, float32 [1, 1, H, W], whose mean is 1.

    `position` is float32 [3]: y, x and radius, as `contract` defines them. The weights are a Gaussian, relative to its
    value at the nearest neuron, so that the nearest neuron keeps a weight, however small the radius is.
    """
    lengths = tf.cast(tf.shape(activation)[2:], tf.float32)
    # Gather instead of slices, and sums with their dimensions kept: OpenVINO leaves slices of vectors to others.
    y, x, radius = (tf.gather(position, index) for index in range(3))
    radius = tf.maximum(radius, _SMALLEST_RADIUS) * tf.reduce_min(lengths)
    rows, columns = (_axis_weights(centre, tf.gather(lengths, axis), radius) for axis, centre in enumerate((y, x)))
    return (rows[:, None] * columns)[None, None]


def _axis_weights(centre: Tensor, length: Tensor, radius: Tensor) -> Tensor:
    """Returns the weights along an axis, float32 [length]; `radius` is in neurons, `centre` a part of the length."""
    distances = (tf.range(length) + 0.5 - centre * length) / radius
    squares = distances * distances
    weights = tf.exp((tf.reduce_min(squares) - squares) / 2)
    return weights * (length / tf.reduce_sum(weights, keepdims=True))


def _weighted(values: Tensor, window: Tensor | None) -> Tensor:
    return values if window is None else values * window


def _inside(a: Tensor, border: int) -> Tensor:
    """Crops the border of NCHW activations."""
    return a[:, :, border:-border, border:-border] if border else a


def _with_border(a: Tensor, border: int) -> Tensor:
    """Pads NCHW activations with a border of zeros."""
    return tf.pad(a, [[0, 0], [0, 0], [border, border], [border, border]]) if border else a


def _mean(a: Tensor, border: int) -> Tensor:
    """Returns the mean of each channel, NCHW -> [batch, C]; the border counts as zeros."""
    if not border:
        return tf.reduce_mean(a, axis=[2, 3])
    inside = _inside(a, border)
    return tf.reduce_mean(inside, axis=[2, 3]) * (_pixels(inside) / _pixels(a))


def _pixels(a: Tensor) -> Tensor:
    """Returns H * W of NCHW activations, a float32 scalar."""
    return tf.cast(tf.reduce_prod(tf.shape(a)[2:]), tf.float32)


def _per_pixel(dmeans: Tensor, a: Tensor) -> Tensor:
    """Returns the share of each pixel in the gradient of the means: [batch, C] -> [batch, C, 1, 1]."""
    return (dmeans / _pixels(a))[:, :, None, None]


OBJECTIVES: dict[str, ChannelMeans] = {"mean": mean, "l2": l2}
