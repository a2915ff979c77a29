"""Presets and the bundles they are used with; octaves that end before all their steps are done."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import typer
from pictures_fixture import TINY_BYTES, facts, noise

from onnxdream.cli import app
from onnxdream.models.backbones import find_backbone
from onnxdream.models.contract import Layer, Metadata
from onnxdream.models.library import find_bundle
from onnxdream.runtime import PRESETS, Bundle, Dream, Execution, Settings, Step, dream
from onnxdream.runtime.bundle.channel_weights import chosen_channels, parse_channels
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.settings.presets import DEFAULT_LOOK, Preset, preset, settings_for_bundle

LOOKS = [name for name in PRESETS if PRESETS[name].bundle]


def bundle_with(layers: tuple[str, ...], objective: str = "mean", border: int = 0) -> Metadata:
    """Returns the metadata of a bundle with these layers."""
    return replace(facts(), layers=tuple(Layer(n, 8, 8) for n in layers), objective=objective, border=border)


def made_for(name: str) -> Metadata:
    chosen = PRESETS[name]
    return bundle_with(chosen.layers, chosen.objective, chosen.border)


@pytest.mark.parametrize("name", PRESETS)
def test_on_its_own_bundle_a_preset_maximises_its_layers_without_a_notice(name: str) -> None:
    chosen = PRESETS[name]
    settings, notice = settings_for_bundle(chosen, made_for(name), {})
    weights = chosen.settings.layer_weights or dict.fromkeys(chosen.layers, 1.0)
    assert (settings, notice) == (replace(chosen.settings, layer_weights=weights), None)
    assert settings == preset(name)
    more = bundle_with((*chosen.layers[::-1], "mixed9"), chosen.objective, chosen.border)
    assert settings_for_bundle(chosen, more, {}) == (settings, None)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_the_command_that_exports_its_bundle(name: str) -> None:
    chosen = PRESETS[name]
    program, command, *words = shlex.split(chosen.export_command())
    assert program == "onnxdream"
    options = typer.main.get_command(app).commands[command].make_context(command, words).params  # type: ignore[attr-defined]
    assert options["layers"].split(",") == list(chosen.layers)
    assert (options["objective"], options["border"]) == (chosen.objective, chosen.border)
    assert find_backbone(options["model"]).name == chosen.backbone


@pytest.mark.parametrize(("objective", "border"), [("mean", 2), ("l2", 0), ("mean", 0)])
def test_a_bundle_with_another_objective_leads_to_a_notice(objective: str, border: int) -> None:
    keras = PRESETS["keras"]
    settings, notice = settings_for_bundle(keras, bundle_with(keras.layers, objective, border), {})
    assert settings == keras.settings
    assert notice is not None
    assert "--objective l2 --border 2" in notice


@pytest.mark.parametrize("name", PRESETS)
def test_a_bundle_that_lacks_its_layers_is_refused(name: str) -> None:
    with pytest.raises(
        SettingsError, match=f"preset {name} maximises .* the bundle has no (mixed|block).*--layers from low, mid"
    ) as refused:
        settings_for_bundle(PRESETS[name], bundle_with(("low", "mid")), {})
    advised = re.search(r"choose --model (\S+), or", str(refused.value))
    if not advised:
        assert f"choose a bundle made with {PRESETS[name].export_command()}, or" in str(refused.value)
        return
    bundle = Bundle.load(find_bundle(advised[1])).metadata
    assert settings_for_bundle(PRESETS[name], bundle, {}) == (PRESETS[name].with_changes({}), None)


def test_options_win_over_the_preset_on_any_bundle() -> None:
    changes: dict[str, Any] = {"layer_weights": {"low": 3.0}, "steps": 2, "optimizer": "adam"}
    for bundle in (bundle_with(("low", "mid")), made_for("keras")):
        settings, _ = settings_for_bundle(PRESETS["keras"], bundle, changes)
        assert settings == replace(PRESETS["keras"].settings, **changes)


def test_chosen_layers_or_channels_replace_those_of_a_preset() -> None:
    own = Preset("own", "", Settings(channels=("mid:3",)), ("mid",))
    assert own.with_changes({"steps": 2}).channels == ("mid:3",)
    assert own.with_changes({"layer_weights": {"low": 1.0}}).channels == ()
    assert own.with_changes({"pick": "strongest:2"}).channels == ()
    assert own.with_changes({"channels": ("mid:4",)}).channels == ("mid:4",)


def test_without_a_preset_all_layers_are_maximised_as_in_the_paper() -> None:
    assert settings_for_bundle(None, bundle_with(("mixed0", "low"), "l2", 5), {"steps": 3}) == (Settings(steps=3), None)


def test_a_change_that_contradicts_the_preset_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"octaves above \(2\) must be fewer than octaves \(2\)"):
        settings_for_bundle(PRESETS["tutorial-octaves"], made_for("tutorial-octaves"), {"octaves": 2})


# Looks


def test_there_are_looks_to_choose_from() -> None:
    assert len(LOOKS) >= 8
    assert str(PRESETS[DEFAULT_LOOK].bundle).startswith("lite0"), (
        "the look for newcomers is one for small machines, too"
    )
    assert list(PRESETS)[: len(LOOKS)] == LOOKS, "looks are listed first"


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_is_made_for_its_built_in_bundle_and_takes_seconds(name: str) -> None:
    look = PRESETS[name]
    bundle = Bundle.built_in(str(look.bundle)).metadata
    settings, notice = settings_for_bundle(look, bundle, {})
    assert notice is None
    assert look.is_made_for(bundle)
    assert look.backbone == bundle.backbone
    weights = settings.weights_of(bundle.layer_names)
    assert {name for name, weight in zip(bundle.layer_names, weights, strict=True) if weight} == set(look.layers)
    assert settings.steps * settings.octaves <= 100
    chosen_channels(bundle.layers, parse_channels(settings.channels))
    assert {text.partition(":")[0] for text in settings.channels} <= set(look.layers)
    assert look.sentence.endswith(".")


def test_no_two_presets_are_the_same() -> None:
    assert len({repr((p.with_changes({}), p.bundle)) for p in PRESETS.values()}) == len(PRESETS)


# An octave that ends early

TINY = Bundle.load(TINY_BYTES)
PICTURE = noise(48, 60)
LONG = Settings(steps=12, step_size=0.01, execution=Execution("cpu", 1))


def dream_with(settings: Settings) -> tuple[Dream, list[tuple[int, int]]]:
    """Returns the dream, and the octave and the octave's step of each evaluation."""
    steps: list[tuple[int, int]] = []

    def on_step(step: Step) -> None:
        steps.append((step.octave, step.octave_step))

    return dream(PICTURE, TINY, settings, on_step), steps


