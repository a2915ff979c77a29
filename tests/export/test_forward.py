"""The folded graph against the stock Keras model that it was folded from."""
# ruff: noqa: E402

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras
from tiny import LAYERS, TINY, TINY_LITE

from onnxdream.export import reference_model
from onnxdream.export.backbone import build
from onnxdream.export.bundle import ExportRequest, list_layers, make_bundle
from onnxdream.export.errors import UnknownLayerError, UnsupportedLayerError
from onnxdream.export.folding.fold import fold
from onnxdream.export.forward import (
    IMAGE,
    AveragePool,
    Concat,
    Convolution,
    Forward,
    GlobalMean,
    Identity,
    MaxPool,
    Relu,
    Relu6,
    Scale,
    Sum,
)
from onnxdream.export.weights import LoadedModel
from onnxdream.models.arrays import Floats, Size
from onnxdream.models.backbones import BACKBONES, Backbone, find_backbone

NETWORKS = ["tiny", "tiny-lite", "v3", "inception-resnet-v2", "lite0"]
LoadReference = Callable[[str], LoadedModel]
LA = keras.layers
CONVOLUTIONS = (LA.Conv2D, LA.DepthwiseConv2D, LA.Dense)


def run_folded(forward: Forward, pictures: Floats) -> dict[str, Floats]:
    """Computes the output of every node, NHWC, with TensorFlow's own operators."""
    nodes: dict[str, Any] = {IMAGE: pictures}
    for op in forward.operators:
        xs = [nodes[name] for name in op.inputs]
        match op:
            case Scale():
                y = xs[0] * op.scale + op.offset
            case Convolution():
                y = convolution(op, xs[0]) + op.bias
            case MaxPool():
                y = tf.nn.max_pool2d(xs[0], op.window, op.strides, op.padding)
            case AveragePool():
                y = tf.nn.avg_pool2d(xs[0], op.window, op.strides, op.padding)
            case Relu():
                y = tf.nn.relu(xs[0])
            case Relu6():
                y = tf.nn.relu6(xs[0])
            case GlobalMean():
                y = tf.reduce_mean(xs[0], axis=[1, 2], keepdims=True)
            case Identity():
                y = xs[0]
            case Concat():
                y = tf.concat(xs, 3)
            case Sum():
                y = tf.add_n(xs)
        nodes[op.name] = y
    return {name: np.asarray(node) for name, node in nodes.items()}


def convolution(op: Convolution, x: Any) -> Any:
    """Computes a convolution without its bias, each group on its own, or all at once where each has one channel."""
    if op.groups > 1 and op.kernel.shape[2] == 1:
        kernel = op.kernel.reshape(*op.kernel.shape[:2], op.groups, -1)
        return tf.nn.depthwise_conv2d(x, kernel, [1, *op.strides, 1], op.padding)
    parts = zip(tf.split(x, op.groups, axis=3), np.split(op.kernel, op.groups, axis=3), strict=True)
    return tf.concat([tf.nn.conv2d(part, kernel, op.strides, op.padding) for part, kernel in parts], axis=3)


def card_of(net: str) -> Backbone:
    """The row of the table, or of tiny.py, for a network."""
    tiny = {backbone.name: backbone for backbone in (TINY, TINY_LITE)}
    return tiny.get(net) or find_backbone(net)


def preprocessed(net: str, pictures: Floats) -> Floats:
    """Pictures from -1 to 1 as the stock model takes them."""
    found: Floats = reference_model.preprocessed(pictures, card_of(net).preprocessing)
    return found


def noise(height: int, width: int) -> Floats:
    """Uniform noise from -1 to 1, [1, height, width, 3]."""
    return np.random.default_rng(0).uniform(-1, 1, (1, height, width, 3)).astype(np.float32)


def sub_model(model: Any, layer: str) -> Any:
    """The Keras model up to a layer."""
    return keras.Model(model.input, model.get_layer(layer).output)


