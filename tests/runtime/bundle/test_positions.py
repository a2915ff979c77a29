"""Positions of layers, and layers that see the whole picture: neither is cut into tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from make_tiny_bundle import TINY_LITE_PATH
from pictures_fixture import noise

from onnxdream.models.arrays import Floats, Image
from onnxdream.models.contract import EVERYWHERE
from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.positions import chosen_positions, parse_positions
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.settings.settings import ProviderName

LITE = Bundle.load(TINY_LITE_PATH)
LAYERS = LITE.metadata.layers
CPU = Execution("cpu", threads=1)
ONES = np.ones(len(LAYERS), np.float32)
HEIGHT, WIDTH = 40, 56  # pixels: the layer mid has 5 x 7 neurons
MID = slice(LAYERS[0].channels, LAYERS[0].channels + LAYERS[1].channels)


@pytest.fixture(scope="module")
def session() -> Session:
    """The tiny lite net for pictures of that size."""
    return Session(LITE, HEIGHT, WIDTH, Machine("cpu", 1), takes_positions=True)


@pytest.fixture(scope="module")
def image() -> Image:
    """Noise from -1 to 1."""
    return np.random.default_rng(0).uniform(-1, 1, (3, HEIGHT, WIDTH)).astype(np.float32)


def at(*position: float) -> Objective:
    """All layers, with a position for mid."""
    positions = np.array([EVERYWHERE] * len(LAYERS), np.float32)
    positions[1] = position
    return Objective(ONES, None, positions)


@pytest.mark.parametrize("bundle", [LITE, Bundle.built_in("v3-low"), Bundle.built_in("lite0")], ids=lambda b: b.name)
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_the_default_position_changes_nothing(bundle: Bundle, provider: ProviderName) -> None:
    """The same bits come out where it is fed, where it is the input's default, and where it is a constant."""
    if PROVIDERS[provider].ort_name not in ort.get_available_providers():
        pytest.skip(f"this onnxruntime has no {provider}")
    image = np.random.default_rng(0).uniform(-1, 1, (3, 96, 88)).astype(np.float32)
    ones = np.ones(len(bundle.metadata.layers), np.float32)
    everywhere = np.tile(np.array(EVERYWHERE, np.float32), (len(ones), 1))
    machine = Machine(provider, 1)
    without, taking = (Session(bundle, 96, 88, machine, takes_positions=takes) for takes in (False, True))
    expected = without.evaluate(image, Objective(ones))
    for found in (taking.evaluate(image, Objective(ones)), taking.evaluate(image, Objective(ones, None, everywhere))):
        for one, two in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_radius_of_zero_leaves_one_neuron(session: Session, image: Image) -> None:
    """The mean over all neurons, each taken alone, is the layer's mean; and only what a neuron sees has a gradient."""
    plain = session.channel_means(image, Objective(ONES))
    alone: list[Floats] = []
    for row in range(5):
        for column in range(7):
            alone.append(session.channel_means(image, at((row + 0.5) / 5, (column + 0.5) / 7, 0))[MID])
    np.testing.assert_allclose(np.mean(alone, axis=0), plain[MID], rtol=1e-5, atol=1e-6)
    assert np.std(alone, axis=0).max() > 0.01
    positions = at(0.1, 0.07, 0).positions
    only_mid = np.array([0, 1, 0, 0], np.float32)
    _, gradient = session.evaluate(image, Objective(only_mid, None, positions))
    assert np.abs(gradient[:, : HEIGHT // 2, : WIDTH // 2]).max() > 0
    assert np.abs(gradient[:, :, -8:]).max() == 0


def test_a_place_between_neurons_takes_the_nearest(session: Session, image: Image) -> None:
    nearest, near = (session.channel_means(image, at(y, 0.5, 0))[MID] for y in (0.5, 0.56))
    np.testing.assert_allclose(near, nearest, rtol=1e-5)


def test_each_picture_of_a_batch_may_have_channel_weights_of_its_own() -> None:
    model = ort.InferenceSession(LITE.data, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (2, 3, HEIGHT, WIDTH)).astype(np.float32)
    weights = rng.normal(size=(2, sum(layer.channels for layer in LAYERS))).astype(np.float32)
    feed = {"image": images, "layer_weights": ONES, "channel_weights": weights}
    losses, gradient = model.run(["losses", "gradient"], feed)
    for index in range(2):
        single = {**feed, "image": images[index : index + 1], "channel_weights": weights[index : index + 1]}
        for found, expected in zip((losses, gradient), model.run(["losses", "gradient"], single), strict=True):
            np.testing.assert_allclose(found[index], expected[0], rtol=1e-4, atol=1e-6)


def test_positions_are_parsed() -> None:
    assert parse_positions(["mid:0.5,0.25,0.1", "low:0,1"]) == {"mid": (0.5, 0.25, 0.1), "low": (0.0, 1.0, 0.0)}
    assert parse_positions(["stage:one:0,1"]) == {"stage:one": (0.0, 1.0, 0.0)}
    found = chosen_positions(LAYERS, {"mid": (0.5, 0.25, 0.1)})
    assert found is not None
    np.testing.assert_allclose(found, [EVERYWHERE, (0.5, 0.25, 0.1), EVERYWHERE, EVERYWHERE])
    assert chosen_positions(LAYERS, {}) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mid", "is not understood: write y, x and a radius"),
        ("mid:0.5", "is not understood"),
        ("mid:0.5,a", "is not understood"),
        ("mid:0.5,nan", "is not understood"),
        ("mid:0.5,0.5,0.1,2", "is not understood"),
        (":0.5,0.5", "is not understood"),
        ("mid:1.01,0.5", "lies outside the picture: y and x are from 0 to 1"),
        ("mid:0.5,-0.1", "lies outside the picture"),
        ("mid:0.5,0.5,-1", "has a radius below 0"),
        ("mid:0.5,0.5,1e9", "far beyond the picture"),
        ("top:0.5,0.5", "layer 'top' of --position is not in the bundle: it has low, mid, high, logits"),
        ("logits:0.5,0.5", "layer logits has one value for the whole picture, so it has no position"),
    ],
)
def test_a_position_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        chosen_positions(LAYERS, parse_positions([text]))


