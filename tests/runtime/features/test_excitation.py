"""What a picture excites, and the command `info --picture`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, TINY_LITE_BYTES, Command, in_this_process, photograph, save

from onnxdream.runtime import Bundle, Execution, Sessions
from onnxdream.runtime.features.built_in import BuiltInAtlas, DrawnLayer
from onnxdream.runtime.features.excitation import channel_means, most_excited
from onnxdream.runtime.features.feature import channels_of
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.selection import choose_provider


@pytest.fixture(scope="module")
def machine() -> Machine:
    return choose_provider(Execution("cpu", 1)).machine


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    (tmp_path / "tiny.onnx").write_bytes(TINY_BYTES)
    (tmp_path / "lite.onnx").write_bytes(TINY_LITE_BYTES)
    save(tmp_path / "photo.png", photograph(48, 64))
    monkeypatch.chdir(tmp_path)
    return in_this_process(capfd)


def test_the_strongest_channels_come_first(machine: Machine) -> None:
    sessions = Sessions(Bundle.load(TINY_BYTES))
    picture = photograph(48, 64)
    means = channel_means(picture, sessions, machine)
    metadata = sessions.bundle.metadata
    for layer, found in most_excited(picture, sessions, machine, 3).items():
        own = means[channels_of(metadata, layer)]
        assert [one.feature.channel for one in found] == np.argsort(-own, kind="stable")[:3].tolist()
        assert [one.mean for one in found] == pytest.approx(np.sort(own)[::-1][:3].tolist())


def test_with_an_atlas_those_that_exceed_photographs_in_general_come_first(machine: Machine) -> None:
    sessions = Sessions(Bundle.load(TINY_BYTES))
    picture = photograph(48, 64)
    metadata = sessions.bundle.metadata
    means = channel_means(picture, sessions, machine)
    layers = {}
    for layer in metadata.layer_names:
        natural = means[channels_of(metadata, layer)].copy()
        weakest = int(np.argmin(np.where(natural > 0, natural, np.inf)))
        natural[weakest] /= 3  # so that this picture excites it three times as much as others do
        layers[layer] = DrawnLayer((weakest,), tuple(map(float, natural)), {str(weakest): "eyes"})
    atlas = BuiltInAtlas("tiny", sessions.bundle.sha256, layers)
    for layer, found in most_excited(picture, sessions, machine, 2, atlas).items():
        (expected,) = layers[layer].tiles
        assert found[0].feature.channel == expected
        assert found[0].times == pytest.approx(3, rel=1e-3)
        assert str(found[0]) == f"{expected} eyes {found[0].mean:.4g} (3×)"


def test_the_channels_of_each_layer_are_listed(run: Command) -> None:
    finished = run("info", "tiny.onnx", "--picture", "photo.png")
    assert finished.code == 0, finished.err
    assert [line.split()[0] for line in finished.out.splitlines()] == ["layer", "low", "mid", "high"]


def test_classes_have_probabilities_that_sum_to_1(run: Command) -> None:
    finished = run("info", "lite.onnx", "--picture", "photo.png", "--json")
    classes = json.loads(finished.out)["logits"]
    assert 0.5 < sum(one["probability"] for one in classes) <= 1.0001
    assert all(one["feature"]["label"] for one in classes)
    assert "%" in run("info", "lite.onnx", "--picture", "photo.png").out


def test_a_picture_needs_a_bundle_and_a_file(run: Command) -> None:
    assert "name the bundle" in run("info", "--picture", "photo.png").err
    missing = run("info", "tiny.onnx", "--picture", "none.png")
    assert missing.code == 1
    assert len(missing.err.splitlines()) == 1
