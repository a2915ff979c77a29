"""Estimates how long a study takes, by timing a few steps of its cells before it starts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from ..models.arrays import Size
from ..runtime.ascent.step import Step
from ..runtime.dream.run import dream
from ..runtime.errors import DreamError
from .cells import Cell

_TRIAL_STEPS = 3


def estimate(cells: Iterable[Cell]) -> float:
    """Returns the seconds that the remaining steps of all cells take together.

    A step is timed once for each bundle and picture size. A cell that fails the trial counts as 0 seconds.
    """
    seconds_per_step: dict[tuple[str, Size], float] = {}
    total = 0.0
    for cell in cells:
        size = cell.source.dreamed_size(cell.job.settings.max_size)
        kind = (cell.job.bundle.sha256, size)
        if kind not in seconds_per_step:
            seconds_per_step[kind] = _time_step(cell)
        checkpoint = cell.checkpoint()
        steps = cell.job.settings.steps * cell.job.settings.octaves - (checkpoint.state.number if checkpoint else 0)
        total += seconds_per_step[kind] * steps
    return total


def _time_step(cell: Cell) -> float:
    """Dreams a few steps and returns the seconds of an octave's second step, averaged over the octaves.

    The first is slower, and the last loads the next octave's session. Returns 0 if the dream fails.
    """
    job = cell.job
    settings = replace(job.settings, steps=_TRIAL_STEPS, snapshots=())
    times: list[float] = []

    def on_step(step: Step) -> None:
        times.append(time.perf_counter())

    try:
        picture = cell.source.read(settings).pixels
        dream(picture, job.bundle, settings, on_step, mask=job.mask, guide=job.guide, sessions=job.sessions)
    except DreamError:  # running the cell will report it
        return 0.0
    finally:
        job.sessions.forget()
    second = [later - earlier for earlier, later in pairwise(times)][1::_TRIAL_STEPS]
    return sum(second) / len(second)
