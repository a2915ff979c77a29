"""The presets as they meet a bundle, and when an octave ends before its steps are done."""

from __future__ import annotations

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
from onnxdream.runtime import PRESETS, Bundle, Dream, Execution, Settings, Step, dream
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.presets import fitted

OTHERS = sorted(set(PRESETS) - {"paper"})


def bundle_with(layers: tuple[str, ...], objective: str = "mean", border: int = 0) -> Metadata:
    """What a bundle of such layers tells of itself."""
    return replace(facts(), layers=tuple(Layer(n, 8, 8) for n in layers), objective=objective, border=border)


def made_for(name: str) -> Metadata:
    chosen = PRESETS[name]
    return bundle_with(chosen.layers, chosen.objective, chosen.border)


STRANGE = bundle_with(("low", "mid"))


@pytest.mark.parametrize("name", OTHERS)
def test_a_preset_on_its_own_bundle_is_as_it_is_and_says_nothing(name: str) -> None:
    assert fitted(PRESETS[name], made_for(name), {}) == (PRESETS[name].settings, None)
    # The order of a bundle's layers does not matter.
    turned = bundle_with(PRESETS[name].layers[::-1], PRESETS[name].objective, PRESETS[name].border)
    assert fitted(PRESETS[name], turned, {})[1] is None


@pytest.mark.parametrize("name", OTHERS)
def test_a_preset_on_another_bundle_names_the_command_that_exports_its_own(name: str) -> None:
    chosen = PRESETS[name]
    _, notice = fitted(chosen, STRANGE, {})
    assert notice is not None
    assert "\n" not in notice
    assert notice.startswith(chosen.title)
    program, command, *words = shlex.split(notice[notice.index("onnxdream export") :])
    assert program == "onnxdream"
    options = typer.main.get_command(app).commands[command].make_context(command, words).params  # type: ignore[attr-defined]
    assert options["layers"].split(",") == list(chosen.layers)
    assert (options["objective"], options["border"]) == (chosen.objective, chosen.border)
    find_backbone(options["model"])


@pytest.mark.parametrize(("objective", "border"), [("mean", 2), ("l2", 0), ("mean", 0)])
def test_the_right_layers_with_another_objective_are_noticed_too(objective: str, border: int) -> None:
    keras = PRESETS["keras"]
    settings, notice = fitted(keras, bundle_with(keras.layers, objective, border), {})
    assert settings == keras.settings
    assert notice is not None
    assert "--objective l2 --border 2" in notice


def test_layer_weights_of_a_preset_hold_only_where_the_bundle_has_its_layers() -> None:
    keras = PRESETS["keras"]
    assert keras.settings.layer_weights
    lacking, _ = fitted(keras, bundle_with(keras.layers[:-1], "l2", 2), {})
    assert lacking == replace(keras.settings, layer_weights=None)
    more, _ = fitted(keras, bundle_with((*keras.layers, "mixed8"), "l2", 2), {})
    assert more == keras.settings


@pytest.mark.parametrize("bundle", [STRANGE, made_for("keras")])
def test_options_win_over_the_preset_on_any_bundle(bundle: Metadata) -> None:
    changes: dict[str, Any] = {"layer_weights": {"low": 3.0}, "steps": 2, "optimizer": "adam"}
    settings, _ = fitted(PRESETS["keras"], bundle, changes)
    assert settings == replace(PRESETS["keras"].settings, **changes)


@pytest.mark.parametrize("bundle", [STRANGE, *map(made_for, OTHERS), bundle_with(("mixed0",), "l2", 5)])
def test_the_paper_s_preset_never_notices(bundle: Metadata) -> None:
    assert fitted(PRESETS["paper"], bundle, {"steps": 3}) == (Settings(steps=3), None)


def test_a_change_that_contradicts_the_preset_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"octaves above \(2\) must be fewer than octaves \(2\)"):
        fitted(PRESETS["tutorial-octaves"], STRANGE, {"octaves": 2})


# An octave that ends early