def totals(dreamed: Dream) -> list[float]:
    return [float(total) for total in dreamed.losses.sum(axis=1)]


@pytest.mark.parametrize("exceeded_at", [0, 4, 10])
def test_max_loss_ends_the_ascent_and_keeps_the_update_of_the_step_that_exceeded_it(exceeded_at: int) -> None:
    losses = totals(dream_with(LONG)[0])
    assert losses[:12] == sorted(losses[:12])
    bound = losses[0] - 1e-3 if exceeded_at == 0 else (losses[exceeded_at - 1] + losses[exceeded_at]) / 2
    ended, _ = dream_with(replace(LONG, max_loss=bound))
    shorter, _ = dream_with(replace(LONG, steps=exceeded_at + 1))
    assert ended.record.ended == "finished"
    assert ended.record.steps_done == exceeded_at + 1
    np.testing.assert_array_equal(ended.picture, shorter.picture)
    np.testing.assert_array_equal(ended.losses, shorter.losses)


def test_a_max_loss_that_is_never_exceeded_changes_nothing() -> None:
    whole, _ = dream_with(LONG)
    bounded, _ = dream_with(replace(LONG, max_loss=max(totals(whole)) + 1))
    np.testing.assert_array_equal(bounded.picture, whole.picture)
    assert bounded.record.steps_done == 12


def test_max_loss_ends_each_octave_separately() -> None:
    octaves = replace(LONG, octaves=3, octave_scale=1.3)
    assert dream_with(octaves)[1] == [(octave, step) for octave in range(3) for step in range(12)] + [(2, 12)]
    ended, steps = dream_with(replace(octaves, max_loss=-1e6))
    assert steps == [(0, 0), (1, 0), (2, 0), (2, 1)]
    once, _ = dream_with(replace(octaves, steps=1))
    np.testing.assert_array_equal(ended.picture, once.picture)


@pytest.mark.parametrize("window", [1, 3, 5])
def test_a_plateau_ends_the_ascent(window: int) -> None:
    flat = replace(LONG, step_size=1e-9, plateau=window)
    # The first loss is never exceeded; the steps of the window without a gain follow it.
    assert dream_with(flat)[0].record.steps_done == window + 1
    # Each octave is judged separately, whether its losses are above or below those of the octave before.
    for sign in (1.0, -1.0):
        weights = dict.fromkeys(TINY.metadata.layer_names, sign)
        _, steps = dream_with(replace(flat, octaves=2, layer_weights=weights))
        assert steps == [(octave, step) for octave in range(2) for step in range(window + 1)] + [(1, window + 1)]


def test_an_ascent_that_gains_is_not_on_a_plateau() -> None:
    whole, rising = dream_with(LONG)[0], dream_with(replace(LONG, plateau=1))[0]
    assert rising.record.steps_done == 12
    np.testing.assert_array_equal(rising.picture, whole.picture)


@pytest.mark.parametrize("window", [2, 4])
def test_a_plateau_is_a_window_whose_best_gains_less_than_a_thousandth(window: int) -> None:
    # A step this large overshoots: the loss rises, then goes up and down.
    rough = replace(LONG, steps=60, step_size=1.5)
    losses = totals(dream_with(rough)[0])

    def flat(count: int) -> bool:
        before, lately = max(losses[: count - window]), max(losses[count - window : count])
        return lately - before <= 1e-3 * abs(before)

    expected = next(count for count in range(window + 1, 60) if flat(count))
    assert window + 1 < expected < 60
    assert dream_with(replace(rough, plateau=window))[0].record.steps_done == expected
