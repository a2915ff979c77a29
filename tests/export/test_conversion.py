"""The ONNX gradient against independent references: GradientTape on the stock model, and finite differences."""
# ruff: noqa: E402

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras
import onnx
from plain_session import open_plain
from tiny import LAYERS, LITE_LAYERS, TINY_LITE

from onnxdream.export import conversion
from onnxdream.export.conversion import convert
from onnxdream.export.folding.fold import fold
from onnxdream.export.forward import IMAGE, Convolution, MaxPool, Relu
from onnxdream.export.reference_model import preprocessed
from onnxdream.export.rewriting import rewritten
from onnxdream.export.weights import LoadedModel
from onnxdream.models import contract
from onnxdream.models.arrays import Floats, Losses
from onnxdream.models.backbones import find_backbone
from onnxdream.models.contract import IR_VERSION, OPSET
from onnxdream.models.preprocessing import UNCHANGED, Preprocessing

LoadReference = Callable[[str], LoadedModel]
OBJECTIVES = ("mean", "l2")
FORMS = ("portable", "blocked", "channels_last")
every_form = pytest.mark.parametrize("form", FORMS)
LAYER_WEIGHTS = {"low": (1, 0, 0), "mid": (0, 1, 0), "high": (0, 0, 1), "mixed": (1, -0.7, 1.6), "none": (0, 0, 0)}
SIZES = {"smallest": (19, 19), "odd": (45, 45), "even": (48, 48), "wide": (34, 61), "tall": (70, 33)}


