"""The runtime's preset `tutorial` against the loop of TensorFlow's tutorial on the stock Keras model.

Both real backbones are compared with random weights, and Inception-v3 with the built-in ImageNet weights as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from exports import unverified
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
# Tolerances for each layer's loss at every step (relative), and for the picture after a few steps (dB). Later, rounding
# alone makes the pictures diverge. The losses are means and agree the better the more pixels there are.
MAX_LOSS_ERROR = 0.005
MIN_PSNR = 45.0


@dataclass(frozen=True)
class Pair:
    """A bundle, the layers that are dreamed, and a function for the losses and the gradient of its Keras model.

    `evaluate` takes an image [1, height, width, 3] and returns losses [layers] and the gradient of their sum.
    """

    bundle: Bundle
    layers: tuple[str, ...]
    evaluate: Callable[[Any], tuple[Any, Any]]


@pytest.fixture(scope="session", params=CASES, ids=[f"{model}-{weights}" for model, _, weights in CASES])
def pair(request: pytest.FixtureRequest) -> Pair:
    """A real backbone as a bundle and as a Keras model."""
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
    with unverified():
        data, _ = make_bundle(ExportRequest(backbone, layers, weights=weights, seed=3))
    return Pair(Bundle.load(data), layers, evaluate)


def tutorial_loop(pair: Pair, picture: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Runs the loop of TensorFlow's tutorial on a picture [height, width, 3].

    Returns losses [STEPS + 1, layers] and pictures [STEPS + 1, height, width, 3] from 0 to 255.
    """
    image = tf.constant(picture[None] / 127.5 - 1, tf.float32)
    losses, pictures = [], []
    for _ in range(STEPS + 1):
        row, gradient = pair.evaluate(image)
        losses.append(row.numpy())
        pictures.append(np.clip(np.rint((image.numpy()[0] + 1) * 127.5), 0, 255))
        image = tf.clip_by_value(image + gradient / (tf.math.reduce_std(gradient) + 1e-8) * 0.01, -1, 1)
    return np.array(losses), np.array(pictures)


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The peak signal-to-noise ratio of two pictures from 0 to 255, in dB."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def test_a_dream_equals_the_dream_of_tensorflow_s_tutorial(pair: Pair) -> None:
    # With trained weights the ascent is more chaotic: if TensorFlow's own loop starts a ten-thousandth of a level away,
    # its results differ as much from each other as the dream's do from them. More pixels make the means agree better.
    picture = noise(256, 384, seed=1) if pair.bundle.is_built_in else noise(192, 256, seed=1)
    losses, pictures = tutorial_loop(pair, picture)
    dreamed_pictures: list[NDArray[Any]] = []

    def on_step(step: Step) -> None:
        dreamed_pictures.append(step.fetch_picture())

    layer_weights = dict.fromkeys(pair.layers, 1.0)
    settings = preset("tutorial", steps=STEPS, layer_weights=layer_weights, execution=Execution("cpu"))
    dreamed = dream(picture, pair.bundle, settings, on_step)
    found = dreamed.losses[:, [pair.bundle.metadata.layer_names.index(layer) for layer in pair.layers]]
    assert found.shape == losses.shape == (STEPS + 1, len(pair.layers))
    errors = np.abs(found - losses) / np.abs(losses)
    assert errors.max() <= MAX_LOSS_ERROR, errors.max(axis=1)
    assert psnr(dreamed_pictures[0], pictures[0]) == float("inf")
    assert psnr(dreamed_pictures[1], pictures[1]) >= 60
    assert psnr(dreamed_pictures[EARLY], pictures[EARLY]) >= MIN_PSNR
    assert psnr(dreamed_pictures[EARLY], pictures[0]) < 40  # ten steps change the picture by far more than they differ
    assert losses[-1].sum() > 2 * losses[0].sum()
