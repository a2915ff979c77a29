"""How long a study will take: measured on its own cells, a few steps of each, before it starts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from ..models.arrays import Size
from ..runtime.ascent.ascent import Step
from ..runtime.dream.run import dream
from ..runtime.errors import DreamError
from .cells import Cell

_TRIAL_STEPS = 2


def estimate(cells: Iterable[Cell]) -> float:
    """Seconds that the cells take, those that cannot be tried counted as nothing."""
    known: dict[tuple[str, Size], float] = {}
    total = 0.0
    for cell in cells:
        size = cell.source.dreamed_size(cell.job.settings.max_size)
        like = (cell.job.bundle.sha256, size)
        if like not in known:
            known[like] = _seconds_per_step(cell)
        checkpoint = cell.checkpoint()
        steps = cell.job.settings.steps * cell.job.settings.octaves - (checkpoint.state.number if checkpoint else 0)
        total += known[like] * steps
    return total


def _seconds_per_step(cell: Cell) -> float:
    """The mean over the octaves of the last step of a short dream, the first being slower."""
    settings = replace(cell.job.settings, steps=_TRIAL_STEPS, snapshots=())
    times: list[float] = []

    def on_step(step: Step) -> None:
        times.append(time.perf_counter())

    try:
        dream(cell.source.read(settings).pixels, cell.job.bundle, settings, on_step, sessions=cell.job.sessions)
    except DreamError:  # the cell itself will say it
        return 0.0
    finally:
        cell.job.sessions.forget()
    steps = [later - earlier for earlier, later in pairwise(times)]
    last = steps[_TRIAL_STEPS - 1 :: _TRIAL_STEPS]
    return sum(last) / len(last)


def in_words(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
