"""The rows of the table of backbones; `python -m tests.networks` exports all of them."""
# ruff: noqa: E402

from __future__ import annotations

from typing import Any

import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras

from onnxdream.export.backbone import build
from onnxdream.export.bundle import ExportRequest, make_bundle
from onnxdream.export.folding.fold import fold
from onnxdream.models.backbones import BACKBONES, Backbone, find_backbone


@pytest.mark.parametrize(("name", "layer_set"), [("mobilenetv2", "low"), ("efficientnetb0", "low")])
def test_a_network_of_the_table_passes_its_comparisons(name: str, layer_set: str) -> None:
    backbone = find_backbone(name)
    _, metadata = make_bundle(ExportRequest(backbone, backbone.layer_sets[layer_set], weights="random"))
    assert metadata.backbone == name
    gated = [layer.is_global for layer in metadata.layers]
    assert gated == [name == "efficientnetb0"] * len(metadata.layers)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_a_row_of_the_table_has_the_file_that_keras_asks_for_and_layers_that_are_available(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def get_file(fname: str, origin: str, **_: Any) -> str:
        asked.append((fname, origin))
        return fname

    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", get_file)
    monkeypatch.setattr(keras.Model, "load_weights", lambda *_, **__: None)
    download = backbone.imagenet
    available = fold(build(backbone, "imagenet" if download else None)).layers
    assert asked == ([(download.file, download.url)] if download else [])
    assert backbone.default_set in backbone.layer_sets
    for members in backbone.layer_sets.values():
        assert set(members) <= set(available)