class Converted:
    """A converted model in onnxruntime and the stock model that it was converted from; pictures are float32 NHWC."""

    def __init__(
        self, model: Any, layers: tuple[str, ...], objective: str, preprocessing: Preprocessing = UNCHANGED
    ) -> None:
        self.objective = objective
        self.preprocessing = preprocessing
        self.reference = keras.Model(model.input, [model.get_layer(layer).output for layer in layers])
        self.layers = layers
        self.forward = fold(model, preprocessing).cut(layers)
        self.onnx = convert(self.forward, layers, objective)
        self.sessions = {form: open_plain(model.SerializeToString()) for form, model in self.onnx.items()}
        self._taped: dict[tuple[bytes, tuple[float, ...]], tuple[Losses, Floats]] = {}

    def run(self, pictures: Floats, weights: tuple[float, ...], form: str, **inputs: Floats) -> tuple[Floats, Floats]:
        """Computes losses [batch, layers] and the gradient, NHWC, with onnxruntime; `inputs` have defaults."""
        feed = {
            contract.IMAGE: np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)),
            contract.LAYER_WEIGHTS: np.array(weights, np.float32),
            **inputs,
        }
        losses, gradient = self.sessions[form].run([contract.LOSSES, contract.GRADIENT], feed)
        return losses, gradient.transpose(0, 2, 3, 1)

    def activations(self, image: Any) -> list[Any]:
        """Computes the layers' activations of pictures with TensorFlow."""
        found = self.reference(preprocessed(image, self.preprocessing), training=False)
        return found if isinstance(found, list) else [found]

    def tape(self, pictures: Floats, weights: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Computes losses [batch, layers] and the gradient, NHWC, with TensorFlow, one picture at a time."""
        for picture in pictures:
            if (picture.tobytes(), weights) not in self._taped:  # all forms are compared with the same
                self._taped[picture.tobytes(), weights] = self._tape_of_one(picture, weights)
        losses, gradients = zip(*(self._taped[picture.tobytes(), weights] for picture in pictures), strict=True)
        return np.stack(losses), np.stack(gradients)

    def _tape_of_one(self, picture: Floats, weights: tuple[float, ...]) -> tuple[Losses, Floats]:
        """Computes the losses and the gradient of a picture [height, width, 3]."""
        image = tf.Variable(picture[None])
        with tf.GradientTape() as tape:
            squared = [tf.square(a) if self.objective == "l2" else a for a in self.activations(image)]
            losses = tf.stack([tf.reduce_mean(a) for a in squared])
            total = tf.reduce_sum(losses * tf.constant(weights, tf.float32))
        return losses.numpy(), tape.gradient(total, image).numpy()[0]


@pytest.fixture(scope="session")
def tiny(reference: LoadReference) -> Callable[[str], Converted]:
    return cache(lambda objective: Converted(reference("tiny").model, LAYERS, objective))


@pytest.fixture(scope="session")
def lite(reference: LoadReference) -> Callable[[str], Converted]:
    model = reference("tiny-lite").model
    return cache(lambda objective: Converted(model, LITE_LAYERS, objective, TINY_LITE.preprocessing))


@pytest.fixture(scope="module")
def real(reference: LoadReference) -> Callable[[str, tuple[str, ...], str], Converted]:
    """Returns layers of a real backbone: `real(backbone, layers, objective)`. What it keeps are gigabytes."""
    return cache(
        lambda net, layers, objective: Converted(
            reference(net).model, layers, objective, find_backbone(net).preprocessing
        )
    )


def test_the_weights_are_copied_once_for_all_forms(reference: LoadReference, monkeypatch: pytest.MonkeyPatch) -> None:
    real, copies = conversion._weights, []

    def weights(*arguments: Any) -> Any:
        copies.append(real(*arguments))
        return copies[-1]

    monkeypatch.setattr(conversion, "_weights", weights)
    models = convert(fold(reference("tiny").model).cut(("low",)), ("low",), "mean")
    assert set(models) == set(FORMS)
    assert len(copies) == 1


def noise(*shape: int, seed: int = 0) -> Floats:
    """Uniform noise from -1 to 1."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def cosine(a: Floats, b: Floats) -> float:
    """The cosine similarity of two arrays of one shape."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def norm_ratio(a: Floats, b: Floats) -> float:
    """The ratio of the L2 norms of two arrays."""
    return float(np.linalg.norm(a) / np.linalg.norm(b))


@every_form
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weights", LAYER_WEIGHTS)
def test_the_gradient_is_tensorflows(
    form: str, tiny: Callable[[str], Converted], objective: str, size: str, weights: str
) -> None:
    pictures = noise(1, *SIZES[size], 3)
    losses, gradient = tiny(objective).run(pictures, LAYER_WEIGHTS[weights], form)
    expected_losses, expected = tiny(objective).tape(pictures, LAYER_WEIGHTS[weights])
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert gradient.shape == pictures.shape
    np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


@every_form
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (33, 50), (49, 35), (64, 47)])
@pytest.mark.parametrize("weights", [(1, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, -0.7, 1.6, -0.3)])
def test_the_gradient_of_inverted_residuals_is_tensorflows(
    form: str, lite: Callable[[str], Converted], objective: str, size: tuple[int, int], weights: tuple[float, ...]
) -> None:
    pictures = noise(2, *size, 3)
    losses, gradient = lite(objective).run(pictures, weights, form)
    expected_losses, expected = lite(objective).tape(pictures, weights)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


@every_form
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_picture_in_a_batch_gives_the_same_results_as_alone(
    form: str, tiny: Callable[[str], Converted], objective: str
) -> None:
    pictures = noise(3, 41, 52, 3)
    pictures[1] *= 0.2
    losses, gradient = tiny(objective).run(pictures, LAYER_WEIGHTS["mixed"], form)
    expected_losses, expected = tiny(objective).tape(pictures, LAYER_WEIGHTS["mixed"])
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for i in range(3):
        alone_losses, alone = tiny(objective).run(pictures[i : i + 1], LAYER_WEIGHTS["mixed"], form)
        np.testing.assert_allclose(losses[i], alone_losses[0], rtol=1e-5)
        np.testing.assert_allclose(gradient[i], alone[0], atol=1e-4 * np.abs(alone).max(), rtol=0)
        np.testing.assert_allclose(gradient[i], expected[i], atol=1e-4 * np.abs(expected[i]).max(), rtol=0)


@every_form
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("weights", ["low", "mid", "high", "mixed"])
def test_the_gradient_agrees_with_finite_differences_of_the_losses(
    form: str, tiny: Callable[[str], Converted], objective: str, weights: str
) -> None:
    """Central differences along parts of the gradient itself: there the losses change by more than rounding."""
    pictures = noise(1, 44, 51, 3, seed=1)
    layer_weights = np.array(LAYER_WEIGHTS[weights])
    _, gradient = tiny(objective).run(pictures, LAYER_WEIGHTS[weights], form)
    rows = np.arange(44)[None, :, None, None]
    for part in (rows < 15, (rows >= 15) & (rows < 30), rows >= 30):
        direction = np.where(part, gradient, 0)
        direction /= np.linalg.norm(direction)
        step = 0.01
        up, down = (
            tiny(objective).run(pictures + s * direction, LAYER_WEIGHTS[weights], form)[0][0] for s in (step, -step)
        )
        difference = float((up - down).astype(np.float64) @ layer_weights) / (2 * step)
        assert difference == pytest.approx(float(np.sum(gradient * direction, dtype=np.float64)), rel=0.02)


# Channel weights and positions


def channels_of(converted: Converted) -> list[int]:
    """The number of channels of each layer."""
    return [output.shape[-1] for output in converted.reference.outputs]


@every_form
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_default_channel_weights_and_positions_change_no_bit(
    form: str, objective: str, tiny: Callable[[str], Converted], lite: Callable[[str], Converted]
) -> None:
    for network in (tiny(objective), lite(objective)):
        channels = channels_of(network)
        defaults = {
            contract.CHANNEL_WEIGHTS: np.concatenate([np.full(n, 1 / n, np.float32) for n in channels])[None],
            contract.POSITION: np.tile(np.array(contract.EVERYWHERE, np.float32), (len(channels), 1)),
        }
        pictures, weights = noise(2, 43, 58, 3), (1, -0.7, 1.6, -0.3)[: len(channels)]
        plain = network.run(pictures, weights, form)
        for given in ({name: value} for name, value in defaults.items()):
            for found, expected in zip(network.run(pictures, weights, form, **given), plain, strict=True):
                np.testing.assert_array_equal(found, expected)


@every_form
def test_pictures_in_a_batch_have_channel_weights_of_their_own(form: str, tiny: Callable[[str], Converted]) -> None:
    network, pictures = tiny("mean"), noise(3, 41, 52, 3)
    rows = np.random.default_rng(5).uniform(-1, 1, (3, sum(channels_of(network)))).astype(np.float32)
    rows[1] = 0
    losses, gradient = network.run(pictures, LAYER_WEIGHTS["mixed"], form, channel_weights=rows)
    for i in range(3):
        alone_losses, alone = network.run(
            pictures[i : i + 1], LAYER_WEIGHTS["mixed"], form, channel_weights=rows[i : i + 1]
        )
        np.testing.assert_allclose(losses[i], alone_losses[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(gradient[i], alone[0], atol=1e-4 * np.abs(alone).max(), rtol=0)
    assert not losses[1].any()
    assert not gradient[1].any()
    assert gradient[2].any()


POSITIONS = [(0.1, 0.9), (0.52, 0.31), (0.0, 1.0)]


@every_form
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("channel", [None, 3])
def test_without_a_radius_the_loss_is_that_of_the_nearest_neuron(
    form: str, objective: str, position: tuple[float, float], channel: int | None, tiny: Callable[[str], Converted]
) -> None:
    """Compares with Keras's activation of the neuron, of one of its channels or their mean, and with its gradient."""
    network, weights = tiny(objective), np.array(LAYER_WEIGHTS["mixed"], np.float32)
    picture = tf.Variable(noise(1, 61, 74, 3))
    with tf.GradientTape() as tape:
        neurons = [neuron_at(activation, position) for activation in network.activations(picture)]
        values = [neuron if channel is None else neuron[channel : channel + 1] for neuron in neurons]
        losses = tf.stack([tf.reduce_mean(tf.square(v) if objective == "l2" else v) for v in values])
        total = tf.reduce_sum(losses * weights)
    inputs = {"position": np.tile(np.array([*position, 0], np.float32), (3, 1))}
    if channel is not None:
        inputs["channel_weights"] = np.concatenate([np.eye(1, n, channel, np.float32) for n in channels_of(network)], 1)
    found, gradient = network.run(picture.numpy(), LAYER_WEIGHTS["mixed"], form, **inputs)
    np.testing.assert_allclose(found[0], losses.numpy(), rtol=1e-4, atol=1e-5)
    expected = tape.gradient(total, picture).numpy()
    np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max() + 1e-9, rtol=0)


