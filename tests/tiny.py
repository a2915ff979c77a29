"""Two backbones with few channels that contain every kind of operator of the real ones."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from onnxdream.models.backbones import Backbone, Download
from onnxdream.models.preprocessing import Preprocessing

LAYERS = ("low", "mid", "high")
LITE_LAYERS = ("low", "mid", "high", "logits")

TINY = Backbone(
    name="tiny",
    aliases=("tiny-net",),
    title="Tiny net",
    builder="tiny:build",  # pytest puts this folder on the path, and so does a script in it
    layer_sets=MappingProxyType({"all": LAYERS, "paper-low": ("low", "mid")}),
    default_set="paper-low",
    imagenet=Download("http://127.0.0.1:9/tiny_weights_notop.h5", "none"),
)
TINY_LITE = Backbone(
    name="tiny-lite",
    aliases=(),
    title="Tiny lite net",
    builder="tiny:build_lite",
    layer_sets=MappingProxyType({"all": LITE_LAYERS}),
    default_set="all",
    preprocessing=Preprocessing.uniform(0.9, 0.05),
    include_top=True,
    class_names=str(Path(__file__).parent / "data" / "tiny-classes.txt"),
)


def build(include_top: bool, weights: str | None, input_shape: tuple[int | None, ...]) -> Any:
    """Builds the Keras model; the layers low, mid and high have strides 2, 4 and 8. The smallest size is 19 pixels."""
    import keras

    image = keras.Input(input_shape)
    x = _conv_bn(image, 6, 3, strides=2, padding="valid")
    x = _conv_bn(x, 8, 3, padding="valid", scale=True)
    x = _low(x)
    x = _mid(x)
    x = _high(x)
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="top_pool")(x)
        x = keras.layers.Dense(5, activation="softmax", name="predictions")(x)
    model = keras.Model(image, x, name="tiny")
    if weights is not None:
        model.load_weights(keras.utils.get_file(TINY.imagenet.file, TINY.imagenet.url, cache_subdir="models"))
    return model


def build_lite(include_top: bool, weights: str | None, input_shape: tuple[int | None, ...]) -> Any:
    """Builds the Keras model of inverted residuals; the layers low, mid and high have strides 4, 8 and 16."""
    import keras
    from keras import layers

    image = keras.Input(input_shape)
    x = layers.ReLU(6)(_normalized(layers.Conv2D(6, 3, 2, "same", use_bias=False)(image)))
    x = layers.Identity(name="low")(_inverted(x, 5, kernel=3, stride=2))
    x = layers.Add(name="mid_sum")([x, _inverted(x, 5, kernel=5, stride=1)])
    x = layers.Identity(name="mid")(_inverted(x, 6, kernel=5, stride=2))
    # A window that is smaller than the stride, and two outputs for each channel.
    x = layers.DepthwiseConv2D(1, 2, "same", depth_multiplier=2, activation="relu6", name="high")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="mean")(x)
        x = layers.Identity(name="logits")(layers.Dense(7, name="classifier")(x))
    return keras.Model(image, x, name="tiny_lite")


def _inverted(x: Any, channels: int, kernel: int, stride: int) -> Any:
    """An inverted residual without its sum, as in EfficientNet-Lite."""
    from keras import layers

    x = layers.ReLU(6)(_normalized(layers.Conv2D(12, 1, use_bias=False)(x)))
    x = layers.ReLU(6)(_normalized(layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False)(x)))
    return _normalized(layers.Conv2D(channels, 1, use_bias=False)(x))


def _normalized(x: Any) -> Any:
    from keras import layers

    return layers.BatchNormalization(epsilon=0.001)(x)


def _low(x: Any) -> Any:
    """An Inception block: 1x1, 1x7 and 7x1 convolutions, and an average pooling before a 1x1 convolution."""
    from keras import layers

    branches = [
        _conv_bn(x, 4, 1),
        _conv_bn(_conv_bn(x, 4, (1, 7)), 6, (7, 1)),
        _conv_bn(layers.AveragePooling2D(3, 1, "same", name="low_pool")(x), 4, 1),
    ]
    return layers.Concatenate(name="low")(branches)


def _mid(x: Any) -> Any:
    """A reduction, then a scaled residual as in Inception-ResNet-v2."""
    from keras import layers
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    pool = layers.MaxPooling2D(3, 2, "valid", name="mid_pool")(x)
    x = layers.Concatenate(name="mid_mixed")([_conv_bn(x, 6, 3, strides=2, padding="valid"), pool])
    residual = layers.Conv2D(x.shape[3], 1, name="mid_conv")(_conv_bn(x, 5, 3))
    x = CustomScaleLayer(0.17, name="mid_sum")([x, residual])
    return layers.Activation("relu", name="mid")(x)


def _high(x: Any) -> Any:
    """A plain residual whose convolutions have biases and their own activations."""
    from keras import layers

    x = layers.MaxPooling2D(3, 2, "valid", name="high_pool")(x)
    shortcut = layers.Conv2D(8, 1, name="high_shortcut")(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="high_conv1")(x)
    x = layers.Conv2D(8, 3, padding="same", name="high_conv2")(x)
    return layers.ReLU(name="high")(layers.Add(name="high_sum")([x, shortcut]))


def _conv_bn(
    x: Any,
    filters: int,
    kernel: int | tuple[int, int],
    strides: int = 1,
    padding: str = "same",
    scale: bool = False,
) -> Any:
    """A convolution, a normalization and a ReLU with Keras's automatic names, as in Inception-v3."""
    from keras import layers

    x = layers.Conv2D(filters, kernel, strides, padding, use_bias=False)(x)
    return layers.Activation("relu")(layers.BatchNormalization(scale=scale)(x))
