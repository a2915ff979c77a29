"""Each kind of layer that can be exported, in a network of a few, against TensorFlow's GradientTape."""
# ruff: noqa: E402

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras
from keras.src.applications.convnext import LayerScale, StochasticDepth
from plain_session import open_plain

from onnxdream.export.conversion import convert
from onnxdream.export.errors import UnsupportedLayerError
from onnxdream.export.folding.fold import fold
from onnxdream.models import contract

LA = keras.layers
FORMS = ("portable", "blocked", "channels_last")


def _conv(x: Any, channels: int = 4) -> Any:
    return LA.Conv2D(channels, 3, bias_initializer="random_normal")(x)


def _gated(x: Any) -> Any:
    """A squeeze-and-excitation block as in EfficientNet."""
    x = _conv(x)
    gate = LA.Reshape((1, 1, 4))(LA.GlobalAveragePooling2D()(x))
    gate = LA.Conv2D(4, 1, activation="sigmoid")(LA.Conv2D(2, 1, activation="swish")(gate))
    return LA.Multiply(name="end")([x, gate])


def _shared(x: Any) -> Any:
    shared = LA.Conv2D(3, 3, padding="same", activation="relu")
    return LA.Add(name="end")([shared(x), shared(shared(x))])


def _nested(x: Any) -> Any:
    inner = keras.Sequential([LA.Input((None, None, 3)), LA.Conv2D(4, 3), LA.ReLU()])
    image = keras.Input((None, None, 3))
    middle = keras.Model(image, LA.Concatenate()([inner(image), LA.Conv2D(2, 3)(image)]))
    return LA.Identity(name="end")(middle(x))


