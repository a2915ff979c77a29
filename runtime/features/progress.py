"""The progress of features that are drawn: a bar on a terminal, otherwise a line for each, or events for a program."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Generic, TypeVar

from ...models.wording import counted, format_duration
from ..dream.progress import REFRESH_SECONDS, Display
from ..dream.writer import Log
from .drawing.aim import Subject
from .drawing.draw import DrawingStep, Drawn

S = TypeVar("S", bound=Subject)

# A layer has hundreds of channels; a line for each batch is enough where there are more than these.
_NAMED = 3
# How long the features may take without a word.
_LONG_SECONDS = 600


class FeatureProgress(Display, Generic[S]):
    """Shows the steps of all features on standard error, and a line for each batch that is drawn.

    The events are `start`, `step` and `done`.
    """

    def __init__(self, features: list[S], steps: int, log: Log, is_quiet: bool = False) -> None:
        super().__init__(log, is_quiet)
        self._features, self._steps = features, steps
        self._done = 0
        self._is_announced = False
        self._started = time.monotonic()

    def start(self, done: int) -> None:
        """Receives the number of features that are drawn already."""
        self._done = done
        if done:
            count = len(self._features)
            self._log(f"{counted(count, 'feature')}: {done} drawn already, {count - done} to draw")
        if self._events:
            self._events.send("start", features=len(self._features), done=done, steps=self._steps)

    def show(self, batch: list[S], step: DrawingStep) -> None:
        """Moves the bar, at most ten times a second."""
        now = time.monotonic()
        if self._is_quiet or now < self._next_time:
            return
        self._next_time = now + REFRESH_SECONDS
        if self._events:
            self._events.send("step", features=", ".join(map(str, batch)), step=step.number, loss=step.loss)
        elif self._is_terminal:
            completed = round(self._steps * (self._done + len(batch) * step.number / step.of))
            total = self._steps * len(self._features)
            self._move_bar("features", total, completed, f"{step.loss:.4g}", str(batch[0]))

    def done(self, drawn: list[Drawn[S]]) -> None:
        """Receives a batch that is drawn, or stopped."""
        names = list(dict.fromkeys(str(one.subject) for one in drawn))
        losses = ", ".join(f"{one.loss:.4g}" for one in drawn) if len(drawn) <= _NAMED else ""
        some = ", ".join(names) if len(names) <= _NAMED else f"{names[0]} to {names[-1]}"
        how, first = "drawn", drawn[0]
        if first.is_finished:
            self._done += len(names)
        else:
            how = f"stopped after {first.steps} of {first.of_steps} steps"
        count = f" ({self._done} of {len(self._features)})" if len(self._features) > 1 else ""
        self.log(f"{some}: {how}{f', loss {losses}' if losses else ''}{count}")
        self._announce(len(names))

    def _announce(self, count: int) -> None:
        """Says once, after the first batch of `count` features, how long the others will take, if that is long."""
        missing = len(self._features) - self._done
        rest = (time.monotonic() - self._started) / count * missing
        if not self._is_announced and rest > _LONG_SECONDS:
            self._log(
                f"the other {missing} take about {format_duration(rest)}; a smaller --size and fewer --steps take less"
            )
        self._is_announced = True

    def finish(self, result: Path, is_atlas: bool, overwrites: bool) -> None:
        """Receives the path of the atlas, or of a picture, and whether the command replaces what is there."""
        seconds = time.monotonic() - self._started
        missing = len(self._features) - self._done
        drawn = f"{counted(self._done, 'feature')} in {result.parent}, atlas {result}"
        more = f"{missing} {'is' if missing == 1 else 'are'} not drawn yet"
        if not is_atlas:
            drawn, more = f"saved as {result}", f"{self._done} of {len(self._features)} finished"
        again = f"; {more}: the same command{' without --overwrite' if overwrites else ''} continues"
        self.log(f"{drawn}, in {seconds:.1f} s{again if missing else ''}")
        if self._events:
            self._events.send("done", features=self._done, seconds=round(seconds, 3), result=str(result.absolute()))
