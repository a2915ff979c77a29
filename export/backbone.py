"""Building the stock Keras model of a backbone."""

from __future__ import annotations

import importlib
from typing import Any

import keras
import tensorflow as tf

from ..models.backbones import Backbone
from .keras_file import read_network


def build(backbone: Backbone, weights: str | None = None) -> Any:
    """Builds the stock Keras model, channels last, for images of any size; with its classifier if the row says so.

    `weights` is passed to the Keras application: "imagenet", or None for Keras's own initialisation. Layers get the
    automatic names of a fresh Keras session. A model of the user's own is read from its file. Raises ModelFileError.
    """
    # A GPU would compute in TF32, which deviates from fp32 by more than the tolerances of the verification.
    tf.config.set_visible_devices([], "GPU")
    keras.utils.clear_session()
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    if backbone.file:
        return read_network(backbone.file)
    module, function = backbone.builder.split(":")
    builder = getattr(importlib.import_module(module), function)
    return builder(include_top=backbone.include_top, weights=weights, input_shape=(None, None, 3))