def assert_folded(net: str, model: Any, size: tuple[int, int]) -> None:
    """Compares all layers of a folded network with those of the stock model, on noise."""
    forward = fold(model, card_of(net).preprocessing)
    pictures = noise(*size)
    found = run_folded(forward, pictures)
    names = forward.layers
    stock = keras.Model(model.input, [model.get_layer(name).output for name in names])
    expected = stock(preprocessed(net, pictures), training=False)
    errors = {
        name: float(np.linalg.norm(found[name] - np.asarray(e)) / np.linalg.norm(e))
        for name, e in zip(names, expected, strict=True)
    }
    assert max(errors.values()) < 2e-5, max(errors, key=errors.__getitem__)
    assert all(forward.channels[name] == e.shape[-1] for name, e in zip(names, expected, strict=True))
    sizes = forward.sizes(Size(*size))
    assert all(
        sizes[name] == (e.shape[1:3] if len(e.shape) == 4 else (1, 1)) for name, e in zip(names, expected, strict=True)
    )


@pytest.mark.parametrize("net", NETWORKS)
def test_every_available_layer_has_the_stock_models_activation(net: str, reference: LoadReference) -> None:
    assert_folded(net, reference(net).model, (80, 93))


@pytest.mark.parametrize("size", [(65, 68), (66, 67), (67, 65), (68, 66)])
def test_same_padding_is_keras_s_at_every_remainder_of_the_strides(
    size: tuple[int, int], reference: LoadReference
) -> None:
    assert_folded("lite0", reference("lite0").model, size)


def test_the_preprocessing_is_not_a_layer(reference: LoadReference) -> None:
    forward = fold(reference("tiny-lite").model, TINY_LITE.preprocessing)
    assert isinstance(forward.operators[0], Scale)
    assert forward.operators[0].name not in forward.layers
    assert not any(isinstance(op, Scale) for op in fold(reference("tiny").model, TINY.preprocessing).operators)


@pytest.mark.parametrize(
    ("net", "layers"), [("tiny-lite", {"mean", "logits"}), ("lite0", {"mean", "logits"}), ("tiny", set())]
)
def test_layers_behind_the_mean_over_the_picture_are_global(
    net: str, layers: set[str], reference: LoadReference
) -> None:
    forward = fold(reference(net).model, card_of(net).preprocessing)
    assert {layer for layer in forward.layers if forward.is_global(layer)} == layers


@pytest.mark.parametrize("net", NETWORKS)
def test_no_normalization_or_scale_is_left(net: str, reference: LoadReference) -> None:
    model = reference(net).model
    forward = fold(model)
    convolutions = [op.name for op in forward.operators if isinstance(op, Convolution)]
    assert len(convolutions) == sum(isinstance(layer, CONVOLUTIONS) for layer in model.layers)
    normalizations = {la.name for la in model.layers if isinstance(la, keras.layers.BatchNormalization)}
    assert normalizations
    assert normalizations <= set(forward.folded)
    assert not normalizations & set(forward.layers)


@pytest.mark.parametrize(
    ("net", "layer"),
    [
        ("tiny", "low"),
        ("tiny", "mid"),
        ("tiny", "high"),
        ("tiny-lite", "high"),
        ("tiny-lite", "logits"),
        ("v3", "mixed2"),
        ("inception-resnet-v2", "block35_4_mixed"),
        ("lite0", "block10"),
    ],
)
def test_the_cut_keeps_exactly_the_convolutions_that_keras_needs(
    net: str, layer: str, reference: LoadReference
) -> None:
    model = reference(net).model
    cut = fold(model).cut((layer,))
    needed = [la for la in sub_model(model, layer).layers if isinstance(la, CONVOLUTIONS)]
    convolutions = [op for op in cut.operators if isinstance(op, Convolution)]
    assert {op.name.removesuffix("_convolution") for op in convolutions} == {la.name for la in needed}
    assert cut.parameters == sum(int(np.prod(la.kernel.shape)) + la.output.shape[-1] for la in needed)


def test_lite0_has_the_published_number_of_parameters(reference: LoadReference) -> None:
    """4.7 million, of which 0.72 million up to block 10; folded, a normalization of four vectors is a bias."""
    model = reference("lite0").model
    forward = fold(model)
    assert model.count_params() == 4_694_024
    normalized = sum(la.gamma.shape[0] for la in model.layers if isinstance(la, LA.BatchNormalization))
    assert forward.parameters == model.count_params() - 3 * normalized
    assert forward.cut(("block10",)).parameters == pytest.approx(0.72e6, rel=0.05)


