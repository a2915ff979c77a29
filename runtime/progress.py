"""The progress bar of a dream: steps, loss, rate and time left. Quiet where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .ascent import Step

# To see a loss may mean to fetch it from a GPU; nobody reads faster.
_SECONDS_BETWEEN_LOOKS = 0.1


class DreamProgress:
    """Shows one dream of a known number of steps while it runs."""

    def __init__(self, name: str, steps: int) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(name, total=steps, loss="…", rate="")
        self._next_look = 0.0

    def __enter__(self) -> DreamProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, step: Step) -> None:
        """Moves the bar to a step, a few times a second and at the end."""
        ended = step.number == self._progress.tasks[0].total
        if self._progress.disable or (time.monotonic() < self._next_look and not ended):
            return
        self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        speed = self._progress.tasks[0].speed
        rate = f"{speed:.1f} steps/s" if speed else ""
        self._progress.update(self._task, completed=step.number, loss=f"{step.total:.4g}", rate=rate)
