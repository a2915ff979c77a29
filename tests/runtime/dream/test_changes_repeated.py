"""Changes on the way in records and checkpoints: a repeated and a resumed run are the same to the last bit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, Command, in_this_process, load, noise, save

from onnxdream.runtime import Bundle, Change, Dream, Execution, Settings, Step
from onnxdream.runtime.batch.plan import settings_hash
from onnxdream.runtime.dream.checkpoint import read_checkpoint
from onnxdream.runtime.dream.job import dream_and_save
from onnxdream.runtime.dream.record import Record, read_record
from onnxdream.runtime.dream.repeat import job_to_resume, load_record
from onnxdream.runtime.dream.writer import Callbacks, Job
from onnxdream.runtime.errors import RecordError
from onnxdream.runtime.image.source import Source

BEGUN = Settings(
    steps=4,
    step_size=0.02,
    octaves=2,
    max_size=40,
    jitter=4,
    optimizer="adam",
    snapshots=(),
    execution=Execution("cpu", 1),
)
# What a user does, by the number of the step: something of each kind, also at the ends of octaves.
LIVE: dict[int, dict[str, Any]] = {
    0: {"colours": "own:0.8"},
    2: {"step_size": (0.05, 0.01), "blur": 1.0, "guide_by": "caricature"},
    3: {"max_size": 60, "octaves": 3, "steps": 3, "stay": 0.1},
    4: {"layer_weights": {"mid": 1.0, "high": -0.5}, "detail": "none"},
    6: {"optimizer": "momentum", "guide_by": "surplus", "channels": ("mid:1,2",)},
    8: {"blend": 0.7, "steps": 4, "tv": 0.1},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a picture and the tiny bundle."""
    save(tmp_path / "bears.png", noise(60, 73))
    save(tmp_path / "lions.png", noise(50, 60, seed=3))
    (tmp_path / "tiny.onnx").write_bytes(TINY_BYTES)
    monkeypatch.chdir(tmp_path)
    from onnxdream.runtime.dream import writer

    monkeypatch.setattr(writer, "can_plot", lambda: False)  # plots would take longer than everything else
    return tmp_path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in that folder."""
    return in_this_process(capfd)


def live(changes: dict[int, dict[str, Any]], stop_at: int | None = None) -> Callable[[Step], bool]:
    """An `on_step` that makes changes at their steps, and stops at one."""

    def on_step(step: Step) -> bool:
        if step.number in changes:
            step.change(replace(step.settings, **changes[step.number]))
        return step.number == stop_at

    return on_step


def dreamed(
    folder: Path,
    name: str,
    on_step: Callable[[Step], bool | None] = lambda step: None,
    resumed: Path | None = None,
    settings: Settings = BEGUN,
) -> Dream:
    """Dreams bears.png into a file, or resumes a checkpoint."""
    job = Job(Bundle.load(folder / "tiny.onnx"), settings, folder / name, overwrite=True)
    checkpoint = read_checkpoint(resumed) if resumed else None
    if checkpoint and resumed:
        job = job_to_resume(checkpoint, resumed)
    callbacks = Callbacks(lambda line: None, on_step)
    return dream_and_save(job, Source(folder / "bears.png"), callbacks, checkpoint)[0]


def assert_same(one: Dream, other: Dream) -> None:
    np.testing.assert_array_equal(one.picture, other.picture)
    np.testing.assert_array_equal(one.losses, other.losses)
    assert one.record.changes == other.record.changes
    assert one.record.octaves == other.record.octaves
    assert (one.record.first_loss, one.record.last_loss) == (other.record.first_loss, other.record.last_loss)


def test_a_run_changed_on_the_way_is_repeated_from_its_record(folder: Path, run: Command) -> None:
    first = dreamed(folder, "first.png", live(LIVE))
    assert [change.step for change in first.record.changes] == list(LIVE)
    assert first.record.settings == BEGUN
    assert len(first.record.octaves) == 4
    assert first.picture.shape == (49, 60, 3)
    run("dream", "--repeat", "first.json", "--output", "again.png").succeeds()
    run("dream", "--repeat", "first.png", "--model", "tiny.onnx", "--output", "from-picture.png").succeeds()
    for name in ("again", "from-picture"):
        np.testing.assert_array_equal(load(folder / f"{name}.png"), load(folder / "first.png"))
        assert (folder / f"{name}-losses.csv").read_bytes() == (folder / "first-losses.csv").read_bytes()
        assert load_record(folder / f"{name}.json").changes == first.record.changes


def test_a_record_says_what_changed_and_nothing_else(folder: Path) -> None:
    dreamed(folder, "first.png", live({2: {"step_size": 0.05}, 3: {"max_size": 60, "channels": ("mid:1",)}}))
    assert json.loads((folder / "first.json").read_text())["changes"] == [
        {"step": 2, "settings": {"step_size": 0.05}},
        {"step": 3, "settings": {"channels": ["mid:1"], "max_size": 60}},
    ]
    dreamed(folder, "first.png")
    assert json.loads((folder / "first.json").read_text())["changes"] == []


@pytest.mark.parametrize("stop_at", range(15))
def test_a_run_stopped_around_its_changes_resumes_bit_for_bit(stop_at: int, folder: Path) -> None:
    """It stops in the step of a change, too: that change is not made then, but it is when the run resumes."""
    uninterrupted = dreamed(folder, "uninterrupted.png", live(LIVE))
    assert uninterrupted.record.steps_done == 15
    stopped = dreamed(folder, "bears-dream.png", live(LIVE, stop_at))
    assert stopped.record.changes == tuple(c for c in uninterrupted.record.changes if c.step < stop_at)
    later = {step: changed for step, changed in LIVE.items() if step > stop_at}
    resumed = dreamed(folder, "bears-dream.png", live(later), folder / "bears-dream.checkpoint")
    assert_same(resumed, uninterrupted)


def test_a_stopped_repetition_resumes_with_the_changes_that_are_still_planned(folder: Path, run: Command) -> None:
    first = dreamed(folder, "first.png", live(LIVE))
    job = Job(Bundle.load(folder / "tiny.onnx"), BEGUN, folder / "b.png", changes=first.record.changes)
    dream_and_save(job, Source(folder / "bears.png"), Callbacks(lambda line: None, lambda step: step.number == 3))
    assert read_checkpoint(folder / "b.checkpoint").changes == first.record.changes
    run("dream", "--resume", "b.checkpoint").succeeds()
    np.testing.assert_array_equal(load(folder / "b.png"), load(folder / "first.png"))
    assert load_record(folder / "b.json").changes == first.record.changes


def test_the_losses_file_weighs_as_the_record_does(folder: Path) -> None:
    first = dreamed(folder, "first.png", live({3: {"layer_weights": {"high": 2.0}}}))
    last = (folder / "first-losses.csv").read_text().splitlines()[-1].split(",")
    assert float(last[2]) == pytest.approx(first.record.last_loss, rel=1e-5)
    assert first.record.last_loss == pytest.approx(2 * first.losses[-1, 2])


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (("--step-size", "0.01"), [(2, {"tv": 0.5}), (3, {"channels": ("mid:1",)})]),
        (("--layers", "low"), [(2, {"step_size": 0.05, "tv": 0.5})]),
        (("--step-size", "0.01", "--tv", "0"), [(3, {"channels": ("mid:1",)})]),
        (("--steps", "1", "--octaves", "1"), []),
        (("--preset", "tutorial", "--layers", "low", "--steps", "2", "--octaves", "2"), []),
        (("lions.png",), [(2, {"step_size": 0.05, "tv": 0.5}), (3, {"channels": ("mid:1",)})]),
    ],
)
def test_an_option_holds_for_the_whole_repeated_run(
    options: tuple[str, ...], left: list[tuple[int, dict[str, Any]]], folder: Path, run: Command
) -> None:
    dreamed(folder, "first.png", live({2: {"step_size": 0.05, "tv": 0.5}, 3: {"channels": ("mid:1",)}}))
    run("dream", "--repeat", "first.json", "--model", "tiny.onnx", "--output", "b.png", *options).succeeds()
    assert load_record(folder / "b.json").changes == tuple(Change(*change) for change in left)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{"step": 8, "settings": {"tv": 1}}], "the change at step 8 comes after the run's end at step 8"),
        (
            [{"step": 3, "settings": {"tv": 1}}, {"step": 3, "settings": {"tv": 2}}],
            "the change at step 3 comes after that at step 3",
        ),
        ([{"step": 3, "settings": {"tw": 1}}], "unknown setting 'tw'"),
        ([{"step": 3, "settings": {"seed": 1}}], "seed cannot change on the way"),
        ([{"step": 3, "settings": {"tv": -1}}], "tv must be a number"),
        ([{"step": -3, "settings": {"tv": 1}}], "not -3"),
        ([{"step": 3}], "holds no record"),
        ([{"step": 3, "settings": {"octaves_above": 2}}], "octaves above"),
    ],
)
def test_a_record_with_impossible_changes_is_refused(
    changes: list[dict[str, Any]], message: str, folder: Path, run: Command
) -> None:
    dreamed(folder, "first.png")
    record = json.loads((folder / "first.json").read_text())
    assert record["steps_done"] == 8
    with pytest.raises(RecordError, match=message.replace("(", r"\(")):
        read_record(json.dumps({**record, "changes": changes}), "first.json")
    (folder / "first.json").write_text(json.dumps({**record, "changes": changes}))
    run("dream", "--repeat", "first.json").refuses(message)


def test_a_record_without_changes_is_one_that_has_none(folder: Path) -> None:
    dreamed(folder, "first.png")
    record = json.loads((folder / "first.json").read_text())
    del record["changes"]
    found: Record = read_record(json.dumps(record), "first.json")
    assert found.changes == ()


def test_pictures_of_a_folder_are_done_only_with_the_same_changes(folder: Path) -> None:
    job = Job(Bundle.load(folder / "tiny.onnx"), BEGUN)
    changed = replace(job, changes=(Change(2, {"tv": 1.0}),))
    assert settings_hash(changed) != settings_hash(job)
    assert settings_hash(changed) != settings_hash(replace(job, changes=(Change(3, {"tv": 1.0}),)))


def test_a_pause_is_not_counted_by_the_checkpoint_either(folder: Path) -> None:
    def on_step(step: Step) -> bool:
        if step.number == 2:
            with step.paused():
                time.sleep(0.5)
        return step.number == 3

    started = time.monotonic()
    stopped = dreamed(folder, "bears-dream.png", on_step)
    most = time.monotonic() - started - 0.5
    assert 0 < read_checkpoint(folder / "bears-dream.checkpoint").seconds < most
    assert 0 <= stopped.record.seconds < most + 0.001  # it is rounded