def test_the_order_of_the_layers_does_not_change_the_cut(reference: LoadReference) -> None:
    forward = fold(reference("tiny").model)
    orders = (LAYERS, LAYERS[::-1], ("mid", "high", "low"))
    names = [[op.name for op in forward.cut(order).operators] for order in orders]
    assert names[0] == names[1] == names[2]
    assert names[0] == [op.name for op in forward.operators]


@pytest.mark.parametrize(
    ("net", "layer"),
    [("tiny", "low"), ("tiny", "high"), ("v3", "mixed0"), ("v3", "mixed10"), ("inception-resnet-v2", "conv_7b_ac")],
)
def test_one_pixel_less_than_the_smallest_size_leaves_nothing_in_keras(
    net: str, layer: str, reference: LoadReference
) -> None:
    model = sub_model(reference(net).model, layer)
    side = fold(reference(net).model).cut((layer,)).smallest_size()
    assert has_pixels(model, side, side)
    assert not has_pixels(model, side - 1, side)
    assert not has_pixels(model, side, side - 1)


def has_pixels(model: Any, height: int, width: int) -> bool:
    """Whether Keras computes a model's output and it is not empty; which of both, depends on TensorFlow's kernels."""
    try:
        return min(model(noise(height, width), training=False).shape) >= 1
    except Exception as error:
        if "encountered when calling" not in str(error):
            raise
        return False


@pytest.mark.parametrize("net", ["tiny", "v3"])
def test_a_picture_wider_by_a_stride_makes_layers_wider_by_one_pixel(net: str, reference: LoadReference) -> None:
    model = reference(net).model
    forward = fold(model)
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in forward.layers])
    strides = {forward.stride(name) for name in forward.layers}
    assert len(strides) >= 3
    for stride in strides:
        small, large = (outputs.compute_output_shape((1, 299, 299 + more, 3)) for more in (0, stride))
        for name, a, b in zip(forward.layers, small, large, strict=True):
            if forward.stride(name) == stride:
                assert b[2] - a[2] == 1, name


@pytest.mark.parametrize(
    ("net", "asked", "suggested"),
    [
        ("v3", "mixd0", "mixed0"),
        ("v3", "Mixed_1", "mixed1"),
        ("v3", "mixed11", "mixed10"),
        ("inception-resnet-v2", "block35_2_mixd", "block35_2_mixed"),
        ("tiny", "hihg", "high"),
    ],
)
def test_an_unknown_layer_is_refused_with_similar_names(
    net: str, asked: str, suggested: str, reference: LoadReference
) -> None:
    with pytest.raises(UnknownLayerError) as error:
        fold(reference(net).model).cut((asked,))
    assert asked in str(error.value)
    assert suggested in str(error.value).replace(asked, "")


def test_an_unknown_layer_without_similar_names_is_refused(reference: LoadReference) -> None:
    with pytest.raises(UnknownLayerError, match="no name is similar"):
        fold(reference("tiny").model).cut(("§",))


@pytest.mark.parametrize(
    ("net", "asked", "behind"),
    [
        ("v3", "conv2d", "activation"),
        ("v3", "conv2d_7", "activation_7"),
        ("v3", "batch_normalization_7", "activation_7"),
        ("inception-resnet-v2", "block35_2_conv", "custom_scale_layer_1"),
        ("tiny", "batch_normalization_6", "activation_6"),
        ("tiny", "mid_conv", "mid_sum"),
        ("tiny", "high_conv2", "high_sum"),
    ],
)
def test_a_folded_layer_is_refused_with_the_activation_behind_it(
    net: str, asked: str, behind: str, reference: LoadReference
) -> None:
    with pytest.raises(UnknownLayerError, match=rf"^{asked} is folded .* {behind}\b"):
        fold(reference(net).model).cut((asked,))


def test_a_convolution_with_its_own_relu_is_available(reference: LoadReference) -> None:
    assert "high_conv1" in fold(reference("tiny").model).layers


def test_a_folded_layer_with_nothing_behind_it_is_refused() -> None:
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="last")(keras.layers.ReLU()(image)))
    with pytest.raises(UnknownLayerError, match=r"^last is folded"):
        fold(model).cut(("last",))


def two_outputs(x: Any) -> Any:
    """A layer that returns two tensors."""

    class Halves(LA.Layer):
        def call(self, x: Any) -> Any:
            return x[..., :1], x[..., 1:]

    return LA.BatchNormalization()(Halves(name="culprit")(x)[1])


