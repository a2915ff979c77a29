"""The rows of the table of backbones; `python -m tests.networks` exports all of them."""
# ruff: noqa: E402

from __future__ import annotations

from typing import Any

import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras

from onnxdream.export.backbone import build
from onnxdream.export.bundle import ExportRequest, make_bundle
from onnxdream.models.backbones import BACKBONES, Backbone, find_backbone

APPLICATIONS = [backbone for backbone in BACKBONES if backbone.builder.startswith("keras.applications")]


@pytest.mark.parametrize(("name", "layer_set"), [("mobilenetv2", "low"), ("efficientnetb0", "low")])
def test_a_network_of_the_table_passes_its_comparisons(name: str, layer_set: str) -> None:
    backbone = find_backbone(name)
    _, metadata = make_bundle(ExportRequest(backbone, backbone.layer_sets[layer_set], weights="random"))
    assert metadata.backbone == name
    gated = [layer.is_global for layer in metadata.layers]
    assert gated == [name == "efficientnetb0"] * len(metadata.layers)


class AskedForError(Exception):
    """Keras asks for a file."""


@pytest.mark.parametrize("backbone", APPLICATIONS, ids=lambda backbone: backbone.name)
def test_keras_asks_for_the_file_of_the_table(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def get_file(fname: str, origin: str, **_: Any) -> str:
        asked.append((fname, origin))
        raise AskedForError

    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", get_file)
    with pytest.raises(AskedForError):
        build(backbone, "imagenet")
    assert backbone.imagenet is not None
    assert asked == [(backbone.imagenet.file, backbone.imagenet.url)]
