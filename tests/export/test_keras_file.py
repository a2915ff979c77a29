"""Whole models of the user's own: what is exported, and what is refused in one line without running its code."""
# ruff: noqa: E402

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras
from exports import unverified

from onnxdream.export.bundle import ExportRequest, list_layers, make_bundle
from onnxdream.export.errors import ExportError, ModelFileError, UnknownLayerError, WeightsError
from onnxdream.export.keras_file import own_backbone, read_network
from onnxdream.models.contract import LOGITS
from onnxdream.models.preprocessing import PREPROCESSINGS
from onnxdream.runtime import Bundle

LA = keras.layers
SIDE = 32


def scaled(image: Any) -> Any:
    return LA.Rescaling(1 / 127.5, -1)(LA.RandomFlip()(image))


def model_of(x: Any, image: Any) -> Any:
    x = LA.Conv2D(6, 3, 2, activation="relu", name="low")(x)
    x = LA.GlobalAveragePooling2D()(LA.Conv2D(5, 3, 2, activation="relu", name="high")(x))
    return keras.Model(image, LA.Dense(3, activation="softmax", name="classes")(x))


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """A classifier of three classes that scales its pixels itself."""
    image = keras.Input((SIDE, SIDE, 3))
    model_of(scaled(image), image).save(tmp_path / "birds.keras")
    return tmp_path / "birds.keras"


def test_a_model_that_scales_its_pixels_is_given_pixels_from_0_to_255(birds: Path) -> None:
    said: list[str] = []
    backbone = own_backbone(birds, None, said.append)
    assert backbone.preprocessing == PREPROCESSINGS["raw"]
    assert said == ["birds.keras scales its pixels itself (layer rescaling), so it is given pixels from 0 to 255"]


def test_another_model_must_be_told_its_range(tmp_path: Path) -> None:
    image = keras.Input((SIDE, SIDE, 3))
    model_of(image, image).save(tmp_path / "plain.keras")
    with pytest.raises(ModelFileError, match=r"^plain\.keras does not scale .* --preprocessing tf, unit, raw"):
        own_backbone(tmp_path / "plain.keras", None)
    assert own_backbone(tmp_path / "plain.keras", "unit").preprocessing == PREPROCESSINGS["unit"]
    with pytest.raises(ModelFileError, match="unknown preprocessing 'imagenet'"):
        own_backbone(tmp_path / "plain.keras", "imagenet")