def unpooled(pool: Any, join: Any) -> Callable[[Any], Any]:
    """A skip connection: what a layer reads and, where a picture's side is even, what its unpooled pixels are."""
    return lambda x: join(name="culprit")([x, LA.UpSampling2D(2)(pool(x))])


UNSUPPORTED: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda x: LA.Conv2DTranspose(4, 3, name="culprit")(x),
    "function of one's own": lambda x: LA.Conv2D(4, 3, activation=lambda x: x, name="culprit")(x),
    "slope of each pixel": lambda x: LA.PReLU(name="culprit")(x),
    "global maximum": lambda x: LA.GlobalMaxPooling2D(name="culprit")(x),
    "dense of all pixels": lambda x: LA.Dense(4)(LA.Flatten(name="culprit")(x)),
    "another shape": lambda x: LA.Reshape((15, 60, 3), name="culprit")(x),
    "softmax": lambda x: LA.Dense(4, activation="softmax", name="culprit")(LA.GlobalAveragePooling2D()(x)),
    "softmax layer": lambda x: LA.Softmax(name="culprit")(LA.Conv2D(4, 3)(x)),
    "concat of rows": lambda x: LA.Concatenate(axis=1, name="culprit")([x, x]),
    "channels first": lambda x: LA.MaxPooling2D(3, 2, data_format="channels_first", name="culprit")(x),
    "sum of different channels": lambda x: LA.Add(name="culprit")([x, LA.Conv2D(1, 1)(x)]),
    "sum of pixels and one": lambda x: LA.Add(name="culprit")([x, LA.GlobalAveragePooling2D(keepdims=True)(x)]),
    "product of different channels": lambda x: LA.Multiply(name="culprit")([x, LA.Conv2D(1, 1)(x)]),
    "normalized rows": lambda x: LA.BatchNormalization(axis=1, name="culprit")(x),
    "layer normalization of pictures": lambda x: LA.LayerNormalization(axis=(1, 2), name="culprit")(x),
    "smooth upsampling": lambda x: LA.UpSampling2D(2, interpolation="bilinear", name="culprit")(x),
    "constant of each pixel": lambda x: LA.Identity(name="culprit")(x * np.ones((30, 30, 3), np.float32)),
    "several outputs": two_outputs,
    "skip connection": unpooled(LA.MaxPooling2D(2), LA.Concatenate),
    "padded skip connection": unpooled(LA.MaxPooling2D(2, padding="same"), LA.Add),
    "product of a skip connection": unpooled(LA.AveragePooling2D(2), LA.Multiply),
    "lower skip connection": lambda x: unpooled(LA.MaxPooling2D(2), LA.Add)(
        LA.AveragePooling2D(2, padding="same")(LA.ZeroPadding2D()(x))
    ),
    "lambda": lambda x: LA.Lambda(lambda x: 2 * x, name="culprit")(x),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_a_layer_that_cannot_be_exported_matters_only_to_what_lies_behind(kind: str) -> None:
    shape = (3, 32, 32) if kind == "channels first" else (32, 32, 3)
    image = keras.Input(shape)
    x = image if kind == "channels first" else LA.ReLU(name="before")(LA.BatchNormalization()(LA.Conv2D(3, 3)(image)))
    behind = LA.ReLU(name="behind")(UNSUPPORTED[kind](x))
    forward = fold(keras.Model(image, behind))
    assert {"culprit", "behind"} & set(forward.layers) == set()
    assert kind == "channels first" or "before" in forward.cut(("before",)).layers
    with pytest.raises(UnsupportedLayerError, match=r"^layer \S+ \S.*: choose ") as behind_it:
        forward.cut(("behind",))
    if kind != "constant of each pixel":  # the layer is Keras's operation, which has a name of its own
        with pytest.raises(UnsupportedLayerError, match=r"\bculprit\b") as itself:
            forward.cut(("culprit",))
        assert str(behind_it.value) == str(itself.value)


