"""The objectives: the mean of each channel of a layer, with its gradient, traced in TensorFlow.

A layer's loss is the weighted sum of its channels' means. With equal weights, 1 / channels, it is the layer's mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any
ChannelMeans = Callable[[Tensor, int], Tensor]


def mean(activation: Tensor, border: int) -> Tensor:
    """Mean activation of each channel (TensorFlow's DeepDream tutorial; our reading of the paper's loss).

    float32 [batch, C, H, W] -> [batch, C]. The outermost `border` rows and columns count as zeros: the sum is still
    divided by H * W, as in Keras's example.
    """

    @tf.custom_gradient
    def means(a: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def gradient(dmeans: Tensor) -> Tensor:
            inside = tf.shape(_inside(a, border))
            return _with_border(tf.broadcast_to(_per_pixel(dmeans, a), inside), border)

        return _mean(a, border), gradient

    return means(activation)


def l2(activation: Tensor, border: int) -> Tensor:
    """Mean of the squared activation of each channel (Caffe's deepdream, Keras's example); shapes as `mean`."""

    @tf.custom_gradient
    def means(a: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def gradient(dmeans: Tensor) -> Tensor:
            inside = _inside(a, border)
            da = inside * tf.broadcast_to(_per_pixel(2.0 * dmeans, a), tf.shape(inside))
            return _with_border(da, border)

        return _mean(a * a, border), gradient

    return means(activation)


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