ACTIVATIONS = (
    *("relu", "relu6", "elu", "selu", "gelu", "silu", "hard_silu", "hard_sigmoid", "sigmoid", "tanh", "softplus"),
    *("softsign", "exponential", "mish", "leaky_relu"),
)
OPERATORS: dict[str, Callable[[Any], Any]] = {
    **{f"activation {name}": lambda x, name=name: LA.Activation(name, name="end")(_conv(x)) for name in ACTIVATIONS},
    "activation of a convolution": lambda x: LA.Conv2D(4, 3, activation="gelu", name="end")(x),
    "layer as an activation": lambda x: LA.Conv2D(4, 3, activation=LA.LeakyReLU(0.1), name="end")(x),
    "LeakyReLU": lambda x: LA.LeakyReLU(0.3, name="end")(_conv(x)),
    "ELU": lambda x: LA.ELU(0.5, name="end")(_conv(x)),
    "PReLU": lambda x: LA.PReLU("random_normal", shared_axes=[1, 2], name="end")(_conv(x)),
    "PReLU of one slope": lambda x: LA.PReLU("random_normal", shared_axes=[1, 2, 3], name="end")(x),
    "ReLU with a limit": lambda x: LA.ReLU(1.5, name="end")(_conv(x)),
    "ReLU with a slope": lambda x: LA.ReLU(negative_slope=0.2, name="end")(_conv(x)),
    "ReLU with everything": lambda x: LA.ReLU(1.5, 0.1, 0.5, name="end")(_conv(x)),
    "gelu, approximate": lambda x: LA.Identity(name="end")(keras.ops.gelu(_conv(x), approximate=True)),
    "operations": lambda x: LA.Identity(name="end")(keras.ops.silu(_conv(x)) + keras.ops.tanh(_conv(x))),
    "arithmetic": lambda x: LA.Identity(name="end")((1.5 - _conv(x) * 2.0) / 3.0 - _conv(x + 1.0)),
    "hard swish by hand": lambda x: LA.Identity(name="end")(x * (LA.ReLU(6)(x + 3.0) * (1 / 6))),
    "separable": lambda x: LA.ReLU(name="end")(LA.SeparableConv2D(5, 3, 2, "same", depth_multiplier=2)(x)),
    "separable, dilated": lambda x: LA.SeparableConv2D(5, 3, dilation_rate=2, activation="relu", name="end")(x),
    "dilated": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 3, dilation_rate=2)(x)),
    "dilated same": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, (3, 2), padding="same", dilation_rate=(2, 3))(x)),
    "depthwise, dilated": lambda x: LA.ReLU(name="end")(LA.DepthwiseConv2D(3, padding="same", dilation_rate=2)(x)),
    "zero padding": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 3)(LA.ZeroPadding2D(((1, 2), (3, 0)))(x))),
    "zero padding, strided": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 5, 2)(LA.ZeroPadding2D(2)(x))),
    "zero padding, strided in the middle": lambda x: LA.ReLU(name="end")(
        LA.Conv2D(4, 3, 2)(LA.ZeroPadding2D(((1, 1), (2, 0)))(_conv(x, 6)))
    ),
    "zero padding, depthwise": lambda x: LA.ReLU(name="end")(LA.DepthwiseConv2D(3)(LA.ZeroPadding2D(1)(_conv(x)))),
    "zero padding, wide": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 3)(LA.ZeroPadding2D(3)(x))),
    "zero padding, read twice": lambda x: _padded_twice(x),
    "padded maximum": lambda x: LA.MaxPooling2D(3, 2, name="end")(LA.ZeroPadding2D(1)(LA.ReLU()(x))),
    "maximum 3/2 same": lambda x: LA.MaxPooling2D(3, 2, "same", name="end")(_conv(x)),
    "maximum 2/2 same": lambda x: LA.MaxPooling2D(2, 2, "same", name="end")(x),
    "maximum 2/1 same": lambda x: LA.MaxPooling2D(2, 1, "same", name="end")(x),
    "mean 2/2": lambda x: LA.AveragePooling2D(2, 2, name="end")(x),
    "mean 3/2": lambda x: LA.AveragePooling2D(3, 2, name="end")(x),
    "mean 3x2/1x3": lambda x: LA.AveragePooling2D((3, 2), (1, 3), name="end")(x),
    "mean 3/2 same": lambda x: LA.AveragePooling2D(3, 2, "same", name="end")(x),
    "mean 2/1 same": lambda x: LA.AveragePooling2D(2, 1, "same", name="end")(x),
    "mean 1x4/2 same": lambda x: LA.AveragePooling2D((1, 4), 2, "same", name="end")(x),
    "normalization before a convolution": lambda x: LA.ReLU(name="end")(_conv(LA.BatchNormalization()(LA.ReLU()(x)))),
    "normalization of a convolution that others read": lambda x: _read_twice(x),
    "layer normalization": lambda x: LA.Identity(name="end")(LA.LayerNormalization(epsilon=1e-2)(_conv(x))),
    "layer normalization, plain": lambda x: LA.Dense(3, name="end", activation="relu")(
        LA.LayerNormalization(center=False, scale=False)(_conv(x))
    ),
    "rescaling": lambda x: LA.ReLU(name="end")(LA.Rescaling(0.3, [0.1, 0.2, 0.3])(x)),
    "input normalization": lambda x: LA.ReLU(name="end")(LA.Normalization(mean=[1, 2, 3], variance=[4, 1, 0.1])(x)),
    "layer scale": lambda x: LA.Add(name="end")([x, LayerScale(0.3, 3)(LA.Dense(3)(x))]),
    "dense on pixels": lambda x: LA.Dense(5, activation="gelu", name="end")(x),
    "dropout": lambda x: LA.ReLU(name="end")(LA.Dropout(0.5)(StochasticDepth(0.2)(LA.SpatialDropout2D(0.1)(x)))),
    "augmentation": lambda x: LA.ReLU(name="end")(LA.RandomFlip()(LA.RandomRotation(0.1)(LA.RandomZoom(0.1)(x)))),
    "upsampling": lambda x: LA.UpSampling2D((2, 3), name="end")(_conv(x)),
    "product": lambda x: LA.Multiply(name="end")([_conv(x), LA.Activation("tanh")(_conv(x))]),
    "product of three": lambda x: LA.Multiply(name="end")([x, LA.ReLU()(x), LA.Activation("tanh")(x)]),
    "squeeze and excitation": _gated,
    "average": lambda x: LA.Average(name="end")([_conv(x), _conv(x)]),
    "difference": lambda x: LA.Subtract(name="end")([_conv(x), LA.ReLU()(_conv(x))]),
    "shared layer": _shared,
    "nested models": _nested,
    "names of parts of others": lambda x: _named_as_parts(x),
    "scores": lambda x: LA.Identity(name="end")(LA.Dense(3)(LA.Flatten()(LA.GlobalAveragePooling2D(keepdims=True)(x)))),
    "scores of dense layers": lambda x: LA.Dense(3, name="end", activation="tanh")(
        LA.Dropout(0.1)(LA.Dense(4, activation="relu")(LA.GlobalAveragePooling2D()(x)))
    ),
}


def _read_twice(x: Any) -> Any:
    x = _conv(x)
    return LA.Add(name="end")([LA.ReLU()(LA.BatchNormalization()(x)), LA.Activation("tanh")(x)])


