"""Building the stock Keras model of a backbone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, cast

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
    with _whole_lines():
        return builder(include_top=backbone.include_top, weights=weights, input_shape=(None, None, 3))


@contextmanager
def _whole_lines() -> Iterator[None]:
    """Ends the line of Keras's progress bar, which stays open where a download breaks off."""
    lines = _Lines(sys.stdout)
    try:
        with redirect_stdout(cast(TextIO, lines)):
            yield
    finally:
        if lines.is_open:
            print(flush=True)


class _Lines:
    """A stream of text that knows whether its last line is open."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_open = False

    def write(self, text: str) -> int:
        if text:
            self.is_open = not text.endswith("\n")
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
