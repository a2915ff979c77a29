"""The network that is trained: Keras's Inception-v3 up to `mixed4`, with two heads."""

from __future__ import annotations

from typing import Any

import keras

TAPS = ("mixed2", "mixed4")
"""The layers behind which a head tells the classes apart. The first makes the low layers worth looking at."""


def build_classifier(classes: int) -> keras.Model:
    """From RGB in [-1, 1], `[batch, height, width, 3]` of any size, to two logits `[batch, classes]`.

    `keras.utils.set_random_seed` makes the random weights repeatable.
    """
    backbone = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(None, None, 3))
    cut = keras.Model(backbone.input, [backbone.get_layer(tap).output for tap in TAPS])
    trunk = keras.models.clone_model(cut, clone_function=_for_training_from_scratch)
    low, high = (keras.layers.GlobalAveragePooling2D()(tap) for tap in trunk.output)
    high = keras.layers.Dropout(0.2)(high)
    heads = [
        keras.layers.Dense(classes, name=f"{tap}_logits")(features)
        for tap, features in zip(TAPS, (low, high), strict=True)
    ]
    return keras.Model(trunk.input, heads)


def _for_training_from_scratch(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer again, with He's initialisation, and statistics that follow a short training closely."""
    settings: dict[str, Any] = layer.get_config()
    if isinstance(layer, keras.layers.Conv2D):
        settings["kernel_initializer"] = keras.initializers.HeNormal()
    if isinstance(layer, keras.layers.BatchNormalization):
        settings["momentum"] = 0.95
    return layer.__class__.from_config(settings)