def test_a_model_of_ones_own_becomes_a_bundle_with_its_classes(birds: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("jay\nowl, night bird\nwren\n", encoding="utf-8")
    request = ExportRequest(own_backbone(birds, None), ("high", LOGITS), objective="l2", class_names=names)
    data, metadata = make_bundle(request)
    assert metadata.backbone == metadata.weights.source == "birds.keras"
    assert metadata.class_names == ("jay", "owl, night bird", "wren")
    assert [(layer.stride, layer.is_global) for layer in metadata.layers] == [(4, False), (0, True)]
    assert metadata.export_command == "onnxdream export --model birds.keras --layers high,logits --objective l2"
    assert Bundle.load(data).metadata == metadata


@unverified()
def test_layers_may_have_names_that_tensorflow_lacks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = named(["é\\", "a>", "b\nc", "d=1", "🦊", "block,1"], tmp_path)
    data, _ = make_bundle(ExportRequest(own_backbone(path, "raw"), ("é\\", "a>", "d=1", "🦊")))
    assert Bundle.load(data).metadata.layer_names == ("é\\", "a>", "d=1", "🦊")
    assert "not a valid node name" not in capfd.readouterr().err
    with pytest.raises(ExportError, match=r"^the layer name 'b\\nc' has control characters: rename it in the model$"):
        make_bundle(ExportRequest(own_backbone(path, "raw"), ("b\nc",)))
    with pytest.raises(UnknownLayerError, match=r"(?s)names are block,1.*; rename it in the model, since a comma sep"):
        make_bundle(ExportRequest(own_backbone(path, "raw"), ("block", "1")))  # of --layers block,1


def named(names: list[str], folder: Path) -> Path:
    """A model of convolutions with these names."""
    x = image = keras.Input((SIDE, SIDE, 3))
    for name in names:
        x = LA.Conv2D(3, 3, activation="relu", name=name)(x)
    keras.Model(image, x).save(folder / "named.keras")
    return folder / "named.keras"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jay\nowl\n", "has 2 lines, logits has 3 classes"),
        ("jay\n\nwren\n", "has 3 lines"),
        ("jay\n\x1b[1m\nwren\n", "has 3 lines"),
        (None, "cannot read the class names"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(birds: Path, tmp_path: Path, text: str | None, message: str) -> None:
    names = tmp_path / "names.txt"
    if text is not None:
        names.write_text(text)
    request = ExportRequest(own_backbone(birds, "raw"), (LOGITS,), class_names=names)
    with pytest.raises(ExportError, match=message):
        make_bundle(request)
    with pytest.raises(ExportError, match="class names belong to the layer logits"):
        make_bundle(replace(request, layers=("high",)))


def test_a_request_without_layers_or_with_weights_says_what_to_do(birds: Path) -> None:
    request = ExportRequest(own_backbone(birds, "raw"), ())
    with pytest.raises(UnknownLayerError, match=r"give --layers, for instance high; .* `layers --model birds\.keras`"):
        make_bundle(request)
    with pytest.raises(WeightsError, match=r"^birds\.keras has weights of its own: leave --weights out"):
        make_bundle(replace(request, layers=("high",), weights="random"))


def test_a_model_without_strides_or_without_layers_is_not_answered_with_an_empty_list(tmp_path: Path) -> None:
    image = keras.Input((SIDE, SIDE, 3))
    path = tmp_path / "flat.keras"
    keras.Model(image, LA.Conv2D(4, 3, activation="relu", name="only")(image)).save(path)
    with pytest.raises(UnknownLayerError, match="give --layers, for instance only;"):
        make_bundle(ExportRequest(own_backbone(path, "unit"), ()))
    keras.Model(image, LA.GlobalMaxPooling2D(name="top")(image)).save(path)
    backbone = own_backbone(path, "unit")
    for refused in (lambda: make_bundle(ExportRequest(backbone, ())), lambda: list_layers(backbone)):
        with pytest.raises(ExportError, match=r"^flat\.keras has no layer that can be exported: layer top is a Global"):
            refused()


def test_good_layers_are_the_ends_of_stages(birds: Path) -> None:
    assert {info.layer.name: info.hint for info in list_layers(own_backbone(birds, "raw"))} == {
        "low": "",
        "high": "end of a stage",
        "global_average_pooling2d": "",
        "logits": "",
    }


def test_a_model_of_mixed_precision_is_exported_in_fp32(tmp_path: Path) -> None:
    path = tmp_path / "mixed.keras"
    saved_with_policy("mixed_float16", path)
    _, metadata = make_bundle(ExportRequest(own_backbone(path, "raw"), ("high",)))
    assert min(check.cosine for check in metadata.verification) > 0.9999


def saved_with_policy(policy: str, path: Path) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        image = keras.Input((SIDE, SIDE, 3))
        scaled = LA.Conv2D(3, 1, activation=LA.LeakyReLU(0.1))(image)  # a layer in a layer
        model_of(scaled, image).save(path)
    finally:
        keras.config.set_dtype_policy("float32")


class Foreign(LA.Layer):
    """A layer that no other program knows."""

    def call(self, x: Any) -> Any:
        raise AssertionError("its code was run")


keras.saving.register_keras_serializable("tests")(Foreign)


def _lambda(x: Any) -> Any:
    return LA.Lambda(lambda x: 2 * x, name="culprit")(x)


def _own_function(x: Any) -> Any:
    def twice(x: Any) -> Any:
        return 2 * x

    return LA.Activation(twice, name="culprit")(x)


def _recurrent() -> Any:
    text = keras.Input((7,))
    return keras.Model(text, LA.LSTM(3)(LA.Embedding(9, 4)(text)))


def _two_inputs() -> Any:
    first, second = (keras.Input((SIDE, SIDE, 3)) for _ in range(2))
    return keras.Model([first, second], LA.Add()([first, second]))


def _with(layer: Callable[[Any], Any], shape: tuple[int, ...] = (SIDE, SIDE, 3)) -> Callable[[], Any]:
    def build() -> Any:
        image = keras.Input(shape)
        return keras.Model(image, layer(image))

    return build


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "lambda": (_with(_lambda), "layer culprit is a Lambda, whose code onnxdream does not run"),
    "custom layer": (
        _with(Foreign(name="culprit").__call__),
        "layer culprit uses Foreign, which is not a part of Keras",
    ),
    "own function": (_with(_own_function), "layer culprit uses twice, which is not a part of Keras"),
    "text": (_recurrent, "takes 7 numbers, onnxdream needs a picture"),
    "grey": (_with(LA.ReLU(), (SIDE, SIDE, 1)), "takes 32 x 32 x 1 numbers, onnxdream needs a picture"),
    "channels first": (_with(LA.ReLU(), (3, SIDE, SIDE)), "takes 3 x 32 x 32 numbers"),
    "two inputs": (_two_inputs, "has 2 inputs, onnxdream needs one"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_cannot_be_exported_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    build, message = REFUSED[kind]
    path = tmp_path / "model.keras"
    build_without_running(build).save(path)
    with pytest.raises(ModelFileError, match=message) as refusal:
        read_network(path)
    assert "\n" not in str(refusal.value)


def build_without_running(build: Callable[[], Any]) -> Any:
    """Builds a model whose foreign layer is traced once, by Keras, which must not count as running it."""
    call = Foreign.call
    Foreign.call = lambda self, x: x  # type: ignore[method-assign]
    try:
        return build()
    finally:
        Foreign.call = call  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"module": "keras.layers", "class_name": "TFSMLayer"}, "is a TFSMLayer, whose code"),
        ({"module": "keras.utils", "class_name": "get_file"}, "uses get_file, which is not a part of Keras"),
        ({"module": "os", "class_name": "system"}, "uses system"),
        ({"module": "builtins", "class_name": "function", "config": "eval"}, "uses eval"),
        ({"module": "keras.utils", "class_name": "function", "config": "get_file"}, "uses get_file"),
    ],
)
def test_a_description_that_would_run_something_is_refused(layer: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = {"class_name": "Sequential", "module": "keras", "config": {"name": "model", "layers": [layer]}}
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(model))
    with pytest.raises(ModelFileError, match=message):
        read_network(tmp_path / "model.keras")