def test_a_layer_has_one_position() -> None:
    with pytest.raises(SettingsError, match="each layer once"):
        parse_positions(["mid:0,0", "mid:1,1"])


def test_a_dream_at_a_position_changes_the_picture_there() -> None:
    picture = noise(64, 96)
    settings = Settings(steps=5, step_size=0.05, layer_weights={"low": 1.0}, normalization="backbone", execution=CPU)
    dreamed = dream(picture, LITE, replace(settings, position=("low:0.5,0.2,0.05",)))
    change = np.abs(dreamed.picture.astype(int) - picture).max(axis=(0, 2))
    assert change[: 96 // 3].max() > 20
    assert change[-96 // 3 :].max() == 0


TILED = replace(CPU, tile_pixels=64 * 64)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"position": ("low:0.5,0.5",)}, "a position is a place in the whole picture, but .*smaller --max-size$"),
        ({}, "layer logits sees the whole picture at once, but .* or --global-tiles"),
        ({"tiling": "tutorial", "max_size": 600}, "layer logits sees the whole picture"),
    ],
)
def test_what_needs_the_whole_picture_is_not_cut_into_tiles(changes: dict[str, object], said: str) -> None:
    settings = Settings(steps=1, execution=TILED, **changes)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=said):
        dream(noise(600, 600) if "tiling" in changes else noise(160, 200), LITE, settings)


def test_global_layers_are_tiled_if_asked_for_and_left_alone_without_weight() -> None:
    picture = noise(160, 200)
    for settings in (Settings(global_tiles=True), Settings(layer_weights={"low": 1.0})):
        dreamed = dream(picture, LITE, replace(settings, steps=1, execution=TILED))
        assert dreamed.record.steps_done == 1
        assert len(dreamed.record.octaves) == 1


def test_small_pictures_with_a_global_layer_need_no_tiles() -> None:
    assert dream(noise(60, 60), LITE, Settings(steps=1, execution=TILED)).record.steps_done == 1
