"""Settings that change on the way: when each takes effect, compared with runs in parts, and which are refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures_fixture import TINY_BYTES, cliff_bytes, noise

from onnxdream.runtime import Bundle, Change, Dream, Execution, Settings, Step, changes_at, dream, prepare
from onnxdream.runtime.ascent.step import State
from onnxdream.runtime.errors import DreamError, SettingsError

BEGUN = Settings(steps=6, step_size=0.02, snapshots=(), execution=Execution("cpu", 1))
TINY = Bundle.load(TINY_BYTES)
PICTURE = noise(40, 53)
# Other values of the settings that take effect at the next step.
OTHERS: dict[str, Any] = {
    "steps": 9,
    "step_size": (0.04, 0.001),
    "layer_weights": {"mid": 1.0, "high": -0.5},
    "gradient_norm": "l2",
    "channels": ("low:1,3",),
    "pick": "strongest:2",
    "position": ("low:0.5,0.5,0.2",),
    "guide_by": "caricature",
    "until": ("low:0=-1",),
    "max_loss": -100.0,
    "jitter": 5,
    "blur": 1.0,
    "laplacian": 2,
    "tv": 0.5,
    "l2": 0.5,
    "stay": 0.5,
    "optimizer": "adam",
    "colours": "own",
    "blend": 0.5,
}
NEEDS_MORE = {"momentum", "plateau", "clip", "classes"}  # they change nothing alone, or need another bundle


def changing(changes: dict[int, dict[str, Any]]) -> Callable[[Step], None]:
    """An `on_step` that makes changes at their steps."""

    def on_step(step: Step) -> None:
        if step.number in changes:
            step.change(replace(step.settings, **changes[step.number]))

    return on_step


def assert_same(one: Dream, other: Dream) -> None:
    np.testing.assert_array_equal(one.picture, other.picture)
    np.testing.assert_array_equal(one.losses, other.losses)
    assert one.record.changes == other.record.changes
    assert replace(one.record, seconds=0) == replace(other.record, seconds=0)


def test_every_setting_has_its_moment() -> None:
    moments = {setting.name: changes_at(setting.name) for setting in fields(Settings)}
    assert set(moments.values()) == {"step", "octave", "start"}
    assert {name for name, moment in moments.items() if moment == "step"} == {*OTHERS, *NEEDS_MORE}
    assert changes_at("max_size") == "octave"
    assert changes_at("noise") == "start"
    with pytest.raises(SettingsError, match="did you mean step_size"):
        changes_at("step_siz")
    with pytest.raises(SettingsError, match="a setting is named by a text, not by 3"):
        changes_at(3)


@pytest.mark.parametrize("name", OTHERS)
def test_a_setting_changes_at_the_next_step_and_the_change_can_be_planned(name: str) -> None:
    plain = dream(PICTURE, TINY, BEGUN)
    changed = dream(PICTURE, TINY, BEGUN, changing({3: {name: OTHERS[name]}}))
    same_until = min(4, len(changed.losses))
    np.testing.assert_array_equal(changed.losses[:same_until], plain.losses[:same_until])
    is_other = changed.losses.shape != plain.losses.shape or (changed.losses != plain.losses).any()
    assert is_other or (changed.picture != plain.picture).any()
    assert changed.record.changes == (Change(3, {name: OTHERS[name]}),)
    assert changed.record.settings == BEGUN
    assert_same(dream(PICTURE, TINY, BEGUN, changes=changed.record.changes), changed)


def test_a_change_is_a_new_run_from_the_image_so_far() -> None:
    """The update after the change is that of a run which begins there with the new settings."""
    states = []

    def on_step(step: Step) -> None:
        if step.number == 3:
            states.append(step.fetch_state().image.copy())
            step.change(replace(step.settings, step_size=0.05, layer_weights={"high": 1.0}, tv=0.1))
        if step.number == 4:
            states.append(step.fetch_state().image.copy())

    dream(PICTURE, TINY, BEGUN, on_step)
    after = replace(BEGUN, steps=1, step_size=0.05, layer_weights={"high": 1.0}, tv=0.1)
    preparation = prepare(PICTURE, TINY, after)
    preparation.ascent.state.image = states[0]
    preparation.ascend()
    np.testing.assert_array_equal(preparation.ascent.state.image, states[1])


def test_a_change_that_changes_nothing_is_none() -> None:
    plain = dream(PICTURE, TINY, BEGUN)
    assert_same(dream(PICTURE, TINY, BEGUN, lambda step: step.change(step.settings)), plain)

    def undecided(step: Step) -> None:
        if step.number < 6:
            step.change(replace(step.settings, step_size=9.0))
        step.change(BEGUN)

    assert_same(dream(PICTURE, TINY, BEGUN, undecided), plain)
    assert plain.record.changes == ()


def test_a_change_and_back_is_two_changes_of_what_differs() -> None:
    found = dream(PICTURE, TINY, BEGUN, changing({1: {"blur": 2.0, "tv": 1.0}, 4: {"blur": 0.0}}))
    assert found.record.changes == (Change(1, {"blur": 2.0, "tv": 1.0}), Change(4, {"blur": 0.0}))


def test_slots_are_kept_where_the_optimizer_stays_and_new_where_it_changes() -> None:
    slots: dict[int, list[Any]] = {}

    def on_step(step: Step) -> None:
        changing({2: {"momentum": 0.5}, 4: {"optimizer": "adam"}})(step)
        slots[step.number] = [slot.copy() for slot in step.fetch_state().slots]

    dream(PICTURE, TINY, replace(BEGUN, optimizer="momentum"), on_step)
    assert [len(slots[number]) for number in range(7)] == [1, 1, 1, 1, 1, 2, 2]
    # The velocity decays by 0.5 in the update after the change: the rest of it is one direction, whose deviation is 1.
    assert np.std(slots[3][0] - np.float32(0.5) * slots[2][0]) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("tile_pixels", [None, 1500])
def test_adam_begins_anew_where_it_is_chosen(tile_pixels: int | None) -> None:
    """Its first update moves each pixel by the step size, however late it comes."""
    images: list[NDArray[np.float32]] = []

    def on_step(step: Step) -> None:
        images.append(step.fetch_state().image.copy())
        changing({4: {"optimizer": "adam", "step_size": 0.01, "clip": False}})(step)

    picture = noise(60, 73)
    found = dream(picture, TINY, replace(BEGUN, execution=Execution("cpu", 1, tile_pixels=tile_pixels)), on_step)
    assert (found.record.octaves[0].tiles > 1) == (tile_pixels is not None)
    moves = np.abs(images[5] - images[4])
    assert np.median(moves) == pytest.approx(0.01, rel=1e-3)
    assert moves.max() < 0.0101
    assert np.abs(images[4] - images[3]).max() > 0.02


def test_steps_may_become_more_or_fewer() -> None:
    totals: list[int] = []

    def run(changes: dict[int, dict[str, Any]], octaves: int = 1) -> Dream:
        settings = replace(BEGUN, octaves=octaves)
        preparation = prepare(PICTURE, TINY, settings)
        totals.clear()

        def on_step(step: Step) -> None:
            totals.append(preparation.max_steps)
            changing(changes)(step)

        return preparation.ascend(on_step)

    assert run({2: {"steps": 9}}).record.steps_done == 9
    assert totals == [6, 6, 6, *[9] * 7]
    assert run({4: {"steps": 2}}).record.steps_done == 5  # the update that follows is the last
    assert totals == [6, 6, 6, 6, 6, 5]
    assert run({2: {"steps": 3}}, octaves=2).record.steps_done == 6
    assert totals == [12, 12, 12, *[6] * 4]


def test_sizes_change_with_the_next_octave() -> None:
    picture = noise(80, 106)
    settings = replace(BEGUN, steps=2, max_size=53, octaves=2)
    grown = dream(picture, TINY, settings, changing({1: {"max_size": 106, "octaves": 3, "octave_scale": 1.5}}))
    assert [octave.size for octave in grown.record.octaves] == [(28, 37), (35, 47), (53, 70), (80, 106)]
    assert [octave.start for octave in grown.record.octaves] == [0, 2, 4, 6]
    assert grown.picture.shape == (80, 106, 3)
    assert_same(dream(picture, TINY, settings, changes=grown.record.changes), grown)
    smaller = dream(picture, TINY, replace(settings, octaves=3), changing({3: {"max_size": 30}}))
    assert [octave.size for octave in smaller.record.octaves] == [(20, 27), (28, 37)]
    assert smaller.picture.shape == (28, 37, 3)
    assert (smaller.losses[:4] == dream(picture, TINY, replace(settings, octaves=3)).losses[:4]).all()


def test_a_larger_size_keeps_within_the_memory_by_tiles() -> None:
    picture, execution = noise(400, 500), Execution("cpu", 1, memory=200 * 10**6)
    settings = replace(BEGUN, steps=1, max_size=100, octaves=2, execution=execution)
    grown = dream(picture, TINY, settings, changing({0: {"max_size": 500}}))
    assert [octave.tiles for octave in grown.record.octaves] == [1, 1, 4]
    planned = dream(picture, TINY, replace(settings, max_size=500))
    assert grown.record.execution.tile_pixels == planned.record.execution.tile_pixels
    again = dream(picture, TINY, grown.record.settings_to_repeat(), changes=grown.record.changes)
    np.testing.assert_array_equal(again.picture, grown.picture)


def test_a_run_resumes_at_the_end_that_a_smaller_size_has_brought() -> None:
    settings = replace(BEGUN, steps=2, octaves=2)
    preparation = prepare(PICTURE, TINY, settings)
    states: list[State] = []

    def on_step(step: Step) -> None:
        changing({1: {"max_size": 20}})(step)
        states.append(deepcopy(step.fetch_state()))

    ended = preparation.ascend(on_step)
    assert states[-1].only_evaluation_left
    changes = preparation.ascent.course.plan(2)
    assert_same(dream(PICTURE, TINY, settings, state=states[-1], changes=changes), ended)


@pytest.mark.parametrize("needing_the_picture", [{"stay": 0.2}, {"full_size": True}])
def test_a_pyramid_ends_where_a_smaller_size_leaves_no_larger_octave(needing_the_picture: dict[str, Any]) -> None:
    """The undreamed picture at the last octave's size then comes from its working size."""
    settings = replace(BEGUN, steps=2, octaves=3, interpolation="pyramid", **needing_the_picture)
    found = dream(PICTURE, TINY, settings, changing({3: {"max_size": 20}}))
    assert [octave.size for octave in found.record.octaves] == [(20, 27), (28, 37)]
    assert found.record.steps_done == 4
    assert found.picture.shape == ((40, 53, 3) if "full_size" in needing_the_picture else (28, 37, 3))