def test_a_model_in_half_precision_is_refused(tmp_path: Path) -> None:
    saved_with_policy("float16", tmp_path / "half.keras")
    with pytest.raises(ModelFileError, match="has weights in float16"):
        read_network(tmp_path / "half.keras")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"<html>not found</html>"])
def test_files_that_are_no_models_are_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"^model\{suffix} cannot be read: is it a complete Keras model"):
        read_network(path)
    with pytest.raises(ModelFileError, match="there is no such file"):
        read_network(tmp_path / f"missing{suffix}")


def test_a_file_of_weights_is_no_model(birds: Path, tmp_path: Path) -> None:
    read_network(birds).save_weights(tmp_path / "birds.weights.h5")
    with pytest.raises(ModelFileError, match=r"holds weights only: .* with --weights"):
        read_network(tmp_path / "birds.weights.h5")


def test_a_whole_legacy_file_is_a_model_too(birds: Path, tmp_path: Path) -> None:
    model = read_network(birds)
    model.save(tmp_path / "birds.h5")
    picture = np.random.default_rng(0).uniform(0, 255, (1, SIDE, SIDE, 3)).astype(np.float32)
    found = read_network(tmp_path / "birds.h5")(picture, training=False)
    np.testing.assert_allclose(found, model(picture, training=False), rtol=1e-5)
