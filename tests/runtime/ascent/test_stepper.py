"""Neither the memory that an image is stored in nor the time at which losses are fetched changes an ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, cliff_bytes, noise

from onnxdream.models.arrays import Losses, Size
from onnxdream.runtime import Bundle, Dream, Execution, Settings, Step, dream
from onnxdream.runtime.ascent import ascent as ascent_module
from onnxdream.runtime.ascent.ascent import Ascent
from onnxdream.runtime.ascent.evaluator import Evaluator
from onnxdream.runtime.ascent.step import State
from onnxdream.runtime.ascent.stepper import DeviceStepper, HostStepper, StepConfig, Stepper
from onnxdream.runtime.ascent.update_graph import GraphUpdate
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Sessions
from onnxdream.runtime.errors import DivergedError, OutOfMemoryError
from onnxdream.runtime.image.processor import ImageProcessor, Mask
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.tensors import BoundSession, Device

TINY = Bundle.load(TINY_BYTES)
FEW = Settings(steps=10, step_size=0.01, execution=Execution("cpu", 1))
PICTURE = noise(46, 53)
METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "jitter and momentum": {"jitter": 20, "optimizer": "momentum"},
    "smoothing and adam": {"blur": 0.7, "laplacian": 2, "optimizer": "adam", "step_size": 0.003},
    "own colours and schedules": {"colours": "own", "step_size": (0.02, 0.005), "blur": (1.5, 0.0)},
    "pulls": {"tv": 0.2, "l2": 0.1, "stay": 0.3, "jitter": 3},
    "a caricature": {"guide_by": "caricature", "jitter": 4},
    "a caricature in octaves": {"guide_by": "caricature:4", "octaves": 2, "steps": 5, "until": ("low:1=9",)},
    "octaves": {"octaves": 2, "octave_rounding": True, "detail": "after", "steps": 5},
}


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the CPU fetch the losses of four evaluations together, as a GPU does."""
    monkeypatch.setattr(Device, "fetch_interval", 4)