def neuron_at(activation: Any, position: tuple[float, float]) -> Any:
    """The channels of the neuron of a layer, NHWC, whose centre is nearest to a position."""
    row, column = (
        min(int(part * length), length - 1) for part, length in zip(position, activation.shape[1:3], strict=True)
    )
    return activation[0, row, column]


@every_form
def test_a_position_matters_the_less_the_larger_its_radius(form: str, tiny: Callable[[str], Converted]) -> None:
    network, pictures = tiny("mean"), noise(1, 61, 74, 3)
    plain, _ = network.run(pictures, LAYER_WEIGHTS["mixed"], form)
    distances = []
    for radius in (0.05, 0.5, 5, 50):
        position = np.tile(np.array([0.2, 0.8, radius], np.float32), (3, 1))
        found, _ = network.run(pictures, LAYER_WEIGHTS["mixed"], form, position=position)
        distances.append(float(np.abs(found - plain).max()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-5 < distances[0]


@every_form
def test_layers_have_positions_of_their_own_and_global_layers_have_none(
    form: str, lite: Callable[[str], Converted]
) -> None:
    network, pictures, weights = lite("mean"), noise(1, 61, 74, 3), (0, 0, 0, 1)
    plain, gradient = network.run(pictures, weights, form)
    position = np.tile(np.array(contract.EVERYWHERE, np.float32), (4, 1))
    position[[1, 3]] = 0.1, 0.2, 0.1
    found, other = network.run(pictures, weights, form, position=position)
    np.testing.assert_array_equal(found[:, [0, 2, 3]], plain[:, [0, 2, 3]])
    assert abs(float(found[0, 1] - plain[0, 1])) > 1e-3
    np.testing.assert_array_equal(other, gradient)


def _stripes(period: int) -> Floats:
    """A picture [50, 53, 3] of vertical stripes; `period` is in pixels."""
    columns = np.where(np.arange(53) % period < period // 2, 0.6, -0.4).astype(np.float32)
    return np.broadcast_to(columns[None, :, None], (50, 53, 3)).copy()


def _half_flat() -> Floats:
    """A picture [50, 53, 3] of noise with a flat left half."""
    picture = noise(50, 53, 3)
    picture[:, :30] = 0.4
    return picture


PICTURES_WITH_TIES: dict[str, Callable[[], Floats]] = {
    "flat grey": lambda: np.full((50, 53, 3), 0.3, np.float32),
    "flat black": lambda: np.full((49, 49, 3), -1, np.float32),
    "flat colour": lambda: np.broadcast_to(np.array([0.9, -0.2, 0.1], np.float32), (50, 53, 3)).copy(),
    "half flat": _half_flat,
    "stripes of 2": lambda: _stripes(2),
    "stripes of 8": lambda: _stripes(8),
    "checkerboard": lambda: _stripes(4) * np.where(np.arange(50) % 4 < 2, 1, -1)[:, None, None].astype(np.float32),
}


@every_form
@pytest.mark.parametrize("kind", PICTURES_WITH_TIES)
@pytest.mark.parametrize("weights", ["mid", "high"])
def test_ties_in_poolings_get_the_gradient_only_once(
    form: str, tiny: Callable[[str], Converted], kind: str, weights: str
) -> None:
    pictures = PICTURES_WITH_TIES[kind]()[None]
    _, gradient = tiny("mean").run(pictures, LAYER_WEIGHTS[weights], form)
    _, expected = tiny("mean").tape(pictures, LAYER_WEIGHTS[weights])
    assert cosine(gradient, expected) > 0.99
    assert norm_ratio(gradient, expected) == pytest.approx(1, abs=0.01)


LA = keras.layers
OPERATORS: dict[str, Callable[[Any], Any]] = {
    "maximum 3/2": lambda x: LA.MaxPooling2D(3, 2, name="end")(x),
    "maximum 3/1": lambda x: LA.MaxPooling2D(3, 1, name="end")(x),
    "maximum 2/2": lambda x: LA.MaxPooling2D(2, 2, name="end")(x),
    "maximum 2x3/3x1": lambda x: LA.MaxPooling2D((2, 3), (3, 1), name="end")(x),
    "two maxima": lambda x: LA.MaxPooling2D(3, 2, name="end")(LA.MaxPooling2D(3, 2)(x)),
    "mean 3": lambda x: LA.AveragePooling2D(3, 1, "same", name="end")(x),
    "mean 5x3": lambda x: LA.AveragePooling2D((5, 3), 1, "same", name="end")(x),
    "relu": lambda x: LA.ReLU(name="end")(x),
    "sum with itself": lambda x: LA.Add(name="end")([x, x]),
    "sum of three": lambda x: LA.Add(name="end")([x, LA.ReLU()(x), x]),
    "concat with itself": lambda x: LA.Concatenate(name="end")([x, LA.ReLU()(x), x]),
    "convolution 3/2": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 3, 2)(x)),
    "convolution 1/2": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 1, 2)(x)),
    "convolution 2/3": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 2, 3)(x)),
    "convolution 3x1/1x2": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, (3, 1), (1, 2))(x)),
    "convolution 4": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 4)(x)),
    "convolution 1x7 same": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, (1, 7), padding="same")(x)),
    "convolution 5x3 same": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, (5, 3), padding="same")(x)),
    "convolution of 80 channels": lambda x: LA.ReLU(name="end")(LA.Conv2D(2, 3)(LA.ReLU()(LA.Conv2D(80, 3)(x)))),
    "two convolutions": lambda x: LA.ReLU(name="end")(LA.Conv2D(2, 3)(LA.Conv2D(4, 3, padding="same")(x))),
    "convolution 3/2 same": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 3, 2, "same")(x)),
    "convolution 1/2 same": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, 1, 2, "same")(x)),
    "convolution 4x2/3 same": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, (4, 2), 3, "same")(x)),
    "convolution 2x4 same": lambda x: LA.ReLU(name="end")(LA.Conv2D(4, (2, 4), padding="same")(x)),
    "depthwise 3": lambda x: LA.ReLU(name="end")(LA.DepthwiseConv2D(3)(x)),
    "depthwise 5 same": lambda x: LA.ReLU(name="end")(LA.DepthwiseConv2D(5, padding="same")(x)),
    "depthwise 5/2 same": lambda x: LA.ReLU(name="end")(LA.DepthwiseConv2D(5, 2, "same")(x)),
    "depthwise 3/2 of 8 channels": lambda x: LA.ReLU(name="end")(
        LA.DepthwiseConv2D(3, 2, "same")(LA.ReLU()(LA.Conv2D(8, 1)(x)))
    ),
    "depthwise 3 with 2 outputs": lambda x: LA.ReLU(name="end")(LA.DepthwiseConv2D(3, depth_multiplier=2)(x)),
    "depthwise 1/2 with 2 outputs": lambda x: LA.ReLU(name="end")(
        LA.DepthwiseConv2D(1, 2, "same", depth_multiplier=2)(x)
    ),
    "groups": lambda x: LA.ReLU(name="end")(LA.Conv2D(6, 3, groups=3)(x)),
    "groups of 2 channels": lambda x: LA.ReLU(name="end")(
        LA.Conv2D(6, 3, 2, "same", groups=2)(LA.ReLU()(LA.Conv2D(4, 1)(x)))
    ),
    "relu6": lambda x: LA.ReLU(6, name="end")(LA.Conv2D(4, 3, kernel_initializer="ones")(x)),
    "mean of all": lambda x: LA.GlobalAveragePooling2D(name="end")(x),
    "dense": lambda x: LA.Identity(name="end")(LA.Dense(3)(LA.GlobalAveragePooling2D()(x))),
}