def test_the_scale_of_values_stays_when_the_size_changes() -> None:
    """With minmax, a picture of another size has other darkest and brightest values."""
    picture = noise(80, 106)
    settings = replace(BEGUN, steps=1, step_size=1e-9, max_size=53, octaves=2)
    grown = dream(picture, TINY, settings, changing({0: {"max_size": 106}}))
    difference = np.abs(grown.picture.astype(int) - picture)
    # The scale of the small picture is narrower: what lies outside of it is clipped, everything else stays.
    assert np.median(difference) == 0


@pytest.mark.parametrize(
    ("number", "changed", "message"),
    [
        (1, {"noise": (40, 30)}, "noise cannot change on the way"),
        (1, {"normalization": "backbone"}, "normalization cannot change on the way"),
        (1, {"execution": Execution("cpu", 2)}, "execution cannot change on the way"),
        (1, {"layer_weights": {"lows": 1.0}}, "layer 'lows' is not in the bundle"),
        (1, {"channels": ("low:99",)}, "99"),
        (1, {"guide_by": "cosine"}, "give one"),
        (3, {"max_size": 20}, "max size changes with the next octave, and no octave is left"),
        (4, {"step_size": 0.5}, "no step is left"),
    ],
)
def test_an_impossible_change_is_refused_and_the_run_goes_on(
    number: int, changed: dict[str, Any], message: str
) -> None:
    settings = replace(BEGUN, steps=2, octaves=2)
    refused = []

    def on_step(step: Step) -> None:
        if step.number == number:
            with pytest.raises(SettingsError, match=message) as caught:
                step.change(replace(step.settings, **changed))
            refused.append(str(caught.value))

    found = dream(PICTURE, TINY, settings, on_step)
    assert len(refused) == 1
    assert "\n" not in refused[0]
    assert_same(found, dream(PICTURE, TINY, settings))


