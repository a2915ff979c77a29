"""Building the stock Keras model of a backbone."""

from __future__ import annotations

import importlib
import os
from typing import Any

from ..models.backbones import Backbone

# Keras and TensorFlow read these when they are imported.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # plain kernels for the reference, and no message on stderr

import keras
import tensorflow as tf


def build(backbone: Backbone, weights: str | None = None) -> Any:
    """Builds the stock Keras model, channels last, for images of any size; with its classifier if the row says so.

    `weights` is passed to the Keras application: "imagenet", or None for Keras's own initialisation. Layers get the
    automatic names of a fresh Keras session.
    """
    # A GPU would compute in TF32, which deviates from fp32 by more than the tolerances of the verification.
    tf.config.set_visible_devices([], "GPU")
    keras.utils.clear_session()
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    module, function = backbone.builder.split(":")
    builder = getattr(importlib.import_module(module), function)
    return builder(include_top=backbone.include_top, weights=weights, input_shape=(None, None, 3))