@cache
def converted_operator(kind: str) -> Converted:
    """A model of a single operator, or of a few."""
    image = keras.Input((None, None, 3))
    keras.utils.set_random_seed(3)
    return Converted(keras.Model(image, OPERATORS[kind](image)), ("end",), "l2")


@every_form
@pytest.mark.parametrize("size", [(7, 7), (8, 9), (12, 11), (13, 10)])
@pytest.mark.parametrize("kind", OPERATORS)
def test_each_operator_on_pictures_full_of_ties(form: str, kind: str, size: tuple[int, int]) -> None:
    """Pixels are whole numbers from -2 to 2: sums are exact, so both programs find the same first maximum."""
    pictures = np.random.default_rng(0).integers(-2, 3, (2, *size, 3)).astype(np.float32)
    losses, gradient = converted_operator(kind).run(pictures, (1,), form)
    expected_losses, expected = converted_operator(kind).tape(pictures, (1,))
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("channels", "parts"), [(64, 1), (80, 2), (96, 1), (112, 2), (144, 1), (160, 2)])
def test_cpu_convolutions_are_split_evenly_among_threads(channels: int, parts: int) -> None:
    """A pass of onnxruntime computes up to 64 channels: 80 are split into two parts whose passes take equally long."""
    image = keras.Input((None, None, 3))
    x = LA.ReLU()(LA.Conv2D(channels, 3)(image))
    model = keras.Model(image, LA.ReLU(name="end")(LA.Conv2D(2, 3)(x)))
    for form, converted in convert(fold(model), ("end",), "mean").items():
        groups = [[a.i for a in node.attribute if a.name == "group"] for node in converted.graph.node]
        dense = [
            node
            for node, group in zip(converted.graph.node, groups, strict=True)
            if node.op_type == "Conv" and group in ([], [1])
        ]
        assert len(dense) == 3 + (parts if form == "blocked" else 1)


