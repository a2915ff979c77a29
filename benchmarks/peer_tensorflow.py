"""The system of TensorFlow, as a user would write it: GradientTape on the original Keras model in a tf.function."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import importlib
import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from rows import STEP_SIZE, Case
from timing import timed

if TYPE_CHECKING:  # not imported, so that a cold start does not include it
    from onnxdream.models.arrays import Image


class TensorFlow:
    """Computes gradients and times steps with images [1, height, width, 3] and TensorFlow's own kernels (oneDNN)."""

    def __init__(self, case: Case, threads: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        facts = json.loads((case.folder / "forward.json").read_text())
        module, function = facts["builder"].split(":")
        builder = getattr(importlib.import_module(module), function)
        model = builder(include_top=facts["include_top"], weights=None, input_shape=(None, None, 3))
        model.load_weights(case.folder / "keras.weights.h5")
        self._model = keras.Model(model.input, [model.get_layer(layer).output for layer in facts["layers"]])
        self._scale, self._offset = facts["preprocessing"]
        self._objective: Any = tf.square if facts["objective"] == "l2" else tf.identity
        self._image: Any = tf.constant(np.load(case.image).transpose(1, 2, 0)[None])

    def gradient(self) -> Image:
        """Returns the gradient of the sum of the layers' losses at the case's image."""
        _, gradient = self._loss_and_gradient(self._image)
        return np.ascontiguousarray(gradient.numpy()[0].transpose(2, 0, 1))

    def step_seconds(self, count: int) -> list[float]:
        """Returns the seconds of each of `count` whole steps, after one that is not counted."""
        return timed(self._advance, count)

    def versions(self) -> dict[str, str]:
        """Returns the versions of TensorFlow and Keras."""
        return {"tensorflow": tf.__version__, "keras": keras.__version__}

    def _advance(self) -> float:
        loss, self._image = self._step(self._image)
        return float(loss)

    @tf.function
    def _loss_and_gradient(self, image: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            layers = self._model(image * self._scale + self._offset, training=False)
            loss = tf.add_n([tf.reduce_mean(self._objective(layer)) for layer in layers])
        return loss, tape.gradient(loss, image)

    @tf.function
    def _step(self, image: Any) -> Any:
        loss, gradient = self._loss_and_gradient(image)
        gradient /= tf.math.reduce_std(gradient) + 1e-8
        return loss, tf.clip_by_value(image + STEP_SIZE * gradient, -1.0, 1.0)
