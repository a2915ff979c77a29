"""What a layer's loss is, with its gradient: both are NCHW [batch, C, H, W] -> [batch], traced in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any


@tf.custom_gradient
def mean(activation: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Mean activation of each picture (TensorFlow's DeepDream tutorial; our reading of the paper's loss)."""

    def gradient(dloss: Tensor) -> Tensor:
        return tf.broadcast_to(_per_element(dloss, activation), tf.shape(activation))

    return tf.reduce_mean(activation, axis=[1, 2, 3]), gradient


@tf.custom_gradient
def l2(activation: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Mean of the squared activation of each picture (Caffe's deepdream, Keras's example)."""

    def gradient(dloss: Tensor) -> Tensor:
        return activation * _per_element(2.0 * dloss, activation)

    return tf.reduce_mean(tf.square(activation), axis=[1, 2, 3]), gradient


def _per_element(dloss: Tensor, activation: Tensor) -> Tensor:
    elements = tf.cast(tf.reduce_prod(tf.shape(activation)[1:]), tf.float32)
    return tf.reshape(dloss / elements, [-1, 1, 1, 1])


OBJECTIVES: dict[str, Callable[[Tensor], Tensor]] = {"mean": mean, "l2": l2}