def force_host_steppers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every stepper the one for images that are cut into tiles."""
    monkeypatch.setattr(ascent_module, "new_stepper", HostStepper)


@pytest.mark.parametrize("method", METHODS)
def test_both_steppers_dream_alike(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros_like(PICTURE)
    mask[8:, :40] = 200
    settings = replace(FEW, **METHODS[method])
    on_device = dream(PICTURE, TINY, settings, mask=mask)
    force_host_steppers(monkeypatch)
    on_host = dream(PICTURE, TINY, settings, mask=mask)
    np.testing.assert_allclose(on_device.losses, on_host.losses, rtol=1e-3)
    difference = np.abs(on_device.picture.astype(int) - on_host.picture)
    assert difference.max() <= 3
    assert difference.mean() <= 0.02
    assert np.abs(on_host.picture.astype(int) - PICTURE).mean() > 0.5


def test_the_kind_of_stepper_follows_from_the_tiles() -> None:
    objective = Objective(np.ones(3, np.float32))
    for pixels, kind in ((200 * 150, DeviceStepper), (100 * 100, HostStepper)):
        settings = replace(FEW, execution=replace(FEW.execution, tile_pixels=pixels))
        evaluator = Evaluator(Sessions(TINY), settings, Machine("cpu", 1), objective, Size(150, 200))
        stepper = ascent_module.new_stepper(
            StepConfig(evaluator, settings, (-1.0, 1.0)), np.zeros((3, 150, 200), np.float32), []
        )
        assert isinstance(stepper, kind)


def both_kinds(settings: Settings) -> list[Stepper]:
    image = np.random.default_rng(0).uniform(-1, 1, (3, 40, 53)).astype(np.float32)
    evaluator = Evaluator(Sessions(TINY), settings, Machine("cpu", 1), Objective(np.ones(3, np.float32)), Size(40, 53))
    step_config = StepConfig(evaluator, settings, (-1.0, 1.0), np.ones((40, 53), np.float32))
    slots = [np.zeros_like(image)]
    return [kind(step_config, image.copy(), [slot.copy() for slot in slots]) for kind in (DeviceStepper, HostStepper)]


def test_both_kinds_of_stepper_agree_step_by_step() -> None:
    settings = replace(FEW, jitter=9, optimizer="momentum")
    on_device, on_host = both_kinds(settings)
    for number, shift in enumerate([(0, 0), (3, -4), (-9, 9)], 1):
        for stepper in (on_device, on_host):
            stepper.evaluate(shift)
        (row,), (other,) = on_device.fetch_loss_rows(), on_host.fetch_loss_rows()
        assert row.shape == (4,)
        np.testing.assert_allclose(row[:3], other[:3], rtol=1e-5)
        assert on_device.fetch_loss_rows() == on_host.fetch_loss_rows() == []
        for stepper in (on_device, on_host):
            stepper.update(number)
        (image, (slot,)), (other_image, (other_slot,)) = on_device.arrays(), on_host.arrays()
        np.testing.assert_allclose(image, other_image, atol=1e-5)
        np.testing.assert_allclose(slot, other_slot, atol=1e-3)


def test_a_kept_image_stays_unchanged_during_later_updates() -> None:
    stepper, _ = both_kinds(replace(FEW, optimizer="momentum"))
    assert stepper.kept_image() is None
    stepper.evaluate((0, 0))
    stepper.fetch_loss_rows()
    stepper.keep_image()
    image = stepper.arrays()[0].copy()
    for number in (1, 2, 3):
        stepper.update(number)
        kept = stepper.kept_image()
        assert kept is not None
        np.testing.assert_array_equal(kept, image)
        assert (stepper.arrays()[0] != image).any()
        stepper.evaluate((0, 0))
        stepper.fetch_loss_rows()


# Losses that are fetched together


def dreamed_with(settings: Settings, fetches_losses: bool = False) -> tuple[Dream, list[Losses]]:
    """Returns the dream, and the losses of every step if they are to be fetched."""
    seen: list[Losses] = []

    def on_step(step: Step) -> None:
        if fetches_losses:
            seen.append(step.fetch_losses())

    return dream(PICTURE, TINY, settings, on_step), seen


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fetches_losses", [False, True])
def test_when_losses_are_fetched_does_not_change_a_bit(
    method: str, fetches_losses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(FEW, **METHODS[method])
    at_once, _ = dreamed_with(settings)
    monkeypatch.setattr(Device, "fetch_interval", 4)
    together, seen = dreamed_with(settings, fetches_losses)
    np.testing.assert_array_equal(together.picture, at_once.picture)
    np.testing.assert_array_equal(together.losses, at_once.losses)
    if fetches_losses:
        np.testing.assert_array_equal(np.stack(seen), at_once.losses)


@pytest.mark.parametrize(
    ("watched", "fetches"),
    [({}, 4), ({"until": ("low:1=9",)}, 4), ({"plateau": 9}, 11), ({"max_loss": 1e9}, 11)],
)
def test_losses_are_fetched_every_few_steps_or_when_something_depends_on_them(
    watched: dict[str, Any], fetches: int, batched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    real = DeviceStepper.fetch_loss_rows

    def fetch_loss_rows(stepper: DeviceStepper) -> list[Any]:
        found = real(stepper)
        counts.append(len(found))
        return found

    monkeypatch.setattr(DeviceStepper, "fetch_loss_rows", fetch_loss_rows)
    dreamed_with(replace(FEW, **watched))
    assert len([count for count in counts if count]) == fetches  # of ten evaluations and the final one
    assert sum(counts) == 11


def test_an_octave_ends_early_with_batched_losses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = dreamed_with(FEW)[0].losses.sum(axis=1)
    settings = replace(FEW, max_loss=float(totals[4] + totals[5]) / 2)
    at_once, _ = dreamed_with(settings)
    monkeypatch.setattr(Device, "fetch_interval", 4)
    together, _ = dreamed_with(settings)
    assert len(together.losses) == len(at_once.losses) == 7
    np.testing.assert_array_equal(together.picture, at_once.picture)


@pytest.mark.parametrize("options", [{}, {"guide_by": "caricature"}, {"until": ("low:1=9",)}])
def test_a_step_costs_one_evaluation_whatever_is_maximised(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function of the channel means needs one more as each octave begins."""
    evaluations: list[BoundSession] = []
    real_bind, real_run = Evaluator.bind, BoundSession.run

    def bind(evaluator: Evaluator, *tensors: Any) -> BoundSession:
        evaluations.append(real_bind(evaluator, *tensors))
        return evaluations[-1]

    runs = [0]

    def run(session: BoundSession) -> None:
        runs[0] += any(session is one for one in evaluations)
        real_run(session)

    monkeypatch.setattr(Evaluator, "bind", bind)
    monkeypatch.setattr(BoundSession, "run", run)
    dream(PICTURE, TINY, replace(FEW, octaves=2, **options))
    assert runs == [21 + (3 if "guide_by" in options else 0)]  # the result is evaluated in a memory of its own


