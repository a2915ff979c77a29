"""The progress of a dream: a bar on a terminal, otherwise a line every ten seconds, or events for a program."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

from ...models.streams import event_stream
from ...models.wording import format_duration
from ..ascent.step import Step
from .record import Record
from .run import Preparation
from .writer import Log

if TYPE_CHECKING:
    from rich.progress import Progress

D = TypeVar("D", bound="Display")

# Showing a loss may mean fetching it from a GPU; nobody reads faster than this.
REFRESH_SECONDS = 0.1
# Without a terminal, lines are kept in logs.
LINE_SECONDS = 10.0


class Events(Protocol):
    """Takes the events of a dream, as an EventStream does."""

    def send(self, event: str, **fields: str | float | None) -> None:
        """Takes an event."""


class Display:
    """Where a command shows how far it is: a bar on a terminal, otherwise lines, or events for a program.

    There are events where they are given, or where standard error is an EventStream. `log` is called with each line for
    the user. With `is_quiet` nothing is shown.
    """

    def __init__(self, log: Log, is_quiet: bool = False, events: Events | None = None) -> None:
        self._log, self._is_quiet = log, is_quiet
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()  # a service may have no standard error
        self._events = None if is_quiet else events or event_stream()
        self._bar: Progress | None = None
        self._next_time = 0.0  # when the bar moves again, or the next event is sent

    def __enter__(self: D) -> D:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hide_bar()

    def log(self, line: str) -> None:
        """Prints a line for the user; the next move shows the bar again."""
        self._hide_bar()
        self._log(line)

    @property
    def _speed(self) -> float | None:
        """How many steps of the bar are done in a second, None if that is not known yet."""
        return self._bar.tasks[0].speed if self._bar else None

    def _move_bar(self, name: str, total: int | None, done: int, loss: str, rate: str) -> None:
        self._bar = self._bar or _new_bar(name, total, done)
        self._bar.start()
        self._bar.update(self._bar.tasks[0].id, total=total, completed=done, loss=loss, rate=rate)

    def _hide_bar(self) -> None:
        if self._bar:
            self._bar.stop()


class DreamProgress(Display):
    """Shows the steps, the loss, the rate and the time left of one dream on standard error.

    The events are `start`, `step` and `done`.
    """

    def __init__(self, name: str, log: Log, is_quiet: bool = False, events: Events | None = None) -> None:
        super().__init__(log, is_quiet, events)
        self._name = name
        self._octaves = self.steps = 0
        self._preparation: Preparation | None = None
        # The step and the time of the latest line, or of the first step of an octave for events.
        self._latest: tuple[int, float] | None = None

    def start(self, preparation: Preparation) -> None:
        """Receives the run before its first step."""
        self._preparation = preparation
        self._count()
        if self._events:
            self._events.send("start", picture=self._name, steps=self.steps, octaves=self._octaves)

    def show(self, step: Step) -> None:
        """Moves the bar to a step, at most ten times a second and at the end, or logs a line."""
        if self._is_quiet:
            return
        now = time.monotonic()
        self._count()
        if self._events:
            self._send_step(step, now)
        elif self._is_terminal and (now >= self._next_time or step.number == self.steps):
            self._next_time = now + REFRESH_SECONDS
            rate = f"{self._speed:.1f} steps/s" if self._speed else ""
            self._move_bar(self._name, self.steps, step.number, f"{step.fetch_total():.4g}", rate)
        elif not self._is_terminal and self._latest is None:
            self._latest = step.number, now
        elif not self._is_terminal and self._latest and now >= self._latest[1] + LINE_SECONDS:
            self._log(self._line(step, now))
            self._latest = step.number, now

    def done(self, record: Record, location: str) -> None:
        """Receives the record of the finished dream and the path of its picture, - for standard output."""
        if self._events:
            self._events.send(
                "done",
                picture=self._name,
                ended=record.ended,
                step=record.steps_done,
                steps=self.steps,
                loss=record.last_loss,
                seconds=record.seconds,
                result=location,
            )

    def _count(self) -> None:
        """Counts the steps and the octaves, which change with the settings on the way."""
        if self._preparation:
            self.steps, self._octaves = self._preparation.max_steps, len(self._preparation.octaves)

    def _send_step(self, step: Step, now: float) -> None:
        """Sends a step as an event, at most ten times a second."""
        if self._latest is None or step.octave_step == 0:
            self._latest = step.number, now
        if now < self._next_time or self._events is None:
            return
        self._next_time = now + REFRESH_SECONDS
        number, before = self._latest
        pace = (now - before) / (step.number - number) if step.number > number else None
        self._events.send(
            "step",
            picture=self._name,
            step=step.number,
            steps=self.steps,
            octave=step.octave + 1,
            octaves=self._octaves,
            loss=step.fetch_total(),
            seconds_left=None if pace is None else round(pace * (self.steps - step.number), 1),
        )

    def _line(self, step: Step, now: float) -> str:
        assert self._latest
        number, before = self._latest
        octave = f" (octave {step.octave + 1} of {self._octaves})" if self._octaves > 1 else ""
        rate = (step.number - number) / (now - before)
        left = format_duration((self.steps - step.number) / rate)
        return (
            f"{self._name}: step {step.number} of {self.steps}{octave}, loss {step.fetch_total():.4g}, "
            f"{rate:.3g} steps/s, {left} left"
        )


def _new_bar(name: str, total: int | None, done: int) -> Progress:
    """Returns a bar that is not shown yet, with the fields `loss` and `rate`; `total` may be unknown.

    Imports rich here: it is slow to import, and the first gradient need not wait for it.
    """
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
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.add_task(name, total=total, completed=done, loss="…", rate="")
    return bar
