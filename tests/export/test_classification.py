"""EfficientNet-Lite0 recognises what photographs show: in Keras, and as a bundle of its scores.

The photographs are centre crops of 87.5 %, as the network was evaluated with (credits: NOTICE).
"""
# ruff: noqa: E402

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import unverified
from pictures_fixture import load as load_picture

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

from onnxdream.export.builtin import strip_weights, weight_rules
from onnxdream.export.bundle import ExportRequest, make_bundle
from onnxdream.export.folding.fold import fold
from onnxdream.export.rewriting import rewritten
from onnxdream.export.weights import LoadedModel, load
from onnxdream.models.arrays import Floats, Image
from onnxdream.models.assembly import FOLDER, WeightFile, assemble
from onnxdream.models.backbones import find_backbone
from onnxdream.models.contract import LOGITS
from onnxdream.runtime import Bundle
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.provider.machine import Machine

DATA = Path(__file__).parents[1] / "data"
LITE0 = find_backbone("lite0")
# Picture -> the classes that may come first, and their probability in PyTorch; 281, 282 and 285 are cats.
EXPECTED = {
    "chelsea-224.jpg": ({281, 282, 285}, 0.91),
    "coffee-224.jpg": ({967}, 0.96),
    "rocket-224.jpg": ({657}, 0.37),
}


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    """The Keras model with its built-in weights."""
    return load(LITE0, "builtin", 0)


@pytest.fixture(scope="module")
def bundle(loaded: LoadedModel) -> Bundle:
    """A bundle of the scores, as the exporter makes it; other tests compare it with TensorFlow."""
    with unverified():
        return Bundle.load(make_bundle(ExportRequest(LITE0, (LOGITS,), weights="builtin"))[0])


def image_of(name: str) -> Image:
    """A photograph as an image, float32 [3, 224, 224] from -1 to 1."""
    picture = load_picture(DATA / name)
    assert picture.shape == (224, 224, 3)
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / np.float32(127.5) - 1


def scores_in_keras(model: Any, image: Image) -> Floats:
    """The scores [1000] of the stock model, whose input is (pixel - 127) / 128."""
    pixels = (image.transpose(1, 2, 0) + 1) * 127.5
    return np.asarray(model((pixels[None] - 127) / 128, training=False))[0]


def scores_of(bundle: Bundle, image: Image) -> Floats:
    session = Session(bundle, 224, 224, Machine("cpu", 1))
    return session.channel_means(image, Objective(np.ones(1, np.float32)))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_photograph_is_recognised(name: str, loaded: LoadedModel, bundle: Bundle) -> None:
    classes, published = EXPECTED[name]
    image = image_of(name)
    expected, found = scores_in_keras(loaded.model, image), scores_of(bundle, image)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    probabilities = np.exp(found - found.max()) / np.exp(found - found.max()).sum()
    assert int(np.argmax(found)) in classes
    assert probabilities[list(classes)].sum() == pytest.approx(published, abs=0.15)


def test_the_scores_have_the_names_of_the_classes(bundle: Bundle) -> None:
    (layer,) = bundle.metadata.layers
    assert (layer.name, layer.channels, layer.is_global) == (LOGITS, 1000, True)
    names = bundle.metadata.class_names
    assert [names[number] for number in (281, 282, 285, 657, 967)] == [
        "tabby, tabby cat",
        "tiger cat",
        "Egyptian cat",
        "missile",
        "espresso",
    ]


def test_a_bundle_without_weights_is_assembled_to_the_same_scores(loaded: LoadedModel, bundle: Bundle) -> None:
    """As a built-in bundle would be: the classifier's dense kernel comes from the weight file, too."""
    forward = rewritten(fold(loaded.model, LITE0.preprocessing).cut((LOGITS,)), (LOGITS,))
    model, graph_at = strip_weights(bundle.data, forward)
    assert LITE0.built_in
    weights = WeightFile((FOLDER / LITE0.built_in.file).read_bytes())
    assembled = Bundle.load(assemble(model, graph_at, weight_rules(forward, loaded), weights).whole)
    image = image_of("coffee-224.jpg")
    np.testing.assert_array_equal(scores_of(assembled, image), scores_of(bundle, image))
