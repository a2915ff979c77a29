"""Features as users name them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pictures_fixture import TINY_BYTES, TINY_LITE_BYTES

from onnxdream.models.contract import Metadata
from onnxdream.runtime import Bundle
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.features.feature import (
    Feature,
    channel_numbers,
    channels_of,
    layer_of,
    layer_weights,
    parse_features,
)

CLASSES = (Path(__file__).parents[2] / "data" / "tiny-classes.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def tiny() -> Metadata:
    return Bundle.load(TINY_BYTES).metadata


@pytest.fixture(scope="module")
def lite() -> Metadata:
    return Bundle.load(TINY_LITE_BYTES).metadata


def test_a_layer_has_all_its_channels(tiny: Metadata) -> None:
    layer = tiny.layers[1]
    found = parse_features(tiny, [layer.name])
    assert found == [Feature(layer.name, channel) for channel in range(layer.channels)]


def test_channels_and_layers_are_named_once_each(tiny: Metadata) -> None:
    found = parse_features(tiny, ["low:2,0", "mid:1", "low: 2"])
    assert [str(one) for one in found] == ["low:2", "low:0", "mid:1"]


def test_classes_are_found_by_name_and_by_number(lite: Metadata) -> None:
    name = CLASSES[4].split(",")[0].strip()
    (one,) = parse_features(lite, [f"logits:{name}"])
    assert one == parse_features(lite, ["logits:4"])[0] == Feature("logits", 4, name)
    assert str(one) == f"logits:4 ({name})"
    assert one.file_stem == f"logits-4-{name.replace(' ', '-')}"


def test_a_layer_in_a_folder_of_a_network_makes_no_folder() -> None:
    assert Feature("block/conv", 3, "a / b: c").file_stem == "block_conv-3-a-b-c"
    assert Feature("stage:1", 3).file_stem == "stage_1-3"  # Windows has no colons in names of files


def test_a_layer_s_name_may_have_colons(tiny: Metadata) -> None:
    metadata = replace(tiny, layers=(replace(tiny.layers[0], name="stage:1"), *tiny.layers[1:]))
    assert len(parse_features(metadata, ["stage:1"])) == metadata.layers[0].channels
    assert parse_features(metadata, ["stage:1:2"]) == [Feature("stage:1", 2)]
    named = {"stage:1:2": "stage:1", "mid:0,1": "mid", "mid": "mid", "logits:a: b": "logits"}
    assert {text: layer_of(text) for text in named} == named


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing", "is not in the bundle"),
        ("low:", "is not understood"),
        ("low:one", "is not understood"),
        ("low:-1", "is not understood"),
        ("low:999", "channels 0 to"),
        ("logits", "has no layer logits"),
        ("logits:3", "has no layer logits"),
        ("", "is not in the bundle"),
    ],
)
def test_what_a_bundle_does_not_have_is_refused(text: str, reason: str, tiny: Metadata) -> None:
    with pytest.raises(SettingsError, match=reason):
        parse_features(tiny, [text])


def test_channels_are_counted_over_all_layers(tiny: Metadata) -> None:
    low, mid = tiny.layers[:2]
    features = parse_features(tiny, ["mid:2", "low:1"])
    assert channel_numbers(tiny, features) == [low.channels + 2, 1]
    assert channels_of(tiny, "mid") == slice(low.channels, low.channels + mid.channels)
    assert layer_weights(tiny, features[:1]).tolist() == [float(name == "mid") for name in tiny.layer_names]