def _named_as_parts(x: Any) -> Any:
    """Layers with the names that the folding and the rewriting give to parts of other layers."""
    x = LA.Rescaling(2.0, name="preprocessing")(x)
    x = LA.Conv2D(4, 3, activation="relu", name="a")(x)
    x = LA.LayerNormalization(name="norm")(LA.Conv2D(4, 3, padding="same", activation="tanh", name="a_convolution")(x))
    x = LA.Activation("tanh", name="norm_normalized")(LA.SeparableConv2D(4, 3, padding="same", name="s")(x))
    x = LA.Activation("tanh", name="pool_first")(LA.Conv2D(4, 1, name="s_depthwise")(x))
    pooled = LA.MaxPooling2D(2, 1, "same", name="pool")(LA.ReLU()(LA.Conv2D(4, 1)(x)))
    return LA.Add(name="end")([x, pooled])


def _padded_twice(x: Any) -> Any:
    x = LA.ZeroPadding2D(1)(x)
    return LA.Add(name="end")([LA.Conv2D(4, 3)(x), LA.MaxPooling2D(3, 1)(LA.Conv2D(4, 1)(x))])


def _with_random_normalizations(model: Any) -> Any:
    """Draws the variables that Keras initialises with zeros and ones, so that they matter."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, LA.BatchNormalization | LA.LayerNormalization | LayerScale):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in layer.get_weights()])
    return model


class Exported:
    """A model with a layer `end`, or its last one, in onnxruntime and in TensorFlow."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        image = keras.Input((None, None, 3))
        keras.utils.set_random_seed(3)
        self.model = _with_random_normalizations(keras.Model(image, build(image)))
        forward = fold(self.model)
        self.layer = "end" if "end" in forward.layers else forward.layers[-1]
        self.forward = forward.cut((self.layer,))
        self.sessions = {
            form: open_plain(model.SerializeToString())
            for form, model in convert(self.forward, (self.layer,), "l2").items()
        }
        self._taped: dict[bytes, tuple[Any, Any]] = {}

    def run(self, picture: Any, form: str) -> tuple[Any, Any]:
        feed = {
            contract.IMAGE: np.ascontiguousarray(picture.transpose(2, 0, 1)[None]),
            contract.LAYER_WEIGHTS: np.ones(1, np.float32),
        }
        losses, gradient = self.sessions[form].run([contract.LOSSES, contract.GRADIENT], feed)
        return losses[0, 0], gradient[0].transpose(1, 2, 0)

    def tape(self, picture: Any) -> tuple[Any, Any]:
        if picture.tobytes() not in self._taped:  # all forms are compared with the same
            self._taped[picture.tobytes()] = self._tape(picture)
        return self._taped[picture.tobytes()]

    def _tape(self, picture: Any) -> tuple[Any, Any]:
        image = tf.constant(picture[None])
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.reduce_mean(tf.square(self.model(image, training=False)))
        return loss.numpy(), tape.gradient(loss, image).numpy()[0]


exported = cache(lambda kind: Exported(OPERATORS[kind]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(9, 9), (8, 12), (11, 10)])
@pytest.mark.parametrize("kind", OPERATORS)
def test_the_gradient_of_each_kind_of_layer_is_tensorflows(kind: str, size: tuple[int, int], form: str) -> None:
    """Half of the pixels are whole numbers, so that maxima are equal and functions meet their kinks."""
    rng = np.random.default_rng(0)
    picture = rng.integers(-4, 5, (*size, 3)).astype(np.float32)
    picture[: size[0] // 2] = rng.uniform(-4, 4, (size[0] // 2, size[1], 3))
    loss, gradient = exported(kind).run(picture, form)
    expected_loss, expected = exported(kind).tape(picture)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-4)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "PReLU as an activation": (
        lambda x: LA.Conv2D(4, 3, activation=LA.PReLU(shared_axes=[1, 2]), name="end")(x),
        "has the activation PReLU, whose slopes Keras does not save",
    ),
    "a mean that is enlarged": (
        lambda x: LA.UpSampling2D(4, name="end")(LA.GlobalAveragePooling2D(keepdims=True)(x)),
        "enlarges a single pixel",
    ),
    "a mean that is padded": (
        lambda x: LA.ZeroPadding2D(2, name="end")(LA.GlobalAveragePooling2D(keepdims=True)(x)),
        "enlarges a single pixel",
    ),
    "channels that become rows": (
        lambda x: LA.Reshape((3, 1), name="end")(LA.GlobalAveragePooling2D()(x)),
        "is a Reshape, which fits one size of picture only",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_exported_is_refused_with_the_reason(kind: str) -> None:
    network, reason = REFUSED[kind]
    image = keras.Input((None, None, 3))
    with pytest.raises(UnsupportedLayerError, match=f"^layer end {reason}"):
        fold(keras.Model(image, network(image))).cut(("end",))