@pytest.mark.parametrize("last", [0, 1, 3, 4, 6])
def test_a_stop_fetches_everything(last: int, batched: None) -> None:
    stopped = dream(PICTURE, TINY, FEW, lambda step: step.number == last)
    assert (stopped.record.ended, stopped.record.steps_done) == ("stopped", last)
    expected = dream(PICTURE, TINY, replace(FEW, steps=last)) if last else None
    np.testing.assert_array_equal(stopped.picture, expected.picture if expected else PICTURE)


def test_steps_return_their_losses_after_the_run(batched: None) -> None:
    steps: list[Step] = []
    finished = dream(PICTURE, TINY, FEW, steps.append)  # type: ignore[func-returns-value]
    for step, row in zip(steps, finished.losses, strict=True):
        np.testing.assert_array_equal(step.fetch_losses(), row)
        assert step.fetch_total() == pytest.approx(float(row.sum()), rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"guide_by": "caricature", "stay": 0.1}])
@pytest.mark.parametrize("stop", [1, 4, 5, 9])
def test_a_run_resumed_from_any_step_is_bit_for_bit_the_same(stop: int, options: Any, batched: None) -> None:
    """Some losses are not fetched yet when the state is taken; they must not be lost."""
    settings = replace(FEW, optimizer="adam", jitter=5, step_size=0.002, **options)
    whole = dream(PICTURE, TINY, settings)
    taken: list[State] = []

    def on_step(step: Step) -> None:
        if step.number == stop:
            state = step.fetch_state()
            rows = [row.copy() for row in state.history[: state.number]]
            slots = [slot.copy() for slot in state.slots]
            taken.append(replace(state, image=state.image.copy(), slots=slots, history=rows))

    dream(PICTURE, TINY, settings, on_step)
    assert len(taken[0].history) == taken[0].number == stop
    resumed = dream(PICTURE, TINY, settings, state=taken[0])
    np.testing.assert_array_equal(resumed.picture, whole.picture)
    np.testing.assert_array_equal(resumed.losses, whole.losses)


# Values that are not finite


