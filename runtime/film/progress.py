"""The progress of a film: a bar on a terminal, otherwise a line every ten seconds, or events for a program."""

from __future__ import annotations

import time
from pathlib import Path

from ...models.wording import format_duration
from ..ascent.step import Step
from ..dream.progress import LINE_SECONDS, REFRESH_SECONDS, Display
from ..dream.writer import Log
from .frames.coherence import DreamedFrame
from .record import FilmRecord


class FilmProgress(Display):
    """Shows the frames, the loss, the rate and the time left of one film on standard error.

    The events are `start`, `frame` and `done`.
    """

    def __init__(self, name: str, log: Log, is_quiet: bool = False) -> None:
        super().__init__(log, is_quiet)
        self._name = name
        self._count: int | None = None
        self._done = self._first = 0
        self._started = 0.0
        self._loss = "…"

    def start(self, count: int | None, done: int) -> None:
        """Receives the number of frames, None if it is not known, and that of those that are there already."""
        self._count, self._done, self._first = count, done, done
        self._started = time.monotonic()
        self._next_time = self._started + LINE_SECONDS
        if self._events:
            self._next_time = self._started
            self._events.send("start", film=self._name, frame=done, frames=count)
        else:
            self._show(self._loss)

    def step(self, step: Step) -> None:
        """Shows that the first frame of a shot is in progress, which takes longer than others."""
        if step.octave_step == 0 and not self._events:
            self._show(f"{self._loss}, octave {step.octave + 1}" if step.number else self._loss)

    def frame(self, frame: DreamedFrame) -> None:
        """Counts a frame."""
        self._done += 1
        self._loss = f"{frame.loss:.4g}"
        if self._events:
            self._send_frame(float(frame.loss), time.monotonic())
        else:
            self._show(self._loss)

    def done(self, record: FilmRecord, path: Path) -> None:
        """Receives the record of the finished film and its path."""
        if self._events:
            self._events.send(
                "done",
                film=self._name,
                ended=record.ended,
                frame=record.frames,
                frames=self._count,
                seconds=record.seconds,
                result=str(path.absolute()),
            )

    def _send_frame(self, loss: float, now: float) -> None:
        """Sends the latest frame as an event, at most ten times a second."""
        if now < self._next_time or self._events is None:
            return
        self._next_time = now + REFRESH_SECONDS
        pace = (now - self._started) / (self._done - self._first)
        left = None if self._count is None else round(max(0, self._count - self._done) * pace, 1)
        self._events.send("frame", film=self._name, frame=self._done, frames=self._count, loss=loss, seconds_left=left)

    def _show(self, loss: str) -> None:
        if self._is_quiet:
            return
        now = time.monotonic()
        frames = self._done - self._first
        rate = frames / (now - self._started) if frames and now > self._started else 0.0
        if self._is_terminal:
            self._move_bar(self._name, self._count, self._done, loss, f"{rate:.2f} frames/s" if rate else "")
        elif now >= self._next_time:
            self._next_time = now + LINE_SECONDS
            self._log(self._line(loss, rate))

    def _line(self, loss: str, rate: float) -> str:
        total = f" of about {self._count}" if self._count else ""
        line = f"{self._name}: frame {self._done}{total}, loss {loss}"
        if not rate:
            return line
        left = f", {format_duration((self._count - self._done) / rate)} left" if self._count else ""
        return f"{line}, {rate:.3g} frames/s{left}"
