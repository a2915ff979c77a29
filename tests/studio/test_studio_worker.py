"""A worker that resumes a dream whose server had not heard of its last steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from onnxdream.runtime import Bundle
from onnxdream.runtime.dream.job import dream_and_save
from onnxdream.runtime.dream.record import read_record
from onnxdream.runtime.dream.writer import Callbacks, Job
from onnxdream.runtime.image.source import Source
from onnxdream.runtime.settings.changes import Change
from onnxdream.runtime.settings.settings import Execution, Settings
from onnxdream.studio.workers.controls import Controls
from onnxdream.studio.workers.messages import Ended, Task
from onnxdream.studio.workers.worker import Dreamer, Shelf

SETTINGS = Settings(steps=8, jitter=3, snapshots=(), execution=Execution("cpu", 1))
STOP = 5  # the step of the checkpoint


def changes_of_resumed(
    folder: Path, bundle: Path, before: tuple[Change, ...], heard: tuple[Change, ...]
) -> list[tuple[int, dict[str, Any]]]:
    """Stops a dream with changes, resumes it with those that the server has heard of; returns those of its record."""
    picture, output = folder / "a.png", folder / "a-dream.png"
    cv2.imwrite(str(picture), np.random.default_rng(3).integers(0, 256, (32, 40, 3), np.uint8))
    job = Job(Bundle.load(bundle), SETTINGS, output, True, changes=before)
    dream_and_save(job, Source(picture), Callbacks(print, lambda step: step.number == STOP))
    task = Task("job", picture, str(bundle), SETTINGS, output, resumes=True, changes=heard)
    controls = Controls()
    controls.begin(task)
    ended = Dreamer(task, Shelf(), controls, print).dream()
    assert isinstance(ended, Ended)
    assert ended.end == "finished", ended.error
    record = read_record(output.with_suffix(".json").read_text(encoding="utf-8"), "its record")
    return [(change.step, dict(change.settings)) for change in record.changes]


@pytest.mark.parametrize(
    ("before", "heard", "found"),
    [
        ((), ((3, {"jitter": 9}),), [(5, {"jitter": 9})]),
        (((3, {"tv": 0.1}),), ((3, {"tv": 0.1, "jitter": 9}),), [(3, {"tv": 0.1}), (5, {"jitter": 9})]),
        (((3, {"jitter": 7}),), ((3, {"jitter": 9}),), [(3, {"jitter": 7}), (5, {"jitter": 9})]),
        ((), ((3, {"jitter": 9}), (5, {"tv": 0.1})), [(5, {"jitter": 9, "tv": 0.1})]),
        ((), ((6, {"jitter": 9}),), [(6, {"jitter": 9})]),
        (((4, {"jitter": 9}),), ((3, {"jitter": 9}),), [(4, {"jitter": 9})]),
        (((2, {"jitter": 9}), (4, {"jitter": 1})), ((1, {"jitter": 9}),), [(2, {"jitter": 9}), (4, {"jitter": 1})]),
    ],
    ids=["none done", "another at its step", "one of the same setting", "one after", "in time", "done", "done since"],
)
def test_a_change_that_the_checkpoint_has_overtaken_is_made_at_it(
    before: tuple[Any, ...], heard: tuple[Any, ...], found: list[Any], tmp_path: Path, tiny_path: Path
) -> None:
    made = [tuple(Change(*one) for one in changes) for changes in (before, heard)]
    assert changes_of_resumed(tmp_path, tiny_path, *made) == found