CLIFF = replace(FEW, steps=50, step_size=0.05, gradient_norm="none", normalization="backbone")
LOW = (noise(20, 24) // 2).astype(np.uint8)


@pytest.mark.parametrize("fetches_losses", [False, True])
def test_a_diverged_dream_returns_to_the_last_finite_image(
    fetches_losses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(cliff_bytes(0.5))
    exact = dream(LOW, bundle, CLIFF)
    updates = exact.record.steps_done
    assert updates > 8
    monkeypatch.setattr(Device, "fetch_interval", 4)
    steps: list[Step] = []

    def on_step(step: Step) -> None:
        steps.append(step)
        if fetches_losses:
            assert np.isfinite(step.fetch_total())

    later = dream(LOW, bundle, CLIFF, on_step)
    assert later.record.ended == exact.record.ended == "diverged"
    done = later.record.steps_done
    assert updates - 4 < done <= updates
    assert (done == updates) == fetches_losses or updates % 4 == 3
    np.testing.assert_array_equal(later.losses, exact.losses[: done + 1])
    expected = dream(LOW, bundle, replace(CLIFF, steps=done), lambda step: step.number == done)
    np.testing.assert_array_equal(later.picture, expected.picture)
    assert len(steps) <= done + 5
    for step in steps[done + 1 :]:
        with pytest.raises(DivergedError, match=f"not finite numbers after step {done}"):
            step.fetch_losses()
    assert fetches_losses or steps[done + 1 :]


@pytest.mark.parametrize(("fetch_interval", "stops"), [(1, False), (4, False), (4, True)])
@pytest.mark.parametrize("fetch", [Step.fetch_losses, Step.fetch_total, Step.fetch_state, Step.fetch_picture])
def test_catching_the_error_of_a_fetch_does_not_continue_a_diverged_run(
    fetch: Callable[[Step], object], fetch_interval: int, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(cliff_bytes(0.5))
    exact = dream(LOW, bundle, CLIFF)
    updates = exact.record.steps_done
    monkeypatch.setattr(Device, "fetch_interval", fetch_interval)
    caught: list[int] = []

    def on_step(step: Step) -> bool:
        try:
            fetch(step)
        except DivergedError:
            caught.append(step.number)
            with pytest.raises(DivergedError):  # nor can anything else be fetched
                step.fetch_picture()
            return stops
        return False

    found = dream(LOW, bundle, CLIFF, on_step)
    assert caught == ([] if fetch_interval == 1 else [updates + 1])  # with an interval of 1, it is known before on_step
    assert (found.record.ended, found.record.steps_done) == ("diverged", updates)
    np.testing.assert_array_equal(found.picture, exact.picture)
    np.testing.assert_array_equal(found.losses, exact.losses)


def test_an_error_of_another_run_passes_through(batched: None) -> None:
    def on_step(step: Step) -> None:
        raise DivergedError("of another run")

    with pytest.raises(DivergedError, match="of another run"):
        dream(PICTURE, TINY, FEW, on_step)


def test_a_first_gradient_that_is_not_finite_may_be_found_later(batched: None) -> None:
    white = np.full((20, 24, 3), 255, np.uint8)
    white[0, 0] = 0
    with pytest.raises(DivergedError, match="the first gradient is not a finite number"):
        dream(white, Bundle.load(cliff_bytes(0.5)), CLIFF)


@pytest.mark.parametrize("fetch_interval", [1, 4])
def test_an_octave_whose_first_gradient_is_not_finite_returns_to_the_octave_before(
    fetch_interval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fine checkerboard is above the cliff; in the octave before, it is grey."""
    monkeypatch.setattr(Device, "fetch_interval", fetch_interval)
    checks = np.zeros((20, 24, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    bundle = Bundle.load(cliff_bytes(0.5))
    settings = replace(CLIFF, octaves=2, octave_scale=2.0, steps=2)
    sizes: list[tuple[int, int]] = []
    ended = dream(checks, bundle, settings, lambda step: sizes.append(step.size))  # type: ignore[func-returns-value]
    assert ended.record.ended == "diverged"
    assert sizes[:2] == [(10, 12)] * 2
    assert ended.losses.shape == (2, 1)
    expected = dream(checks, bundle, settings, lambda step: step.number == 1)
    np.testing.assert_array_equal(ended.picture, expected.picture)
    assert np.isfinite(ended.losses).all()


# Memory that runs out


def test_no_step_is_lost_when_memory_runs_out_in_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """The update is repeated in tiles, from the unchanged image and slots."""
    picture = noise(200, 300)
    settings = replace(FEW, steps=4, optimizer="momentum", jitter=6, max_size=None)
    steps: list[int] = []
    lines: list[str] = []
    real, calls = GraphUpdate.inputs, []

    def inputs(update: GraphUpdate, *words: Any) -> Any:
        calls.append(update)
        if len(calls) == 3:
            raise OutOfMemoryError("no memory for it")
        return real(update, *words)

    monkeypatch.setattr(GraphUpdate, "inputs", inputs)
    found = dream(picture, TINY, settings, lambda step: steps.append(step.number), log=lines.append)
    assert lines == ["memory ran out with tiles of 300×200: continuing with half that area"]
    assert steps == [0, 1, 2, 3, 4]
    assert (found.record.ended, found.record.steps_done) == ("finished", 4)
    assert found.record.octaves[0].tiles > 1
    assert len(calls) == 3
    monkeypatch.undo()
    taken: list[State] = []

    def take(step: Step) -> bool:
        taken[:] = [step.fetch_state()]
        return step.number == 2

    whole = dream(picture, TINY, settings, take)
    np.testing.assert_array_equal(found.losses[:3], whole.losses)
    in_tiles = replace(settings, execution=replace(settings.execution, tile_pixels=100 * 300))
    resumed = dream(picture, TINY, in_tiles, state=taken[0])
    np.testing.assert_array_equal(found.losses[3:], resumed.losses[3:])
    np.testing.assert_array_equal(found.picture, resumed.picture)


def test_a_mask_is_resized_for_each_octave() -> None:
    processor = ImageProcessor(PICTURE, TINY.metadata, replace(FEW, octaves=2))
    evaluator = Evaluator(Sessions(TINY), FEW, Machine("cpu", 1), Objective(np.ones(3, np.float32)), Size(46, 53))
    mask = Mask(np.ones((46, 53), np.float32))
    ascent = Ascent(processor, evaluator, FEW, (-1.0, 1.0), mask)
    for size in processor.octaves:
        found = ascent.step_config(size).mask
        assert found is not None
        assert found.shape == size