@every_form
@pytest.mark.parametrize("kind", ["mean 3", "mean 5x3", "convolution 1x7 same", "convolution 5x3 same"])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3)])
def test_a_picture_smaller_than_a_window_with_same_padding(form: str, kind: str, size: tuple[int, int]) -> None:
    pictures = noise(1, *size, 3)
    _, gradient = converted_operator(kind).run(pictures, (1,), form)
    _, expected = converted_operator(kind).tape(pictures, (1,))
    np.testing.assert_allclose(gradient, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("net", "layers", "objective"),
    [
        ("v3", ("mixed0", "mixed1", "mixed2"), "mean"),
        ("v3", ("mixed10", "mixed8"), "l2"),
        ("inception-resnet-v2", ("block35_2_mixed", "conv_7b_ac"), "mean"),
        ("lite0", ("block03", "block10", "logits"), "l2"),
    ],
)
def test_the_real_backbones_gradients_are_tensorflows(
    net: str, layers: tuple[str, ...], objective: str, real: Callable[[str, tuple[str, ...], str], Converted]
) -> None:
    """In one of the pictures, rounding may decide a pooling's maximum or a ReLU's sign."""
    converted = real(net, layers, objective)
    side = max(converted.forward.smallest_size(), 75)
    weights = (1.0, -0.7, 0.4)[: len(layers)]
    cosines: dict[str, list[float]] = {form: [] for form in FORMS}
    for seed in range(2):
        pictures = noise(1, side, side + 7 + seed, 3, seed=seed)
        expected_losses, expected = converted.tape(pictures, weights)
        for form, found in cosines.items():
            losses, gradient = converted.run(pictures, weights, form)
            np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
            assert norm_ratio(gradient, expected) == pytest.approx(1, abs=0.01)
            found.append(cosine(gradient, expected))
    for found in cosines.values():
        assert max(found) > 0.99999
        assert min(found) > 0.99


