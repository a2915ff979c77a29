"""Directions: weights of channels from an array or a file, or from one picture to another."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, noise, save

from onnxdream.models.arrays import Floats, Pixels
from onnxdream.models.contract import Layer
from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.bundle.directions import Direction, direction_paths
from onnxdream.runtime.errors import PictureError, SettingsError

LAYERS = (Layer("low", 4, 2), Layer("high", 3, 4))
BOTH, ONLY_HIGH = np.ones(2, np.float32), np.array([0, -2], np.float32)
WEIGHTS = np.array([1, 0, -0.5], np.float32)


def of(given: Any) -> Direction:
    return Direction.of(given, pytest.fail)


def no_means(pixels: Pixels) -> Floats:
    pytest.fail("weights need no picture")


def test_weights_are_those_of_the_only_layer_with_a_weight() -> None:
    found = of(WEIGHTS).channel_weights(LAYERS, ONLY_HIGH, no_means)
    np.testing.assert_array_equal(found, [0, 0, 0, 0, 1, 0, -0.5])
    assert found.dtype == np.float32
    with pytest.raises(SettingsError, match="those of one layer, not of low, high: choose one with --layers"):
        of(WEIGHTS).channel_weights(LAYERS, BOTH, no_means)
    with pytest.raises(SettingsError, match="has 3 weights, but low has 4 channels"):
        of(WEIGHTS).channel_weights(LAYERS, np.array([1, 0], np.float32), no_means)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (WEIGHTS.astype(np.float64), r"float64 \[3\], but a direction is float32 \[channels\]"),
        (np.ones((1, 3), np.float32), r"float32 \[1, 3\], but a direction is float32 \[channels\]"),
        (np.float32([1, np.nan, 0]), "not finite numbers"),
        (np.float32([1, np.inf, 0]), "not finite numbers"),
        (np.zeros(3, np.float32), "all weights in .* are 0"),
        (np.array(["a"]), "but a direction is float32"),
    ],
)
def test_other_arrays_are_refused_in_one_line_also_in_a_file(array: Any, reason: str, tmp_path: Path) -> None:
    np.save(tmp_path / "direction.npy", array)
    for given in (array, tmp_path / "direction.npy", str(tmp_path / "direction.npy")):
        with pytest.raises(SettingsError, match=reason) as refusal:
            of(given)
        assert "\n" not in str(refusal.value)


def test_a_file_of_weights_is_read_and_any_other_file_refused(tmp_path: Path) -> None:
    path = tmp_path / "direction.npy"
    np.save(path, WEIGHTS)
    np.testing.assert_array_equal(of(path).weights, WEIGHTS)
    for damage in (b"", b"no array", path.read_bytes()[:-2], pickle.dumps([1, 2])):
        path.write_bytes(damage)
        with pytest.raises(SettingsError, match=r"is not a \.npy file of numbers"):
            of(path)
    with pytest.raises(SettingsError, match=r"no direction .*lost\.npy"):
        of(tmp_path / "lost.npy")
    with pytest.raises(SettingsError, match="cannot read direction"):
        of(tmp_path)


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    np.save(tmp_path / "direction.npy", np.array([print], object), allow_pickle=True)
    with pytest.raises(SettingsError, match=r"is not a \.npy file of numbers"):
        of(tmp_path / "direction.npy")


@pytest.mark.parametrize("given", [3.0, None, [], (1,), [1, 2, 3]])
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(SettingsError, match=r"give a \.npy file, or two pictures"):
        of(given)


def means(**rows: list[float]) -> tuple[Direction, Callable[[Pixels], Floats]]:
    """A direction between two pictures, and the function that returns their channel means."""
    first, second = noise(8, 9), noise(9, 8)
    values = {first.shape: rows["first"], second.shape: rows["second"]}
    return of((first, second)), lambda pixels: np.array(values[pixels.shape], np.float32)


def test_a_direction_leads_from_the_first_picture_to_the_second() -> None:
    direction, means_of = means(first=[1, 2, 3, 4, 5, 5, 5], second=[2, 2, 1, 5, 5, 5, 5])
    found = direction.channel_weights(LAYERS, BOTH, means_of)
    np.testing.assert_allclose(found, [0.25, 0, -0.5, 0.25, 0, 0, 0])
    assert found.dtype == np.float32
    with pytest.raises(SettingsError, match="look the same to these layers"):
        direction.channel_weights(LAYERS, ONLY_HIGH, means_of)


def test_the_text_of_an_option_names_one_file_or_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert direction_paths("a.npy") == (Path("a.npy"),)
    assert direction_paths("~/a.NPY") == (Path("/somewhere/a.NPY"),)
    assert direction_paths("day.jpg, ~/night.png") == (Path("day.jpg"), Path("/somewhere/night.png"))
    for text in ("", "a.jpg", "a.jpg,b.npy", "a.npy,b.npy", "a.jpg,b.jpg,c.jpg", ","):
        with pytest.raises(SettingsError, match=r"give a \.npy file, or two pictures"):
            direction_paths(text)


# With a real bundle

TINY = Bundle.load(TINY_BYTES)
PICTURE = noise(48, 56)
FEW = Settings(steps=3, step_size=0.02, execution=Execution("cpu", 1))


def test_a_dream_along_unit_weights_is_that_of_the_channel(tmp_path: Path) -> None:
    weights = np.zeros(14, np.float32)
    weights[[2, 5]] = 0.5, -0.5
    np.save(tmp_path / "weights.npy", weights)
    only_low = Settings(**{**vars(FEW), "layer_weights": {"low": 1.0}})
    expected = dream(PICTURE, TINY, Settings(**{**vars(FEW), "channels": ("low:2,-5",)}))
    for given in (weights, tmp_path / "weights.npy"):
        found = dream(PICTURE, TINY, only_low, direction=given)
        np.testing.assert_array_equal(found.picture, expected.picture)
        np.testing.assert_array_equal(found.losses[:, 0], expected.losses[:, 0])


def test_a_direction_to_the_same_picture_and_one_with_a_guide_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", PICTURE)
    with pytest.raises(SettingsError, match="look the same"):
        dream(PICTURE, TINY, FEW, direction=(PICTURE, tmp_path / "a.png"))
    with pytest.raises(SettingsError, match="a direction and a guide contradict"):
        dream(PICTURE, TINY, FEW, direction=(PICTURE, PICTURE), guide=PICTURE)
    with pytest.raises(SettingsError, match="a direction and guide by caricature contradict"):
        dream(PICTURE, TINY, Settings(guide_by="caricature"), direction=(PICTURE, PICTURE))
    with pytest.raises(SettingsError, match="pick and a direction contradict"):
        dream(PICTURE, TINY, Settings(pick="weakest"), direction=(PICTURE, PICTURE))
    with pytest.raises(PictureError, match=r"lost\.png: no such picture"):
        dream(PICTURE, TINY, FEW, direction=(PICTURE, tmp_path / "lost.png"))


def test_there_and_back_are_opposite_directions() -> None:
    other = noise(60, 50, seed=5) // 2
    there, back = (dream(PICTURE, TINY, FEW, direction=pair).losses[0] for pair in ((PICTURE, other), (other, PICTURE)))
    np.testing.assert_allclose(there, -back, rtol=1e-4)
    assert np.abs(there).min() > 0
