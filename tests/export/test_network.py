"""A Keras model as a list of calls, and that running the list is running the model."""
# ruff: noqa: E402

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras

from onnxdream.export.backbone import build
from onnxdream.export.folding.fold import fold
from onnxdream.export.forward import Convolution, Pad
from onnxdream.export.network import Network
from onnxdream.export.reference_model import preprocessed
from onnxdream.models.arrays import Floats, Size
from onnxdream.models.backbones import find_backbone

LA = keras.layers


def noise(height: int, width: int) -> Floats:
    return np.random.default_rng(0).uniform(-1, 1, (1, height, width, 3)).astype(np.float32)


def classifier(last: str | None = "softmax") -> Any:
    """A classifier as people fine-tune one: augmentation, scaling, a network of its own kind, a head."""
    base_image = keras.Input((None, None, 3))
    base = keras.Model(base_image, LA.Conv2D(4, 3, activation="relu", name="features")(base_image), name="base")
    image = keras.Input((32, 32, 3))
    x = LA.Rescaling(1 / 255)(LA.RandomFlip()(image))
    x = LA.Dropout(0.5)(LA.GlobalAveragePooling2D()(base(x, training=False)))
    return keras.Model(image, LA.Dense(3, activation=last, name="head")(x))


def test_nested_models_are_inlined_under_the_names_of_their_layers() -> None:
    names = [call.name for call in Network.of(classifier()).calls]
    assert "features" in names
    assert "base" not in names


def test_a_network_of_a_fixed_size_runs_at_any_size_as_the_model_does_at_its_own() -> None:
    model = classifier(last=None)
    picture = 127.5 + 127.5 * noise(32, 32)
    (found,) = Network.of(model).run(picture, ["head"])
    np.testing.assert_allclose(found, model(picture, training=False), rtol=1e-5, atol=1e-6)
    assert Network.of(model).run(noise(19, 45), ["features"])[0].shape == (1, 17, 43, 4)


@pytest.mark.parametrize("last", [None, "softmax", "sigmoid"])
def test_the_scores_in_front_of_a_classifiers_last_activation_are_logits(last: str | None) -> None:
    model, picture = classifier(last), noise(32, 32)
    logits, head = Network.of(model).run(picture, ["logits", "head"])
    activation = keras.activations.get(last or "linear")
    np.testing.assert_allclose(activation(logits), head, rtol=1e-5)
    forward = fold(model)
    assert forward.layers[-1] == "logits"
    assert forward.stride("logits") == 0
    assert forward.is_global("logits")
    assert not forward.is_global("features")


def test_a_softmax_of_its_own_layer_is_recognised_too() -> None:
    model = classifier(last=None)
    names = [call.name for call in Network.of(keras.Model(model.input, LA.Softmax()(model.output))).calls]
    assert names[-1] == "logits"


def test_a_shared_layer_has_a_name_for_each_of_its_calls() -> None:
    image, shared = keras.Input((None, None, 3)), LA.ReLU(name="shared")
    model = keras.Model(image, LA.Add()([shared(image), shared(LA.Conv2D(3, 1)(image))]))
    assert {"shared", "shared/2"} <= set(fold(model).layers)


@pytest.mark.parametrize(
    ("name", "layer"), [("mobilenetv2", "block_13_expand_relu"), ("efficientnetb0", "block4a_activation")]
)
def test_padding_in_front_of_strides_fits_odd_and_even_sizes(name: str, layer: str) -> None:
    """Keras pads according to the size that a model is built for; the list of calls does for each picture."""
    backbone = find_backbone(name)
    of_any_size = build(backbone)
    network, forward = Network.of(of_any_size), fold(of_any_size, backbone.preprocessing)
    application = getattr(keras.applications, backbone.builder.partition(":")[2])
    for size in ((64, 47), (65, 66)):
        of_this_size = application(include_top=False, weights=None, input_shape=(*size, 3))
        of_this_size.set_weights(of_any_size.get_weights())
        picture = preprocessed(noise(*size), backbone.preprocessing)
        (found,) = network.run(picture, [layer])
        expected = keras.Model(of_this_size.input, of_this_size.get_layer(layer).output)(picture, training=False)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max()))
        assert forward.sizes(Size(*size))[layer] == expected.shape[1:3]


def test_a_fixed_padding_stays_as_it_is() -> None:
    forward = fold(build(find_backbone("resnet50")))
    first = next(op for op in forward.operators if isinstance(op, Convolution))
    assert (first.margins, first.same) == ((3, 3, 3, 3), False)
    assert [op.name for op in forward.operators if isinstance(op, Pad)] == ["pool1_pad"]
