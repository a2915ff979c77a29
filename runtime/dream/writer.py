"""Writes the results of a dream, during the run and at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ...models.arrays import Floats
from ..ascent.step import Step
from ..bundle.bundle import Bundle
from ..bundle.sessions import Sessions
from ..errors import DivergedError, OutputError
from ..image.files import Picture
from ..provider.selection import ProviderChoice, choose_provider
from ..settings.changes import Change
from ..settings.settings import Settings
from ..video.steps import FilmSpeed, StepFilm
from .checkpoint import Checkpoint
from .plot import can_plot, draw_losses
from .record import SourceFiles, bundle_file
from .results import Results
from .run import Dream, Preparation

# A checkpoint is written every few seconds, or less often, so that writing takes at most a twentieth of the time.
_CHECKPOINT_SECONDS = 5.0
_CHECKPOINT_SHARE = 20

Log = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What to do with each picture: the bundle, the settings, and the files to read and write.

    `output` is a folder, a picture's path, or None for the current folder. `mask` and `guide` are picture files,
    `direction` is a .npy file or two picture files. `film` is the path of an .mp4, .webm, .gif or .webp, with a frame
    every `film_every` steps and `film_fps` frames per second, both chosen by the number of steps where they are None.
    Without `extras`, only the picture and the film are written, and without `plots` no plot. `piped_as` is the suffix
    of the picture that goes to standard output instead of `output`. `processes` have this job at the same time, each
    with the memory of its settings. `changes` of the settings are made on the way. `sessions` are the bundle's; several
    jobs may share them.
    """

    bundle: Bundle
    settings: Settings
    output: Path | None = None
    overwrite: bool = False
    film: Path | None = None
    film_every: int | None = None
    film_fps: int | None = None
    mask: Path | None = None
    guide: Path | None = None
    direction: tuple[Path, ...] = ()
    extras: bool = True
    piped_as: str | None = None
    processes: int = 1
    plots: bool = True
    changes: tuple[Change, ...] = ()
    sessions: Sessions = field(default=None, compare=False, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.sessions is None:
            object.__setattr__(self, "sessions", Sessions(self.bundle))

    @cached_property
    def choice(self) -> ProviderChoice:
        """The provider of all its pictures. Raises ProviderError."""
        return choose_provider(self.settings.execution)

    @property
    def provider_line(self) -> str:
        """The line on the provider that a user sees once, before the first step. Raises ProviderError."""
        provider = self.choice.machine.provider_text
        chosen = " (chosen by auto)" if self.settings.execution.provider == "auto" and provider != "cpu" else ""
        return self.choice.notice or f"provider: {provider}{chosen}"


@dataclass(frozen=True)
class Callbacks:
    """Functions that are called during a job.

    `log` is called with each line for the user, `on_step` at every step; if it returns True, the dream ends and the
    picture so far is saved. `on_start` is called before the first step. If `wants_checkpoint` returns True, one is
    written before `on_step` is called.
    """

    log: Log
    on_step: Callable[[Step], bool | None]
    on_start: Callable[[Preparation], None] = lambda preparation: None
    wants_checkpoint: Callable[[], bool] = lambda: False


class Writer:
    """Writes snapshots, film and checkpoints while a picture is dreamed, and the other results at the end.

    `files` name the picture, the mask, the guide and the direction. `preparation` is the run that is about to start,
    `resumed` the checkpoint that it resumes from.
    """

    def __init__(
        self,
        job: Job,
        picture: Picture,
        results: Results,
        callbacks: Callbacks,
        files: SourceFiles,
        preparation: Preparation,
        resumed: Checkpoint | None,
    ) -> None:
        self.job = job
        self.picture = picture
        self.results = results
        self.callbacks = callbacks
        self.film: StepFilm | None = None
        steps = job.settings.steps * len(preparation.octaves)
        self.film_speed = FilmSpeed.of(steps, job.film_every, job.film_fps)
        self._files = files
        self._preparation = preparation
        self._snapshot_steps = set(job.settings.snapshots if job.extras else ())
        self._written_snapshots = {step for step in self._snapshot_steps if resumed and step < resumed.state.number}
        self._failure: OutputError | None = None
        self._started = time.monotonic() - (resumed.seconds if resumed else 0.0)
        self._next_checkpoint = time.monotonic() + _CHECKPOINT_SECONDS

    def on_step(self, step: Step) -> bool | None:
        """Writes what is due at this step; returns True to end the dream.

        A failure to write ends it, so that its picture can be saved.
        """
        try:
            if step.number in self._snapshot_steps:
                self._write_snapshot(step)
            if self.film and step.number % self.film_speed.every == 0:
                self.film.add(step.fetch_picture())
            if self.results.keeps_checkpoint and self.callbacks.wants_checkpoint():
                self._write_checkpoint(step)
            stop = self.callbacks.on_step(step)
            if self.results.keeps_checkpoint and (stop or time.monotonic() > self._next_checkpoint):
                self._write_checkpoint(step)
        except OutputError as error:
            self._failure = error
            return True
        return stop

    def write_results(self, dream: Dream) -> None:
        """Writes the picture, then its losses, record and plot.

        Raises OutputError for the first failure, but only after trying to write everything, which names the file that
        the dream is saved as; and DivergedError if the dream diverged.
        """
        unsaved = None
        try:
            self._write_picture(dream)
        except OutputError as error:  # its message names the file
            unsaved = error
        for write in (self._write_last_snapshot, self._write_documents):
            try:
                write(dream)
            except OutputError as error:
                self._failure = self._failure or error
        if unsaved:
            raise unsaved
        if self._failure:
            raise OutputError(f"{self._failure}; the dream is {self.results.saved}") from self._failure
        if dream.record.ended == "diverged":
            raise DivergedError(
                f"the losses were not finite numbers after step {dream.record.steps_done}; the picture before that is "
                f"{self.results.saved}: choose a smaller --step-size"
            )

    def _write_checkpoint(self, step: Step) -> None:
        started = time.monotonic()
        self.results.write_checkpoint(
            Checkpoint(
                settings=replace(self.job.settings, execution=self._preparation.execution),
                bundle=bundle_file(self.job.bundle),
                picture=self._files.picture,
                mask=self._files.mask,
                guide=self._files.guide,
                direction=self._files.direction,
                output=str(self.results.picture.resolve()),
                film=str(self.film.path.resolve()) if self.film else None,
                film_every=self.film_speed.every,
                film_fps=self.film_speed.fps,
                extras=self.job.extras,
                seconds=started - self._started - self._preparation.ascent.seconds_paused,
                changes=self._preparation.ascent.course.plan(step.number),
                state=step.fetch_state(),
            )
        )
        duration = time.monotonic() - started
        self._next_checkpoint = time.monotonic() + max(_CHECKPOINT_SECONDS, _CHECKPOINT_SHARE * duration)

    def _write_snapshot(self, step: Step) -> None:
        self.results.write_snapshot(step.number, step.fetch_picture(), self.picture.icc)
        self._written_snapshots.add(step.number)

    def _write_picture(self, dream: Dream) -> None:
        note = dream.record.to_json(with_paths=False)
        for warning in self.results.write_picture(dream.picture, self.picture.icc, note):
            self.callbacks.log(warning)

    def _write_last_snapshot(self, dream: Dream) -> None:
        """Writes the last picture as a snapshot, too, wherever the run stopped."""
        if not self._snapshot_steps:
            return
        steps_done = dream.record.steps_done
        is_free = self.results.snapshot(steps_done) not in self.results.foreign
        if steps_done not in self._written_snapshots and is_free:
            self.results.write_snapshot(steps_done, dream.picture, self.picture.icc)
            self._written_snapshots.add(steps_done)

    def _write_documents(self, dream: Dream) -> None:
        layers = dream.record.layers
        totals = dream.losses @ self._preparation.ascent.layer_weights
        starts = [octave.start for octave in dream.record.octaves]
        plot = self._draw_plot(dream, totals, starts) if self.job.extras and self.job.plots else None
        files = self.results.file_names(self._written_snapshots, plot is not None, self.job.extras)
        if self.job.extras:
            self.results.write_losses(layers, dream.losses, totals, starts)
            self.results.write_record(replace(dream.record, files=files).to_json())
        if dream.record.ended == "finished":
            self.results.remove_checkpoint()
        self.results.remove_earlier_files(files)
        if plot is not None:
            self.results.write_plot(plot)

    def _draw_plot(self, dream: Dream, totals: Floats, starts: Sequence[int]) -> bytes | None:
        """The plot of the losses as a PNG file's bytes, or None after a line on why there is none.

        `totals` is float32 [updates + 1], the weighted sums of the losses, `starts` the rows at which octaves
        begin.
        """
        if not can_plot():
            self.callbacks.log("no loss plot: install matplotlib (onnxdream[report]) to get one")
            return None
        title = f"{self.results.picture.stem}, {dream.record.bundle.name}"
        try:
            return draw_losses(title, dream.record.layers, dream.losses, totals, starts)
        except OSError:
            self.callbacks.log("no loss plot: matplotlib finds no folder to write to; set MPLCONFIGDIR to one")
            return None
