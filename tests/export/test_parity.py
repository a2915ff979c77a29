"""The runtime's preset `tutorial` against the loop of TensorFlow's tutorial on the stock Keras model.

The built-in bundle of Inception-v3 is compared, whose weights are ImageNet's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures_fixture import noise

from onnxdream.models.backbones import find_backbone
from onnxdream.runtime import Bundle, Execution, Step, dream, preset

tf = pytest.importorskip("tensorflow")

LAYERS = ("mixed0", "mixed1", "mixed2")
STEPS, EARLY = 60, 10
# Tolerances for each layer's loss at every step (relative), and for the picture after a few steps (dB). Later, rounding
# alone makes the pictures diverge. The losses are means and agree the better the more pixels there are.
MAX_LOSS_ERROR = 0.005
MIN_PSNR = 45.0


def keras_evaluation() -> Callable[[Any], tuple[Any, Any]]:
    """Returns a function of the Keras model: image [1, height, width, 3] -> losses [layers], gradient of their sum."""
    import keras

    from onnxdream.export.weights import load

    model = load(find_backbone("v3"), "builtin", 0).model
    activations = keras.Model(model.input, [model.get_layer(layer).output for layer in LAYERS])

    @tf.function
    def evaluate(image: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            losses = tf.stack([tf.reduce_mean(activation) for activation in activations(image, training=False)])
            total = tf.reduce_sum(losses)
        return losses, tape.gradient(total, image)

    return evaluate


def tutorial_loop(picture: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Runs the loop of TensorFlow's tutorial on a picture [height, width, 3].

    Returns losses [STEPS + 1, layers] and pictures [STEPS + 1, height, width, 3] from 0 to 255.
    """
    evaluate, image = keras_evaluation(), tf.constant(picture[None] / 127.5 - 1, tf.float32)
    losses, pictures = [], []
    for _ in range(STEPS + 1):
        row, gradient = evaluate(image)
        losses.append(row.numpy())
        pictures.append(np.clip(np.rint((image.numpy()[0] + 1) * 127.5), 0, 255))
        image = tf.clip_by_value(image + gradient / (tf.math.reduce_std(gradient) + 1e-8) * 0.01, -1, 1)
    return np.array(losses), np.array(pictures)


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The peak signal-to-noise ratio of two pictures from 0 to 255, in dB."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def test_a_dream_equals_the_dream_of_tensorflow_s_tutorial() -> None:
    # With trained weights the ascent is more chaotic: if TensorFlow's own loop starts a ten-thousandth of a level away,
    # its results differ as much from each other as the dream's do from them. More pixels make the means agree better.
    picture = noise(256, 384, seed=1)
    losses, pictures = tutorial_loop(picture)
    dreamed_pictures: list[NDArray[Any]] = []

    def on_step(step: Step) -> None:
        dreamed_pictures.append(step.fetch_picture())

    layer_weights = dict.fromkeys(LAYERS, 1.0)
    settings = preset("tutorial", steps=STEPS, layer_weights=layer_weights, execution=Execution("cpu"))
    found = dream(picture, Bundle.built_in("v3-low"), settings, on_step).losses
    assert found.shape == losses.shape == (STEPS + 1, len(LAYERS))
    errors = np.abs(found - losses) / np.abs(losses)
    assert errors.max() <= MAX_LOSS_ERROR, errors.max(axis=1)
    assert psnr(dreamed_pictures[0], pictures[0]) == float("inf")
    assert psnr(dreamed_pictures[1], pictures[1]) >= 60
    assert psnr(dreamed_pictures[EARLY], pictures[EARLY]) >= MIN_PSNR
    assert psnr(dreamed_pictures[EARLY], pictures[0]) < 40  # ten steps change the picture by far more than they differ
    assert losses[-1].sum() > 2 * losses[0].sum()
