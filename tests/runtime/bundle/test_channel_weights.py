"""Channel weights: channels by number, those that a picture activates most or least, and a guide's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures_fixture import noise

from onnxdream.models.arrays import Floats, Pixels
from onnxdream.models.contract import Layer
from onnxdream.runtime.bundle.bundle import Bundle
from onnxdream.runtime.bundle.channel_weights import (
    Pick,
    chosen_channels,
    guided_channels,
    parse_channels,
    parse_pick,
    picked_channels,
    plain_weights,
)
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.dream.run import dream
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.image.processor import ImageProcessor
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.settings.settings import Execution, Settings

LAYERS = (Layer("low", 4, 2), Layer("high", 3, 4))
BOTH = np.ones(2, np.float32)
CPU = Execution("cpu", 1)
PICTURE = noise(48, 56)


def array(*values: float) -> Floats:
    return np.array(values, np.float32)


def test_channels_are_parsed_with_their_signs() -> None:
    found = parse_channels(["mixed2:12,-40, +3", "mixed0:-0"])
    assert found == {"mixed2": ((12, 1.0), (40, -1.0), (3, 1.0)), "mixed0": ((0, -1.0),)}
    assert parse_channels(["stage:one:2"]) == {"stage:one": ((2, 1.0),)}


@pytest.mark.parametrize(
    "texts",
    [
        ["mixed2"],
        ["mixed2:"],
        [":1"],
        [""],
        ["mixed2:1,,2"],
        ["mixed2:1.5"],
        ["mixed2:--1"],
        ["mixed2:a"],
        ["mixed2:1000000000"],
        ["mixed2:1", "mixed2:2"],
        ["mixed2:1,1"],
        ["mixed2:1,-1"],
    ],
)
def test_nonsense_is_refused(texts: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"as in mixed2:12,-40"):
        parse_channels(texts)


def test_a_pick_is_parsed() -> None:
    assert parse_pick("strongest:5") == Pick("strongest", 5)
    assert parse_pick("weakest") == Pick("weakest", 1)


@pytest.mark.parametrize("text", ["", "5", "strong:1", "strongest:0", "strongest:-1", "weakest:x", "weakest:1:2"])
def test_a_nonsense_pick_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="write strongest:5"):
        parse_pick(text)


def test_plain_weights_are_the_means_over_each_layer_s_channels() -> None:
    np.testing.assert_allclose(plain_weights(LAYERS), [1 / 4] * 4 + [1 / 3] * 3)


def test_chosen_channels_share_their_layer_and_do_not_change_other_layers() -> None:
    weights = chosen_channels(LAYERS, parse_channels(["low:1,-3"]))
    np.testing.assert_allclose(weights, [0, 0.5, 0, -0.5, 1 / 3, 1 / 3, 1 / 3])
    weights = chosen_channels(LAYERS, parse_channels(["high:-0"]))
    np.testing.assert_allclose(weights, [1 / 4] * 4 + [-1, 0, 0])
    assert weights.dtype == np.float32


def test_an_unknown_layer_or_channel_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsError, match=r"'mid'.*low, high"):
        chosen_channels(LAYERS, parse_channels(["mid:1"]))
    with pytest.raises(SettingsError, match=r"channel 3 is not in high: .*0 to 2"):
        chosen_channels(LAYERS, parse_channels(["high:3"]))


def test_the_strongest_and_the_weakest_are_picked_in_each_layer() -> None:
    means = array(0.1, 5, 0.3, 2, 7, 1, 3)
    strongest = picked_channels(LAYERS, BOTH, means, Pick("strongest", 2))
    np.testing.assert_allclose(strongest, [0, 0.5, 0, 0.5, 0.5, 0, 0.5])
    weakest = picked_channels(LAYERS, BOTH, means, Pick("weakest", 1))
    np.testing.assert_allclose(weakest, [1, 0, 0, 0, 0, 1, 0])


def test_a_channel_that_the_picture_does_not_activate_is_never_picked() -> None:
    means = array(0, 0, 0.3, 0, 0, 0, 0)
    for which in ("strongest", "weakest"):
        np.testing.assert_allclose(picked_channels(LAYERS, BOTH, means, Pick(which, 3)), [0, 0, 1, 0, 0, 0, 0])
    with pytest.raises(SettingsError, match="activates no channel of these"):
        picked_channels(LAYERS, BOTH, np.zeros(7, np.float32), Pick("weakest", 2))


def test_layers_without_a_weight_do_not_count() -> None:
    means, only_high = array(1, 2, 3, 4, 0, 0, 0), array(0, 1)
    with pytest.raises(SettingsError, match="activates no channel of these"):
        picked_channels(LAYERS, only_high, means, Pick("strongest", 1))
    with pytest.raises(SettingsError, match="more than the picture does"):
        guided_channels(LAYERS, only_high, means, np.zeros(7, np.float32))


def test_a_pick_of_too_many_channels_takes_all_that_are_active() -> None:
    means = array(1, 2, 3, 0, 1, 1, 1)
    np.testing.assert_allclose(
        picked_channels(LAYERS, BOTH, means, Pick("strongest", 99)), [1 / 3] * 3 + [0] + [1 / 3] * 3
    )


def test_a_guide_s_weights_are_its_surplus_over_the_picture() -> None:
    guide, own = array(3, 0, 2, 1, 5, 0, 0), array(0, 1, 1, 1, 1, 2, 3)
    np.testing.assert_allclose(guided_channels(LAYERS, BOTH, guide, own), [0.75, 0, 0.25, 0, 1, 0, 0])
    with pytest.raises(SettingsError, match="more than the picture does"):
        guided_channels(LAYERS, BOTH, own, own)


# With a real bundle.


@pytest.fixture(scope="module")
def tiny(tiny_path: Path) -> Bundle:
    return Bundle.load(tiny_path)


def means_of(bundle: Bundle, settings: Settings, pixels: Pixels = PICTURE) -> list[Floats]:
    """The channel means of a picture before it is dreamed, float32 [channels of the layer] for each layer."""
    processor = ImageProcessor(pixels, bundle.metadata, settings)
    session = Session(bundle, *processor.size, Machine("cpu", 1))
    found = session.channel_means(processor.base(processor.size), Objective(np.ones(3, np.float32)))
    return np.split(found, np.cumsum([layer.channels for layer in bundle.metadata.layers])[:-1])


def test_the_losses_of_a_dream_are_the_signed_means_of_its_channels(tiny: Bundle) -> None:
    settings = Settings(steps=1, channels=("low:1,-3,-0", "high:5"), execution=CPU, snapshots=())
    losses = dream(PICTURE, tiny, settings).losses
    low, mid, high = means_of(tiny, settings)
    expected = [(low[1] - low[3] - low[0]) / 3, mid.mean(), high[5]]
    np.testing.assert_allclose(losses[0], expected, rtol=1e-4, atol=1e-6)


def test_only_the_chosen_channels_are_maximised(tiny: Bundle) -> None:
    """The expected picture comes from a plain loop that feeds the session the weights of one channel."""
    settings = Settings(steps=3, channels=("low:1",), execution=CPU, snapshots=())
    alone = dream(PICTURE, tiny, settings)
    again = dream(PICTURE, tiny, replace(settings, layer_weights={"low": 1.0, "mid": 0.0}))
    with_others = dream(PICTURE, tiny, replace(settings, channels=("low:1", "mid:0")))
    np.testing.assert_array_equal(alone.picture, again.picture)
    assert (alone.picture != with_others.picture).any()
    processor = ImageProcessor(PICTURE, tiny.metadata, settings)
    weights = chosen_channels(tiny.metadata.layers, parse_channels(settings.channels))
    session, image = Session(tiny, *processor.size, Machine("cpu", 1)), processor.base(processor.size)
    for _ in range(3):
        _, gradient = session.evaluate(image, Objective(array(1, 0, 0), weights))
        image = np.clip(image + np.float32(settings.step_size) * gradient / (gradient.std() + 1e-8), -1, 1)
    np.testing.assert_allclose(alone.picture, processor.postprocess(image), atol=1)


def test_a_dream_raises_a_chosen_channel_and_a_minus_lowers_it(tiny: Bundle) -> None:
    low, _, _ = means_of(tiny, Settings())
    channel = int(np.argsort(low)[-2])
    for sign in ("", "-"):
        settings = Settings(
            steps=5, channels=(f"low:{sign}{channel}",), layer_weights={"low": 1.0}, execution=CPU, snapshots=()
        )
        losses = dream(PICTURE, tiny, settings).losses[:, 0]
        assert losses[0] == pytest.approx(-low[channel] if sign else low[channel], rel=1e-4)
        assert losses[-1] > losses[0]  # the loss of -channel rises as the channel falls


@pytest.mark.parametrize("which", ["strongest", "weakest"])
def test_the_losses_of_a_pick_are_the_means_of_its_channels(tiny: Bundle, which: str) -> None:
    settings = Settings(steps=1, pick=f"{which}:2", execution=CPU, snapshots=())
    losses = dream(PICTURE, tiny, settings).losses
    expected = []
    for means in means_of(tiny, settings):
        active = np.sort(means[means > 0])
        expected.append((active[-2:] if which == "strongest" else active[:2]).mean())
    np.testing.assert_allclose(losses[0], expected, rtol=1e-4, atol=1e-6)


def test_the_losses_of_a_guided_dream_are_weighted_by_the_guide_s_surplus(tiny: Bundle) -> None:
    settings = Settings(steps=1, normalization="backbone", execution=CPU, snapshots=())
    guide = noise(40, 44, seed=7) // 2 + 90
    losses = dream(PICTURE, tiny, settings, guide=guide).losses
    expected = []
    for own, other in zip(means_of(tiny, settings), means_of(tiny, settings, guide), strict=True):
        surplus = np.maximum(other - own, 0)
        expected.append(float((own * surplus).sum() / max(surplus.sum(), 1e-12)))
    np.testing.assert_allclose(losses[0], expected, rtol=1e-4, atol=1e-6)


def test_plain_channel_weights_change_nothing(tiny: Bundle) -> None:
    image, ones = np.random.default_rng(0).uniform(-1, 1, (3, 40, 40)).astype(np.float32), np.ones(3, np.float32)
    session = Session(tiny, 40, 40, Machine("cpu", 1))
    plain, explicit = (
        session.evaluate(image, Objective(ones, weights)) for weights in (None, plain_weights(tiny.metadata.layers))
    )
    for one, other in zip(plain, explicit, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_guide_together_with_channels_or_a_pick_is_refused(tiny: Bundle) -> None:
    for settings in (Settings(channels=("low:1",), execution=CPU), Settings(pick="weakest:1", execution=CPU)):
        with pytest.raises(SettingsError, match="contradict"):
            dream(PICTURE, tiny, settings, guide=noise(40, 40))
