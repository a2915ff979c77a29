"""A backbone with few channels that contains every kind of operator of the two real ones."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from onnxdream.models.backbones import Backbone

LAYERS = ("low", "mid", "high")

TINY = Backbone(
    name="tiny",
    aliases=("tiny-net",),
    title="Tiny net",
    builder="tiny:build",  # pytest puts this folder on the path, and so does a script in it
    input_range=(-1.0, 1.0),
    layer_sets=MappingProxyType({"all": LAYERS, "paper-low": ("low", "mid")}),
    default_set="paper-low",
    imagenet_url="http://127.0.0.1:9/tiny_weights_notop.h5",
    imagenet_licence="none",
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
        model.load_weights(keras.utils.get_file(TINY.imagenet_file, TINY.imagenet_url, cache_subdir="models"))
    return model


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
