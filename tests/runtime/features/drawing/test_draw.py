"""Drawing: what grows in a picture, in batches and alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, TINY_LITE_BYTES

from onnxdream.models.arrays import Floats, Size
from onnxdream.runtime import Bundle, Sessions
from onnxdream.runtime.bundle.means import functions_towards
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.errors import DivergedError, SettingsError
from onnxdream.runtime.features.drawing.aim import Aim, Subject, layers_aim
from onnxdream.runtime.features.drawing.draw import DrawingStep, batches, draw
from onnxdream.runtime.features.feature import Feature, channels_of, layer_weights, parse_features, weighed
from onnxdream.runtime.features.settings import FeatureSettings
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.selection import choose_provider
from onnxdream.runtime.settings.parsing import GuideBy
from onnxdream.runtime.settings.settings import Execution

FEW = FeatureSettings(size=32, steps=12)


@pytest.fixture(scope="module")
def sessions() -> Sessions:
    return Sessions(Bundle.load(TINY_BYTES))


@pytest.fixture(scope="module")
def machine() -> Machine:
    return choose_provider(Execution("cpu", 1)).machine


def feature(sessions: Sessions, number: int, layer: str = "mid") -> Feature:
    return parse_features(sessions.bundle.metadata, [f"{layer}:{number}"])[0]


@pytest.mark.parametrize("views", ["crops", "jitter", "affine", "none"])
@pytest.mark.parametrize("param", ["maco", "fourier", "pixels"])
def test_the_channel_of_a_feature_grows(param: str, views: str, sessions: Sessions, machine: Machine) -> None:
    settings = replace(FEW, param=param, views=views, steps=40)
    losses: list[float] = []
    (drawn,) = draw([feature(sessions, 1)], settings, sessions, machine, None, lambda step: losses.append(step.loss))
    assert len(losses) == drawn.steps == 40
    assert np.mean(losses[-5:]) > np.mean(losses[:5]) + 0.1 * abs(np.mean(losses[:5]))
    assert drawn.pixels.shape == (32, 32, 3)
    assert drawn.pixels.dtype == np.uint8


def test_a_feature_is_drawn_in_a_batch_as_it_is_alone(sessions: Sessions, machine: Machine) -> None:
    three = [feature(sessions, 0), feature(sessions, 2), feature(sessions, 1, "low")]
    together = draw(three, FEW, sessions, machine)
    for one, drawn in zip(three, together, strict=True):
        (alone,) = draw([one], FEW, sessions, machine)
        assert drawn.subject == one
        assert drawn.loss == pytest.approx(alone.loss, rel=1e-3)
        difference = drawn.pixels.astype(int) - alone.pixels
        assert np.abs(difference).mean() < 0.5


def test_functions_of_channel_means_are_drawn_in_a_batch_as_they_are_alone(
    sessions: Sessions, machine: Machine
) -> None:
    layers = sessions.bundle.metadata.layers
    channels, random = sum(layer.channels for layer in layers), np.random.default_rng(0)
    weights = np.array([0, 1, 0.5], np.float32)
    aims = [
        Aim("guide", "guide", Objective(weights, function=functions_towards(layers, weights, target, GuideBy(kind))))
        for kind, target in zip(("cosine", "caricature"), random.random((2, channels), np.float32), strict=True)
    ]
    subjects: list[Subject] = [*aims, feature(sessions, 1)]
    together = draw(subjects, FEW, sessions, machine)
    for one, drawn in zip(aims, together, strict=False):
        (alone,) = draw([one], FEW, sessions, machine)
        assert drawn.loss == pytest.approx(alone.loss, rel=1e-3)
        assert np.abs(drawn.pixels.astype(int) - alone.pixels).mean() < 0.5
        (before,) = draw([one], replace(FEW, steps=1), sessions, machine)
        assert drawn.loss > before.loss


def test_a_drawing_may_start_from_another(sessions: Sessions, machine: Machine) -> None:
    (first,) = draw([feature(sessions, 1)], FEW, sessions, machine)
    (further,) = draw([feature(sessions, 1)], replace(FEW, steps=2), sessions, machine, start=first.parameters)
    (afresh,) = draw([feature(sessions, 1)], replace(FEW, steps=2), sessions, machine)
    assert (first.steps, further.steps, further.of_steps) == (12, 1, 1)
    assert abs(further.loss - first.loss) < 0.5 * abs(afresh.loss - first.loss)


def test_the_loss_is_the_mean_of_the_channel_on_the_whole_picture(sessions: Sessions, machine: Machine) -> None:
    one = feature(sessions, 3)
    (drawn,) = draw([one], replace(FEW, views="crops"), sessions, machine)
    image = (drawn.pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)
    means = _means(sessions, machine, image)
    assert drawn.loss == pytest.approx(means[channels_of(sessions.bundle.metadata, "mid")][3], rel=0.02)


def _means(sessions: Sessions, machine: Machine, image: Floats) -> Floats:
    metadata = sessions.bundle.metadata
    weights = np.zeros((1, sum(layer.channels for layer in metadata.layers)), np.float32)
    session = sessions.get(*image.shape[1:], machine)
    return session.evaluate_batch(image[None], layer_weights(metadata, []), weights)[0][0]


def test_minus_lowers_the_channel(sessions: Sessions, machine: Machine) -> None:
    (raised,), (lowered,) = (
        draw([feature(sessions, 1)], replace(FEW, sign=sign, steps=40), sessions, machine) for sign in ("+", "-")
    )
    assert lowered.loss < raised.loss


def test_minus_has_no_picture_where_squares_are_maximised(machine: Machine) -> None:
    sessions = Sessions(Bundle.built_in("lite0"))
    with pytest.raises(SettingsError, match="l2"):
        draw([Feature("block03", 0)], replace(FEW, sign="-"), sessions, machine)


def test_minus_turns_a_direction_around_also_where_squares_are_maximised(machine: Machine) -> None:
    sessions = Sessions(Bundle.built_in("lite0"))
    metadata = sessions.bundle.metadata
    along = weighed(metadata, {Feature("block03", 0): 1.0, Feature("block03", 1): -1.0})
    there, back = (
        draw([layers_aim(["block03"], "along it", along)], replace(FEW, sign=sign), sessions, machine)[0]
        for sign in ("+", "-")
    )
    assert back.loss < there.loss


def test_diverse_pictures_differ_more_than_independent_ones(sessions: Sessions, machine: Machine) -> None:
    settings = replace(FEW, steps=60, views="none", diversity=2)
    one = feature(sessions, 1)
    pair = draw([one], settings, sessions, machine)
    assert [drawn.number for drawn in pair] == [0, 1]
    # The same noise, drawn without being pushed apart.
    first, second = (draw([one], replace(settings, diversity=1, seed=seed), sessions, machine)[0] for seed in (0, 1))
    layer = channels_of(sessions.bundle.metadata, "mid")

    def cosine(*pictures: Floats) -> float:
        images = [(pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1) for pixels in pictures]
        one, other = (_means(sessions, machine, image)[layer] for image in images)
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    assert cosine(*(drawn.pixels for drawn in pair)) < cosine(first.pixels, second.pixels)


def test_alpha_shows_where_the_gradients_were(sessions: Sessions, machine: Machine) -> None:
    (drawn,) = draw([feature(sessions, 1)], replace(FEW, alpha=True), sessions, machine)
    assert drawn.pixels.shape == (32, 32, 4)
    alpha = drawn.pixels[..., 3]
    assert alpha.max() == 255
    assert alpha.min() < 200


def test_noise_that_excites_nothing_is_replaced(
    sessions: Sessions, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channels of the tiny network respond to almost anything, so the first gradients are taken away."""
    evaluate, calls, seen = Session.evaluate_batch, 0, list[Floats]()

    def deaf(self: Session, images: Floats, layers: Floats, channels: Floats, *more: Any) -> tuple[Floats, Floats]:
        nonlocal calls
        calls += 1
        seen.append(images)
        means, gradient = evaluate(self, images, layers, channels, *more)
        return means, gradient * np.float32(calls > 8)

    monkeypatch.setattr(Session, "evaluate_batch", deaf)
    draw([feature(sessions, 1)], replace(FEW, param="pixels", views="none", steps=12), sessions, machine)
    changes = [float(np.abs(after - before).mean()) for before, after in itertools.pairwise(seen)]
    assert min(changes[:8]) > 2 * max(changes[8:])  # from the ninth on, they are those of single steps
    assert max(image.std() for image in seen[:8]) > 1.5 * seen[0].std()


