"""Dreaming one picture: reading it with its mask and guide, dreaming it, and leaving its results beside each other."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ...models.arrays import Size
from ..errors import RecordError
from ..film import Film
from ..image.files import Picture, read_picture
from ..image.source import Source, SourceFile
from .checkpoint import Checkpoint
from .record import SourceFiles
from .results import Results, free_name
from .run import Dream, Preparation, prepare
from .writer import Callbacks, Job, Writer


def dream_source(
    job: Job, source: Source, callbacks: Callbacks, checkpoint: Checkpoint | None = None
) -> tuple[Dream, Results]:
    """Dreams one picture, from its start or from a checkpoint of it, and writes all its results.

    Raises DreamError and BundleError; what was dreamed until then is saved.
    """
    picture = source.read(job.settings)
    results = Results.place(source.path, job.output, job.overwrite)
    for warning in picture.warnings:
        callbacks.log(warning)
    mask, guide = (None if path is None else read_picture(path) for path in (job.mask, job.guide))
    files = SourceFiles(source.file(picture), _file_of(job.mask, mask), _file_of(job.guide, guide))
    _require_same(checkpoint, files)
    ready = prepare(
        picture.pixels,
        job.bundle,
        job.settings,
        mask=mask.pixels if mask else None,
        guide=guide.pixels if guide else None,
        state=checkpoint.state if checkpoint else None,
        choice=job.choice,
        sessions=job.sessions,
        log=lambda line: callbacks.log(f"{source.name}: {line}"),
    )
    callbacks.log(f"{source.name}: {_sizes(picture, ready)}")
    writer = Writer(job, picture, results, callbacks, files, ready, checkpoint)
    with ExitStack() as stack:
        if job.film:
            wanted = job.film if job.overwrite else free_name(job.film, job.film.suffix)
            writer.film = stack.enter_context(Film(wanted))
        finished = _with_files(ready.ascend(writer.on_step), files, checkpoint.seconds if checkpoint else 0.0)
        writer.finish(finished)  # before the film is closed, which may fail
    if writer.film:
        callbacks.log(f"{source.name}: film saved as {writer.film.path}")
    return finished, results


def _with_files(dreamed: Dream, files: SourceFiles, seconds_before: float) -> Dream:
    """The dream, its record naming the files it came from, and the time of the run that it went on from added."""
    record = replace(
        dreamed.record,
        picture=files.picture,
        mask=files.mask,
        guide=files.guide,
        seconds=round(dreamed.record.seconds + seconds_before, 3),
    )
    return replace(dreamed, record=record)


def _sizes(picture: Picture, ready: Preparation) -> str:
    """The picture's size and those it is dreamed in, in words."""
    size, dreamed = Size(*picture.pixels.shape[:2]), ready.ascent.processor.size
    line = f"{size} → {dreamed}"
    if dreamed.height > size.height:
        line += " (enlarged: the network needs as much)"
    if len(ready.octaves) > 1:
        line += f", octaves {', '.join(map(str, ready.octaves))}"
    tiles = len(ready.tile_plan.tiles)
    return line + (f", {tiles} tiles of {ready.tile_plan.tile_size}" if tiles > 1 else "")


def _file_of(path: Path | None, picture: Picture | None) -> SourceFile | None:
    return Source(path).file(picture) if path and picture else None


def _require_same(checkpoint: Checkpoint | None, files: SourceFiles) -> None:
    if checkpoint is None:
        return
    for name in ("picture", "mask", "guide"):
        before, now = getattr(checkpoint, name), getattr(files, name)
        if before and now and before.sha256 != now.sha256:
            raise RecordError(f"the {name} of the checkpoint has changed: put {before.name} back as it was")
