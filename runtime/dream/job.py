"""Dreaming one picture: reading it and its aids, dreaming it, and leaving its results beside each other."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..errors import RecordError
from ..film import Film
from ..image.files import Picture, read_picture
from ..image.source import Source, Subject
from .checkpoint import Checkpoint
from .record import Sources
from .results import Results, free_name
from .run import Aids, Dream, Preparation, prepare
from .writer import Job, Listener, Writer


def dream_subject(
    job: Job, subject: Subject, listener: Listener, checkpoint: Checkpoint | None = None
) -> tuple[Dream, Results]:
    """Dreams one picture, from its start or from a checkpoint of it, and writes all its results.

    Raises DreamError and BundleError; what was dreamed until then is saved.
    """
    picture = subject.read(job.settings)
    results = Results.place(subject.path, job.output, job.overwrite)
    for warning in picture.warnings:
        listener.say(warning)
    mask, guide = (None if path is None else read_picture(path) for path in (job.mask, job.guide))
    sources = Sources(subject.source(picture), _aid_source(job.mask, mask), _aid_source(job.guide, guide))
    _require_same(checkpoint, sources)
    ready = prepare(
        picture.pixels,
        job.bundle,
        job.settings,
        aids=Aids(mask.pixels if mask else None, guide.pixels if guide else None),
        state=checkpoint.state if checkpoint else None,
        choice=job.choice,
        sessions=job.sessions,
        say=lambda line: listener.say(f"{subject.name}: {line}"),
    )
    listener.say(f"{subject.name}: {_sizes(picture, ready)}")
    writer = Writer(job, picture, results, listener, sources, ready, checkpoint)
    with ExitStack() as stack:
        if job.film:
            wished = job.film if job.overwrite else free_name(job.film, job.film.suffix)
            writer.film = stack.enter_context(Film(wished))
        finished = _with_sources(ready.ascend(writer.on_step), sources, checkpoint.seconds if checkpoint else 0.0)
        writer.finish(finished)  # before the film is closed, which may fail
    if writer.film:
        listener.say(f"{subject.name}: film saved as {writer.film.path}")
    return finished, results


def _with_sources(dreamed: Dream, sources: Sources, seconds_before: float) -> Dream:
    """The dream, its record naming the files it came from, and the time of the run that it went on from added."""
    record = replace(
        dreamed.record,
        picture=sources.picture,
        mask=sources.mask,
        guide=sources.guide,
        seconds=round(dreamed.record.seconds + seconds_before, 3),
    )
    return replace(dreamed, record=record)


def _sizes(picture: Picture, ready: Preparation) -> str:
    """The picture's size and those it is dreamed in, in words."""
    height, width = picture.pixels.shape[:2]
    dreamed_height, dreamed_width = ready.ascent.canvas.size
    line = f"{width}×{height} → {dreamed_width}×{dreamed_height}"
    if dreamed_height > height:
        line += " (enlarged: the network needs as much)"
    if len(ready.octaves) > 1:
        line += f", octaves {', '.join(f'{w}×{h}' for h, w in ready.octaves)}"
    tiles, (tile_height, tile_width) = len(ready.plan.tiles), ready.plan.tile_size
    return line + (f", {tiles} tiles of {tile_width}×{tile_height}" if tiles > 1 else "")


def _aid_source(path: Path | None, picture: Picture | None) -> Source | None:
    return Subject(path).source(picture) if path and picture else None


def _require_same(checkpoint: Checkpoint | None, sources: Sources) -> None:
    if checkpoint is None:
        return
    for name in ("picture", "mask", "guide"):
        before, now = getattr(checkpoint, name), getattr(sources, name)
        if before and now and before.sha256 != now.sha256:
            raise RecordError(f"the {name} of the checkpoint has changed: put {before.name} back as it was")