def test_a_drawing_ends_when_it_is_told_to(sessions: Sessions, machine: Machine) -> None:
    def on_step(step: DrawingStep) -> bool:
        return step.number == 3

    (drawn,) = draw([feature(sessions, 1)], FEW, sessions, machine, None, on_step)
    assert drawn.steps == 4


def test_the_seed_and_only_the_seed_changes_the_noise(sessions: Sessions, machine: Machine) -> None:
    one = feature(sessions, 1)
    again, same, other = (draw([one], replace(FEW, seed=seed), sessions, machine)[0].pixels for seed in (5, 5, 6))
    np.testing.assert_array_equal(again, same)
    assert (again != other).any()


def test_a_step_that_is_too_large_is_told(sessions: Sessions, machine: Machine) -> None:
    values = replace(FEW, step_size=1e3, param="maco", steps=2)
    draw([feature(sessions, 1)], values, sessions, machine)  # phases have no end
    broken = np.full((3, 32, 17), np.nan, np.float32)
    with pytest.raises(DivergedError, match="not a finite number"):
        draw([feature(sessions, 1)], replace(FEW, param="maco"), sessions, machine, broken)


def test_small_pictures_are_drawn_in_batches(sessions: Sessions) -> None:
    features = parse_features(sessions.bundle.metadata, ["low", "mid"])
    small = list(batches(features, FeatureSettings(size=128), Size(19, 19)))
    assert [one for batch in small for one in batch] == features
    assert len(small[0]) > 1
    assert all(len(batch) == 1 for batch in batches(features, FeatureSettings(size=512), Size(19, 19)))
    diverse = list(batches(features, FeatureSettings(size=128, diversity=4), Size(19, 19)))
    assert len(diverse[0]) == 2


def test_a_size_below_the_smallest_is_refused(sessions: Sessions, machine: Machine) -> None:
    with pytest.raises(SettingsError, match="needs 19"):
        draw([feature(sessions, 1)], replace(FEW, size=16), sessions, machine)


def test_classes_are_drawn(machine: Machine) -> None:
    sessions = Sessions(Bundle.load(TINY_LITE_BYTES))
    (castle,) = parse_features(sessions.bundle.metadata, ["logits:2"])
    losses: list[float] = []
    settings = replace(FEW, param="maco", views="crops", steps=40)
    draw([castle], settings, sessions, machine, None, lambda step: losses.append(step.loss))
    assert np.mean(losses[-5:]) > np.mean(losses[:5])