def test_a_step_that_is_over_and_anything_but_settings_change_nothing() -> None:
    steps: list[Step] = []

    def on_step(step: Step) -> None:
        steps.append(step)
        with pytest.raises(SettingsError, match="a step changes to Settings, not dict"):
            step.change({"step_size": 1.0})  # type: ignore[arg-type]
        with pytest.raises(DreamError, match="step 0 is over") if step.number else pytest.raises(SettingsError):
            steps[0].change(BEGUN if step.number else {})  # type: ignore[arg-type]

    dream(PICTURE, TINY, BEGUN, on_step)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([Change(3, {"tv": 1.0}), Change(1, {"tv": 2.0})], "the change at step 1 comes after that at step 3"),
        ([Change(3, {"octaves_above": 2})], "octaves above"),
        ([Change(3, {"layer_weights": {"lows": 1.0}})], "layer 'lows'"),
    ],
)
def test_planned_changes_are_checked_before_the_run(changes: list[Change], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        prepare(PICTURE, TINY, BEGUN, changes=changes)


@pytest.mark.parametrize(
    ("step", "changed", "message"),
    [
        (-1, {"tv": 1.0}, "from 0, not -1"),
        (1, {}, "names the settings"),
        (1, {"seed": 1}, "seed cannot change"),
        (1, {"step_siz": 1}, "unknown setting"),
        (1, {"step_size": "fast"}, "step size"),
    ],
)
def test_a_change_is_checked(step: int, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Change(step, changed)


def test_a_change_takes_numpy_s_numbers_as_settings_do() -> None:
    change = Change(np.int64(3), {"step_size": np.float64(0.5)})  # type: ignore[arg-type]
    assert change == Change(3, {"step_size": 0.5})
    assert type(change.step) is int


def test_a_plateau_and_a_limit_do_not_compare_the_losses_of_two_objectives() -> None:
    """The new objective's losses are far below the old one's; its own plateau must still be found."""
    settings = replace(BEGUN, steps=40, plateau=3)
    found = dream(PICTURE, TINY, settings, changing({8: {"layer_weights": {"low": -1.0}}}))
    assert found.record.steps_done > 13
    assert (
        dream(
            PICTURE, TINY, settings, changing({8: {"layer_weights": {"low": -1.0}, "step_size": 1e-9}})
        ).record.steps_done
        == 13
    )


def test_the_record_weighs_its_losses_as_the_run_ended() -> None:
    found = dream(PICTURE, TINY, BEGUN, changing({3: {"layer_weights": {"low": 2.0, "high": 1.0}}}))
    totals = found.losses @ np.array([2, 0, 1], np.float32)
    assert found.record.first_loss == pytest.approx(totals[0])
    assert found.record.last_loss == pytest.approx(totals[-1])


def test_a_run_that_a_change_makes_diverge_ends_with_its_last_finite_picture_and_is_repeated() -> None:
    pictures = []

    def on_step(step: Step) -> None:
        pictures.append(step.fetch_picture())
        changing({1: {"step_size": 0.02}, 2: {"step_size": 5.0}})(step)

    picture, bundle = (noise(20, 24) // 2).astype(np.uint8), Bundle.load(cliff_bytes(0.5))
    settings = replace(BEGUN, step_size=0.01, gradient_norm="none", normalization="backbone")
    found = dream(picture, bundle, settings, on_step)
    assert (found.record.ended, found.record.steps_done) == ("diverged", 2)
    np.testing.assert_array_equal(found.picture, pictures[2])
    assert [change.step for change in found.record.changes] == [1, 2]
    assert_same(dream(picture, bundle, settings, changes=found.record.changes), found)


def test_planned_changes_after_the_end_are_not_recorded() -> None:
    planned = [Change(1, {"tv": 0.1}), Change(3, {"tv": 0.2}), Change(50, {"tv": 0.3})]
    found = dream(PICTURE, TINY, BEGUN, lambda step: step.number == 3, changes=planned)
    assert found.record.ended == "stopped"
    assert found.record.changes == (planned[0],)


def test_paused_time_does_not_count() -> None:
    def on_step(step: Step) -> None:
        with step.paused():
            time.sleep(0.01)

    preparation = prepare(PICTURE, TINY, BEGUN)
    started = time.monotonic()
    found = preparation.ascend(on_step)
    assert 0 <= found.record.seconds < time.monotonic() - started - 7 * 0.01 + 0.001  # it is rounded