@every_form
def test_the_model_is_plain_onnx_with_the_contracts_shapes(form: str, tiny: Callable[[str], Converted]) -> None:
    model = tiny("mean").onnx[form]
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert OPSET in (17, 18)
    assert model.ir_version == IR_VERSION <= 9
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    values = {v.name: v.type.tensor_type for v in (*model.graph.input, *model.graph.output)}
    picture = ["batch", 3, "height", "width"]
    shapes = {name: [d.dim_param or d.dim_value for d in t.shape.dim] for name, t in values.items()}
    assert shapes == {
        "image": picture,
        "layer_weights": [3],
        "channel_weights": ["weights_batch", 42],
        "position": [3, 3],
        "losses": ["batch", 3],
        "gradient": picture,
        "channel_means": ["batch", 42],
    }
    assert {t.elem_type for t in values.values()} == {onnx.TensorProto.FLOAT}
    assert [v.name for v in model.graph.input] == ["image", "layer_weights", "channel_weights", "position"]
    assert [v.name for v in model.graph.output] == ["losses", "gradient", "channel_means"]


DEFAULTS = {"channel_weights", "position"}


@pytest.mark.parametrize("net", ["tiny", "one layer", "tiny-lite", "v3", "lite0"])
def test_every_weight_is_stored_once_and_used(
    net: str,
    tiny: Callable[[str], Converted],
    lite: Callable[[str], Converted],
    real: Callable[[str, tuple[str, ...], str], Converted],
    reference: LoadReference,
) -> None:
    converted = {
        "tiny": lambda: tiny("mean"),
        "one layer": lambda: Converted(reference("tiny").model, ("low",), "mean"),
        "tiny-lite": lambda: lite("mean"),
        "v3": lambda: real("v3", ("mixed0", "mixed1", "mixed2"), "mean"),
        "lite0": lambda: real("lite0", ("block03", "block10", "logits"), "l2"),
    }[net]()
    forward, layers, model = converted.forward, converted.layers, converted.onnx["portable"]
    read = {name for node in model.graph.node for name in node.input}
    assert {t.name for t in model.graph.initializer} <= read
    floats = [
        t
        for t in model.graph.initializer
        if t.data_type == onnx.TensorProto.FLOAT and t.dims and t.name not in DEFAULTS
    ]
    convolutions = [op.name for op in rewritten(forward, layers).operators if isinstance(op, Convolution)]
    assert sorted(t.name for t in floats) == sorted(f"{n}/{part}" for n in convolutions for part in ("kernel", "bias"))
    assert sum(len(onnx.numpy_helper.to_array(t).tobytes()) for t in floats) == 4 * forward.parameters
    constants = [a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute]
    others = [t for t in (*model.graph.initializer, *constants) if t.name not in {f.name for f in floats} | DEFAULTS]
    assert max(onnx.numpy_helper.to_array(t).size for t in others) <= 8
    if net in ("v3", "lite0"):
        assert len(model.SerializeToString()) <= 1.1 * 4 * forward.parameters