TINY = Bundle.load(TINY_BYTES)
PICTURE = noise(48, 60)
LONG = Settings(steps=12, step_size=0.01, execution=Execution("cpu", 1))


def climb(settings: Settings) -> tuple[Dream, list[tuple[int, int]]]:
    """The dream, and the octave of each of its evaluations with the step in it."""
    steps: list[tuple[int, int]] = []

    def on_step(step: Step) -> None:
        steps.append((step.state.octave, step.state.octave_step))

    return dream(PICTURE, TINY, settings, on_step), steps


def totals(dreamed: Dream) -> list[float]:
    return [float(total) for total in dreamed.losses.sum(axis=1)]


@pytest.mark.parametrize("exceeded_at", [0, 4, 10])
def test_max_loss_ends_the_climb_and_keeps_the_update_of_the_step_that_exceeded_it(exceeded_at: int) -> None:
    losses = totals(climb(LONG)[0])
    assert losses[:12] == sorted(losses[:12])
    bound = losses[0] - 1e-3 if exceeded_at == 0 else (losses[exceeded_at - 1] + losses[exceeded_at]) / 2
    ended, _ = climb(replace(LONG, max_loss=bound))
    shorter, _ = climb(replace(LONG, steps=exceeded_at + 1))
    assert ended.record.ended == "finished"
    assert ended.record.steps_done == exceeded_at + 1
    np.testing.assert_array_equal(ended.picture, shorter.picture)
    np.testing.assert_array_equal(ended.losses, shorter.losses)


def test_a_max_loss_that_is_never_exceeded_changes_nothing() -> None:
    whole, _ = climb(LONG)
    bounded, _ = climb(replace(LONG, max_loss=max(totals(whole)) + 1))
    np.testing.assert_array_equal(bounded.picture, whole.picture)
    assert bounded.record.steps_done == 12


def test_max_loss_ends_each_octave_by_itself() -> None:
    octaves = replace(LONG, octaves=3, octave_scale=1.3)
    assert climb(octaves)[1] == [(octave, step) for octave in range(3) for step in range(12)] + [(2, 12)]
    ended, steps = climb(replace(octaves, max_loss=-1e6))
    assert steps == [(0, 0), (1, 0), (2, 0), (2, 1)]
    once, _ = climb(replace(octaves, steps=1))
    np.testing.assert_array_equal(ended.picture, once.picture)


@pytest.mark.parametrize("window", [1, 3, 5])
def test_a_plateau_ends_the_climb(window: int) -> None:
    flat = replace(LONG, step_size=1e-9, plateau=window)
    # The first loss is the one to beat; after it come the window's steps without gain.
    assert climb(flat)[0].record.steps_done == window + 1
    # Each octave has its own, whether its losses lie above or below those of the one before.
    for sign in (1.0, -1.0):
        weights = dict.fromkeys(TINY.metadata.layer_names, sign)
        _, steps = climb(replace(flat, octaves=2, layer_weights=weights))
        assert steps == [(octave, step) for octave in range(2) for step in range(window + 1)] + [(1, window + 1)]


def test_a_climb_that_gains_is_on_no_plateau() -> None:
    whole, rising = climb(LONG)[0], climb(replace(LONG, plateau=1))[0]
    assert rising.record.steps_done == 12
    np.testing.assert_array_equal(rising.picture, whole.picture)


@pytest.mark.parametrize("window", [2, 4])
def test_a_plateau_is_a_window_whose_best_gains_less_than_a_thousandth(window: int) -> None:
    # So large a step overshoots: the loss rises, then goes up and down.
    rough = replace(LONG, steps=60, step_size=1.5)
    losses = totals(climb(rough)[0])

    def flat(count: int) -> bool:
        before, lately = max(losses[: count - window]), max(losses[count - window : count])
        return lately - before <= 1e-3 * abs(before)

    expected = next(count for count in range(window + 1, 60) if flat(count))
    assert window + 1 < expected < 60
    assert climb(replace(rough, plateau=window))[0].record.steps_done == expected
