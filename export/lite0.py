"""EfficientNet-Lite0 in Keras, which has no builder for it.

The network is Google's EfficientNet-B0 for edge devices: without squeeze-and-excitation, with ReLU6 in place of swish,
and with a stem and a head that do not scale
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite; the blocks: Tan and Le 2019,
arXiv:1905.11946, and Sandler et al. 2018, arXiv:1801.04381).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

_STEM_CHANNELS, _HEAD_CHANNELS, _CLASSES = 32, 1280, 1000
_EPSILON = 0.001


@dataclass(frozen=True)
class _Stage:
    """Consecutive blocks of one kind; only the first has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def build(include_top: bool, weights: str | None, input_shape: tuple[int | None, ...]) -> Any:
    """Builds the Keras model; `weights` must be None.

    The layers `block00` … `block15` are the outputs of the blocks and, with `include_top`, `logits` the scores of the
    classes before their softmax. The input is (pixel - 127) / 128.
    """
    assert weights is None, "the weights come from a file"
    image = keras.Input(input_shape)
    x = _normalized(layers.Conv2D(_STEM_CHANNELS, 3, 2, "same", use_bias=False, name="stem")(image), "stem", True)
    number = 0
    for stage in _STAGES:
        for stride in (stage.stride, *[1] * (stage.blocks - 1)):
            x = _block(x, f"block{number:02d}", stage, stride)
            number += 1
    x = _convolution(x, _HEAD_CHANNELS, "head", activated=True)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="mean")(x)
        x = layers.Identity(name="logits")(layers.Dense(_CLASSES, name="classifier")(x))
    return keras.Model(image, x, name="efficientnet_lite0")


def _block(x: Any, name: str, stage: _Stage, stride: int) -> Any:
    """An inverted residual: expanded by a 1x1 convolution, filtered channel by channel, projected to fewer channels."""
    inputs, channels = x, x.shape[3]
    if stage.expansion > 1:
        x = _convolution(x, channels * stage.expansion, f"{name}_expand", activated=True)
    filtered = layers.DepthwiseConv2D(stage.kernel, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _normalized(filtered, f"{name}_depthwise", True)
    x = _convolution(x, stage.channels, f"{name}_project", activated=False)
    if stride == 1 and channels == stage.channels:
        return layers.Add(name=name)([x, inputs])
    return layers.Identity(name=name)(x)


def _convolution(x: Any, channels: int, name: str, activated: bool) -> Any:
    """A 1x1 convolution with its normalization."""
    return _normalized(layers.Conv2D(channels, 1, use_bias=False, name=name)(x), name, activated)


def _normalized(x: Any, name: str, activated: bool) -> Any:
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_normalization")(x)
    return layers.ReLU(6, name=f"{name}_relu")(x) if activated else x