def test_the_graph_has_no_more_nodes_than_the_network_needs(
    tiny: Callable[[str], Converted], reference: LoadReference
) -> None:
    forward = fold(reference("tiny").model)
    graph = tiny("mean").onnx["portable"].graph
    kinds = Counter(node.op_type for node in graph.node)
    convolutions = [op for op in forward.operators if isinstance(op, Convolution)]
    strided = [op for op in convolutions if op.strides != (1, 1)]
    at_the_image = [op for op in strided if op.inputs == (IMAGE,)]
    pools = [op for op in forward.operators if isinstance(op, MaxPool)]
    transposed = len(strided) - len(at_the_image)
    assert kinds["Conv"] == 2 * len(convolutions) - transposed  # one forward and one backward
    assert kinds["ConvTranspose"] == transposed
    assert kinds["DepthToSpace"] == len(at_the_image) > 0
    assert kinds["MaxPool"] == 2 * len(pools)  # one along the rows and one down the columns
    assert kinds["Relu"] == sum(isinstance(op, Relu) for op in forward.operators)
    orders = Counter(tuple(node.attribute[0].ints) for node in graph.node if node.op_type == "Transpose")
    assert orders == {
        (1, 0, 2, 3): len(convolutions) - len(strided),  # kernels, which onnxruntime folds when a session loads
        (3, 5, 1, 0, 2, 4): len(at_the_image),
        (0, 2, 3, 1): len(pools),  # to channels last and back, where columns are interleaved
        (0, 3, 1, 2): len(pools),
    }
