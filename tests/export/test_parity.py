"""The runtime's `tutorial` steps against TensorFlow's loop on the stock Keras model: both real backbones with random
weights, and one with the built-in ImageNet weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures_fixture import noise

from onnxdream.models.backbones import find_backbone
from onnxdream.runtime import Bundle, Execution, Step, dream, preset

tf = pytest.importorskip("tensorflow")

CASES = [
    ("v3", ("mixed0", "mixed1", "mixed2"), "random"),
    ("inception-resnet-v2", ("block35_2_mixed", "block35_4_mixed"), "random"),
    ("v3", ("mixed0", "mixed1", "mixed2"), "builtin"),
]
STEPS, EARLY = 100, 10
# Each layer's loss at every step, and the picture after few: rounding alone drives the pictures apart later, while the
# losses, which are means, stay together the better the more pixels there are.
LOSS_ERROR = 0.005
PSNR = 45.0


@dataclass(frozen=True)
class Pair:
    """A bundle, those of its layers that are climbed, and the losses and gradient of the Keras model that it came
    from."""

    bundle: Bundle
    layers: tuple[str, ...]
    evaluate: Callable[[Any], tuple[Any, Any]]


@pytest.fixture(scope="session", params=CASES, ids=[f"{model}-{weights}" for model, _, weights in CASES])
def pair(request: pytest.FixtureRequest) -> Pair:
    """A real backbone, as a bundle and as it is."""
    import keras

    from onnxdream.export.bundle import ExportRequest, make_bundle
    from onnxdream.export.weights import load

    model, layers, weights = request.param
    backbone = find_backbone(model)
    reference = load(backbone, weights, seed=3).model
    activations = keras.Model(reference.input, [reference.get_layer(layer).output for layer in layers])

    @tf.function
    def evaluate(image: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            losses = tf.stack([tf.reduce_mean(activation) for activation in activations(image, training=False)])
            total = tf.reduce_sum(losses)
        return losses, tape.gradient(total, image)

    if weights == "builtin":
        return Pair(Bundle.built_in("v3-low"), layers, evaluate)
    data, _ = make_bundle(ExportRequest(backbone, layers, weights=weights, seed=3))
    return Pair(Bundle.load(data), layers, evaluate)


def tutorial_loop(pair: Pair, picture: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Losses [STEPS + 1, layers] and the pictures [STEPS + 1, height, width, 3] of TensorFlow's tutorial."""
    image = tf.constant(picture[None] / 127.5 - 1, tf.float32)
    losses, pictures = [], []
    for _ in range(STEPS + 1):
        row, gradient = pair.evaluate(image)
        losses.append(row.numpy())
        pictures.append(np.clip(np.rint((image.numpy()[0] + 1) * 127.5), 0, 255))
        image = tf.clip_by_value(image + gradient / (tf.math.reduce_std(gradient) + 1e-8) * 0.01, -1, 1)
    return np.array(losses), np.array(pictures)


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def test_a_dream_is_tensorflow_s_dream(pair: Pair) -> None:
    # With trained weights the ascent is more chaotic: TensorFlow's own loop, started a ten-thousandth of a level away,
    # is then as far from itself as the dream is from it. More pixels hold the means together.
    picture = noise(256, 384, seed=1) if pair.bundle.is_built_in else noise(192, 256, seed=1)
    losses, pictures = tutorial_loop(pair, picture)
    dreamt: list[NDArray[Any]] = []

    def on_step(step: Step) -> None:
        dreamt.append(step.fetch_picture())

    climbed = dict.fromkeys(pair.layers, 1.0)
    settings = preset("tutorial", steps=STEPS, layer_weights=climbed, execution=Execution("cpu"))
    dreamed = dream(picture, pair.bundle, settings, on_step)
    found = dreamed.losses[:, [pair.bundle.metadata.layer_names.index(layer) for layer in pair.layers]]
    assert found.shape == losses.shape == (STEPS + 1, len(pair.layers))
    errors = np.abs(found - losses) / np.abs(losses)
    assert errors.max() <= LOSS_ERROR, errors.max(axis=1)
    assert psnr(dreamt[0], pictures[0]) == float("inf")
    assert psnr(dreamt[1], pictures[1]) >= 60
    assert psnr(dreamt[EARLY], pictures[EARLY]) >= PSNR
    assert psnr(dreamt[EARLY], pictures[0]) < 40  # ten steps change the picture by far more than they differ
    assert losses[-1].sum() > 2 * losses[0].sum()
