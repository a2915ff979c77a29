"""What a picture's receipt says, and what is made of an attempt that was killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batches import pictures
from pictures_fixture import TINY_BYTES, cliff_bytes, listing, load, noise, save

from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.batch.assigned import Dreamer, dream_assigned
from onnxdream.runtime.batch.plan import Assignment, Plan
from onnxdream.runtime.batch.receipts import Manifest
from onnxdream.runtime.dream.checkpoint import Checkpoint
from onnxdream.runtime.dream.job import dream_and_save
from onnxdream.runtime.dream.record import Record
from onnxdream.runtime.dream.writer import Callbacks, Job
from onnxdream.runtime.image.source import Source

SETTINGS = Settings(steps=4, step_size=0.02, snapshots=(2,), execution=Execution("cpu", 1))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(Bundle.load(TINY_BYTES), SETTINGS, tmp_path / "out")


def begin(job: Job, path: Path) -> Assignment:
    """Begins a picture as a call does that is killed thereafter."""
    assert job.output is not None
    with Manifest(job.output) as manifest:
        plan = Plan(job, [Source(path)], manifest)
        assignment = plan.begin(plan.tasks[0])
    assert assignment is not None
    return assignment


def dreamer(stop_after: int | None = None, seen: list[int | None] | None = None) -> Dreamer:
    """Dreams up to a step, and collects the steps of the checkpoints from which it continues."""

    def dream_one(job: Job, source: Source, checkpoint: Checkpoint | None) -> Record:
        if seen is not None:
            seen.append(checkpoint.state.number if checkpoint else None)
        on_step = Callbacks([].append, lambda step: step.number == stop_after)
        return dream_and_save(job, source, on_step, checkpoint)[0].record

    return dream_one


def test_a_receipt_says_how_a_dream_ended(job: Job, tmp_path: Path) -> None:
    good, broken = pictures(tmp_path, 2)
    broken.write_bytes(b"no picture")
    assignment = begin(job, good)
    receipt = dream_assigned(job, assignment, dreamer())
    assert receipt == replace(assignment.receipt, state="done", seconds=receipt.seconds)
    failed = dream_assigned(job, begin(job, broken), dreamer())
    assert (failed.state, failed.seconds) == ("failed", None)
    assert "01.png" in str(failed.error)
    assert "01-dream.checkpoint" not in listing(tmp_path / "out")


def test_what_diverges_has_failed(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=50, step_size=0.3, gradient_norm="none", normalization="backbone")
    job = Job(Bundle.load(cliff_bytes(0.5)), settings, tmp_path / "out", extras=False)
    path = save(tmp_path / "00.png", noise(20, 24) // 2)
    receipt = dream_assigned(job, begin(job, path), dreamer())
    assert receipt.state == "failed"
    assert "00.png: the losses were not finite numbers" in str(receipt.error)


def test_a_killed_attempt_leaves_nothing_behind(job: Job, tmp_path: Path) -> None:
    (path,) = pictures(tmp_path, 1)
    begin(job, path)
    out = tmp_path / "out"
    for name in ("00-dream-step0002.png", "00-dream-step0001.png", "00-dream-losses.csv", "00-dream.png"):
        (out / name).write_bytes(b"half")
    again = begin(job, path)
    assert again.result.name == "00-dream.png"
    assert dream_assigned(job, again, dreamer()).state == "done"
    assert "00-dream-step0001.png" not in listing(out)
    np.testing.assert_array_equal(load(out / "00-dream.png"), dream(noise(30, 40), job.bundle, SETTINGS).picture)


def test_a_stopped_attempt_is_continued_from_its_checkpoint_to_the_same_picture(job: Job, tmp_path: Path) -> None:
    (path,) = pictures(tmp_path, 1)
    with Manifest(tmp_path / "out") as manifest:
        plan = Plan(job, [Source(path)], manifest)
        assignment = plan.begin(plan.tasks[0])
        assert assignment is not None
        receipt = dream_assigned(job, assignment, dreamer(stop_after=3))
        assert receipt.state == "stopped"
        manifest.add(receipt)
    seen: list[int | None] = []
    dream_assigned(job, begin(job, path), dreamer(seen=seen))
    assert seen == [3]
    whole = dream(noise(30, 40), job.bundle, SETTINGS).picture
    np.testing.assert_array_equal(load(tmp_path / "out" / "00-dream.png"), whole)


def test_overwriting_starts_from_the_beginning(job: Job, tmp_path: Path) -> None:
    (path,) = pictures(tmp_path, 1)
    dream_assigned(job, begin(job, path), dreamer(stop_after=3))
    seen: list[int | None] = []
    again = replace(job, overwrite=True)
    assert dream_assigned(again, begin(again, path), dreamer(seen=seen)).state == "done"
    assert seen == [None]
    assert "00-dream.checkpoint" not in listing(tmp_path / "out")
