"""What a dream leaves while it runs and when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..ascent.ascent import Step
from ..bundle.bundle import Bundle
from ..bundle.sessions import Sessions
from ..errors import DivergedError, OutputError
from ..film import Film
from ..image.files import Picture
from ..provider.selection import ProviderChoice, choose_provider
from ..settings.settings import Settings
from .checkpoint import Checkpoint
from .plot import can_plot, draw_losses
from .record import SourceFiles, bundle_file
from .results import Results
from .run import Dream, Preparation

# A checkpoint is due after so many seconds, or later where writing one takes more than a twentieth of the time.
_CHECKPOINT_SECONDS = 5.0
_CHECKPOINT_SHARE = 20


@dataclass(frozen=True)
class Job:
    """What to make of pictures. `output` is a folder, a picture's path, or None for the current folder; `mask` and
    `guide` are picture files; `sessions` those of the bundle, shared by all jobs that are given them."""

    bundle: Bundle
    settings: Settings
    output: Path | None = None
    overwrite: bool = False
    film: Path | None = None
    film_every: int = 10
    mask: Path | None = None
    guide: Path | None = None
    sessions: Sessions = field(default=None, compare=False, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.sessions is None:
            object.__setattr__(self, "sessions", Sessions(self.bundle))

    @cached_property
    def choice(self) -> ProviderChoice:
        """What its pictures are dreamed on; whoever runs the job shows the notice once. Raises ProviderError."""
        return choose_provider(self.settings.execution)


@dataclass(frozen=True)
class Callbacks:
    """Who hears of a job: `say` gets a line for the user, `on_step` every step; where it returns True the dream
    ends with what there is."""

    log: Callable[[str], None]
    on_step: Callable[[Step], bool | None]


class Writer:
    """Writes snapshots, film and checkpoints while a picture is dreamed, and the rest when it is done.

    `sources` name the picture, the mask and the guide; `ready` is the run that is to start, `resumed` the checkpoint
    that it goes on from.
    """

    def __init__(
        self,
        job: Job,
        picture: Picture,
        results: Results,
        callbacks: Callbacks,
        files: SourceFiles,
        ready: Preparation,
        resumed: Checkpoint | None,
    ) -> None:
        self.job = job
        self.picture = picture
        self.results = results
        self.callbacks = callbacks
        self.film: Film | None = None
        self._files = files
        self._ready = ready
        self._due = set(job.settings.snapshots)
        self._written = {step for step in self._due if resumed and step < resumed.state.number}
        self._failure: OutputError | None = None
        self._started = time.monotonic() - (resumed.seconds if resumed else 0.0)
        self._next_checkpoint = time.monotonic() + _CHECKPOINT_SECONDS

    def on_step(self, step: Step) -> bool | None:
        """Keeps what is due at this step. A failure to write ends the dream, so that its picture can be saved."""
        try:
            if step.number in self._due:
                self._snapshot(step.number, step)
            if self.film and step.number % self.job.film_every == 0:
                self.film.add(step.fetch_picture())
            stop = self.callbacks.on_step(step)
            if stop or time.monotonic() > self._next_checkpoint:
                self._checkpoint(step)
        except OutputError as error:
            self._failure = error
            return True
        return stop

    def finish(self, dreamed: Dream) -> None:
        """Writes the picture first, then what tells of it. Raises the first failure, when all is tried."""
        try:
            self._picture(dreamed)
        except OutputError as error:  # it says where the dream is saved instead
            self._failure = error
        try:
            self._documents(dreamed)
        except OutputError as error:
            self._failure = self._failure or error
        if self._failure:
            raise self._failure
        if dreamed.record.ended == "diverged":
            raise DivergedError(
                f"the losses were not finite numbers after step {dreamed.record.steps_done}; the picture before is "
                f"saved as {self.results.picture}: choose a smaller --step-size"
            )

    def _checkpoint(self, step: Step) -> None:
        started = time.monotonic()
        self.results.write_checkpoint(
            Checkpoint(
                settings=replace(self.job.settings, execution=self._ready.execution),
                bundle=bundle_file(self.job.bundle),
                picture=self._files.picture,
                mask=self._files.mask,
                guide=self._files.guide,
                output=str(self.results.picture.resolve()),
                film=str(self.film.path.resolve()) if self.film else None,
                film_every=self.job.film_every,
                seconds=started - self._started,
                state=step.fetch_state(),
            )
        )
        took = time.monotonic() - started
        self._next_checkpoint = time.monotonic() + max(_CHECKPOINT_SECONDS, _CHECKPOINT_SHARE * took)

    def _snapshot(self, number: int, step: Step) -> None:
        self.results.write_snapshot(number, step.fetch_picture(), self.picture.icc)
        self._written.add(number)

    def _picture(self, dreamed: Dream) -> None:
        done = dreamed.record.steps_done
        note = dreamed.record.to_json(with_paths=False)
        for warning in self.results.write_picture(dreamed.picture, self.picture.icc, note):
            self.callbacks.log(warning)
        if done not in self._written:  # stopped early: the last picture is a snapshot all the same
            self.results.write_snapshot(done, dreamed.picture, self.picture.icc)
            self._written.add(done)
        if self.job.overwrite:
            self.results.remove_stale_snapshots(sorted(self._written))

    def _documents(self, dreamed: Dream) -> None:
        record = dreamed.record
        totals = dreamed.losses @ np.array(self.job.settings.weights_of(record.layers), np.float32)
        self.results.write_losses(record.layers, dreamed.losses, totals)
        self.results.write_record(record.to_json())
        if record.ended == "finished":
            self.results.checkpoint.unlink(missing_ok=True)
        if not can_plot():
            self.callbacks.log("no loss plot: install matplotlib (onnxdream[report]) to have one")
            return
        title = f"{self.results.picture.stem}, {record.bundle.name}"
        self.results.write_plot(draw_losses(title, record.layers, dreamed.losses, totals))
