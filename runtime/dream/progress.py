"""The progress bar of a dream: steps, loss, rate and time left. Shown only on a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from ..ascent.ascent import Step

if TYPE_CHECKING:
    from rich.progress import Progress

# Showing a loss may mean fetching it from a GPU; nobody reads faster than this.
_REFRESH_SECONDS = 0.1


class DreamProgress:
    """Shows the progress of one dream of a known number of steps; appears with the first gradient."""

    def __init__(self, name: str, steps: int) -> None:
        self._name, self._steps = name, steps
        self._is_shown = sys.stderr is not None and sys.stderr.isatty()  # a service may have no standard error
        self._bar: Progress | None = None
        self._next_refresh = 0.0

    def __enter__(self) -> DreamProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, step: Step) -> None:
        """Moves the bar to a step; redraws it at most ten times a second, and at the end."""
        ended = step.number == self._steps
        if not self._is_shown or (time.monotonic() < self._next_refresh and not ended):
            return
        self._next_refresh = time.monotonic() + _REFRESH_SECONDS
        if self._bar is None:
            self._bar = _new_bar(self._name, self._steps, step.number)
        (task,) = self._bar.tasks
        rate = f"{task.speed:.1f} steps/s" if task.speed else ""
        self._bar.update(task.id, completed=step.number, loss=f"{step.fetch_total():.4g}", rate=rate)


def _new_bar(name: str, steps: int, done: int) -> Progress:
    """A running bar. Imports rich here: it is slow to import, and the first gradient need not wait for it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task(name, total=steps, completed=done, loss="…", rate="")
    bar.start()
    return bar
