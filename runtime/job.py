"""Dreaming picture files: reading one, dreaming it, and leaving its results beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .ascent import Dream, Step, dream
from .bundle import Bundle
from .containers import read_container
from .errors import DivergedError
from .exif import ContainerError
from .film import Film
from .pictures import Picture, read_picture
from .plot import can_plot, draw_losses
from .record import Source
from .results import OutputError, Results, free_name
from .settings import Settings


@dataclass(frozen=True)
class Job:
    """What to make of picture files. `output` is a folder, a picture's path, or None for the current folder."""

    bundle: Bundle
    settings: Settings
    output: Path | None = None
    overwrite: bool = False
    film: Path | None = None
    film_every: int = 10


@dataclass(frozen=True)
class Listener:
    """Who hears of a job: `say` gets a line for the user, `on_step` every step; where it returns True the dream
    ends with what there is."""

    say: Callable[[str], None]
    on_step: Callable[[Step], bool | None]


def dream_file(job: Job, path: Path, listener: Listener) -> tuple[Dream, Results]:
    """Dreams one picture file and writes all its results.

    Raises PictureError, DreamError, BundleError; what was dreamed until then is saved.
    """
    source = read_picture(path)
    results = Results.place(path, job.output, job.overwrite)
    for warning in source.warnings:
        listener.say(warning)
    writer = _Writer(job, path.name, source, results, listener)
    with ExitStack() as stack:
        if job.film:
            wished = job.film if job.overwrite else free_name(job.film, job.film.suffix)
            writer.film = stack.enter_context(Film(wished))
        finished = dream(source.pixels, job.bundle, job.settings, writer.on_step)
        record = replace(finished.record, picture=Source(path.name, source.sha256, str(path.resolve())))
        finished = replace(finished, record=record)
        writer.finish(finished)  # before the film is closed, which may fail
    if writer.film:
        listener.say(f"{path.name}: film saved as {writer.film.path}")
    return finished, results


def by_dreamed_size(paths: Iterable[Path], max_size: int | None) -> list[Path]:
    """The files ordered so that those dreamed in one size follow each other and share a session."""

    def size(path: Path) -> tuple[int, int]:
        try:
            container = read_container(path.read_bytes())
        except (OSError, ContainerError):
            return (0, 0)  # reported when its turn comes
        stored = container.height, container.width
        height, width = stored[::-1] if container.orientation > 4 else stored
        factor = min(1.0, (max_size or width + height) / max(width, height, 1))
        return round(height * factor), round(width * factor)

    several = list(paths)
    return sorted(several, key=size) if len(several) > 1 else several


class _Writer:
    """Writes the snapshots and the film while a picture is dreamed, and the rest when it is done."""

    def __init__(self, job: Job, name: str, source: Picture, results: Results, listener: Listener) -> None:
        self.job = job
        self.name = name
        self.source = source
        self.results = results
        self.listener = listener
        self.film: Film | None = None
        self._due = set(job.settings.snapshot_steps())
        self._written: set[int] = set()
        self._failure: OutputError | None = None

    def on_step(self, step: Step) -> bool | None:
        """Keeps what is due at this step. A failure to write ends the dream, so that its picture can be saved."""
        if step.number == 0:
            self._announce(step)
        try:
            if step.number in self._due:
                self._snapshot(step.number, step)
            if self.film and step.number % self.job.film_every == 0:
                self.film.add(step.picture)
        except OutputError as error:
            self._failure = error
            return True
        return self.listener.on_step(step)

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
                f"the losses were no finite numbers after step {dreamed.record.steps_done}; the picture before is "
                f"saved as {self.results.picture}: choose a smaller --step-size"
            )

    def _announce(self, step: Step) -> None:
        height, width = self.source.pixels.shape[:2]
        dreamed_height, dreamed_width = step.size
        line = f"{self.name}: {width}×{height} → {dreamed_width}×{dreamed_height}"
        if dreamed_height > height:
            line += " (enlarged: the network needs as much)"
        self.listener.say(line)

    def _snapshot(self, number: int, step: Step) -> None:
        self.results.write_snapshot(number, step.picture, self.source.icc)
        self._written.add(number)

    def _picture(self, dreamed: Dream) -> None:
        done = dreamed.record.steps_done
        note = dreamed.record.to_json(with_paths=False)
        for warning in self.results.write_picture(dreamed.picture, self.source.icc, note):
            self.listener.say(warning)
        if done not in self._written:  # stopped early: the last picture is a snapshot all the same
            self.results.write_snapshot(done, dreamed.picture, self.source.icc)
            self._written.add(done)
        if self.job.overwrite:
            self.results.remove_stale_snapshots(sorted(self._written))

    def _documents(self, dreamed: Dream) -> None:
        record = dreamed.record
        totals = dreamed.losses @ np.array(self.job.settings.vector(record.layers), np.float32)
        self.results.write_losses(record.layers, dreamed.losses, totals)
        self.results.write_record(record.to_json())
        if not can_plot():
            self.listener.say("no loss plot: install matplotlib (onnxdream[report]) to have one")
            return
        title = f"{self.results.picture.stem}, {record.bundle.name}"
        self.results.write_plot(draw_losses(title, record.layers, dreamed.losses, totals))