SUPPORTED: dict[str, Callable[[Any], Any]] = {
    "depthwise": lambda x: LA.DepthwiseConv2D(3)(x),
    "depthwise same": lambda x: LA.DepthwiseConv2D((3, 5), padding="same")(x),
    "strided depthwise": lambda x: LA.DepthwiseConv2D(5, 2, "same")(x),
    "depthwise of several outputs": lambda x: LA.DepthwiseConv2D(3, 2, "same", depth_multiplier=4)(x),
    "grouped": lambda x: LA.Conv2D(6, 3, 2, "same", groups=3)(x),
    "strided same": lambda x: LA.Conv2D(4, 3, 2, "same")(x),
    "wide stride": lambda x: LA.Conv2D(4, 1, 3, "same")(x),
    "even same": lambda x: LA.Conv2D(4, (2, 4), 1, "same")(x),
    "even strided same": lambda x: LA.Conv2D(4, 4, 3, "same")(x),
    "relu6": lambda x: LA.Activation("relu6")(LA.Conv2D(4, 1)(x)),
    "capped relu": lambda x: LA.ReLU(max_value=6)(LA.Conv2D(4, 1)(x)),
    "own relu6": lambda x: LA.Conv2D(4, 1, activation="relu6")(x),
    "identity": lambda x: LA.Identity()(x),
    "global mean": lambda x: LA.GlobalAveragePooling2D()(x),
    "dense": lambda x: LA.Dense(5)(LA.GlobalAveragePooling2D()(x)),
    "normalized depthwise": lambda x: LA.BatchNormalization()(LA.DepthwiseConv2D(3, depth_multiplier=2)(x)),
}


@pytest.mark.parametrize("size", [(12, 13), (15, 14)])
@pytest.mark.parametrize("kind", SUPPORTED)
def test_an_operator_is_folded_as_keras_computes_it(kind: str, size: tuple[int, int]) -> None:
    """The pixels range up to 40, so that a ReLU6 is reached from both sides."""
    image = keras.Input((None, None, 3))
    keras.utils.set_random_seed(3)
    model = keras.Model(image, LA.Identity(name="end")(SUPPORTED[kind](image)))
    model.set_weights([np.random.default_rng(4).uniform(0.2, 1, weight.shape) for weight in model.weights])
    pictures = 40 * noise(*size)
    expected = np.asarray(model(pictures, training=False))
    found = run_folded(fold(model), pictures)["end"]
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("net", ["tiny", "v3"])
def test_layers_have_the_names_of_a_fresh_session(net: str, reference: LoadReference, tiny_backbone: Backbone) -> None:
    backbone = tiny_backbone if net == "tiny" else find_backbone(net)
    keras.layers.Conv2D(1, 1)(keras.Input((8, 8, 3)))  # uses up the name conv2d in this session
    names = [layer.name for layer in build(backbone).layers]
    assert names == [layer.name for layer in reference(net).model.layers]
    assert {"conv2d", "conv2d_1", "activation"} <= set(names)


def test_the_classifier_is_a_part_of_lite0_alone(reference: LoadReference) -> None:
    assert [card.name for card in BACKBONES if card.include_top] == ["lite0"]
    layers = fold(reference("lite0").model).layers
    assert layers[-1] == "logits"
    assert not any("logits" in fold(reference(net).model).layers for net in ("v3", "inception-resnet-v2"))


def test_layers_are_listed_with_all_weights_up_to_them(tiny_backbone: Backbone, reference: LoadReference) -> None:
    found = list_layers(tiny_backbone)
    model = reference("tiny").model
    assert [info.layer.name for info in found] == list(fold(model).layers)
    assert [(i.layer.channels, i.layer.stride) for i in found if i.layer.name in LAYERS] == [(14, 2), (20, 4), (8, 8)]
    for info in found:
        needed = [la for la in sub_model(model, info.layer.name).layers if isinstance(la, LA.Conv2D)]
        assert info.parameters == sum(int(np.prod(la.kernel.shape)) + la.filters for la in needed)


def test_another_backbone_needs_only_a_new_row_in_the_table(tiny_backbone: Backbone) -> None:
    row = replace(tiny_backbone, name="mobilenet", aliases=(), builder="keras.applications:MobileNet")
    _, metadata = make_bundle(ExportRequest(row, ("conv_pw_1_relu", "conv_dw_2_relu"), weights="random"))
    assert [(layer.name, layer.channels, layer.stride) for layer in metadata.layers] == [
        ("conv_pw_1_relu", 64, 2),
        ("conv_dw_2_relu", 64, 4),
    ]
