"""Dreaming one picture file: reads it with what belongs to it, dreams it, and writes the results next to each other."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ...models.arrays import Size
from ..bundle.directions import DirectionLike
from ..errors import RecordError, SettingsError
from ..image.files import Picture, read_picture
from ..image.source import Source, SourceFile
from ..settings.settings import Settings
from ..video.steps import StepFilm
from .checkpoint import Checkpoint
from .record import SourceFiles
from .results import PipedResults, Results
from .run import Dream, Preparation, prepare
from .writer import Callbacks, Job, Writer


def dream_and_save(
    job: Job, source: Source, callbacks: Callbacks, checkpoint: Checkpoint | None = None
) -> tuple[Dream, Results]:
    """Dreams one picture, from the beginning or from a checkpoint of it, and writes all its results.

    Raises DreamError and BundleError; whatever was dreamed before a failure is saved.
    """
    picture = source.read(job.settings)
    results = _results(job, source)
    if checkpoint:
        results.remove_leftovers(job.settings.snapshots)
    try:
        return _dream_into(results, picture, job, source, callbacks, checkpoint), results
    finally:
        results.release()


def _results(job: Job, source: Source) -> Results:
    """Where the results of a source go. Raises OutputError."""
    if job.piped_as:
        return PipedResults.of_format(job.piped_as)
    inputs = [path for path in (source.path, job.mask, job.guide, *job.direction) if path]
    return Results.for_source(source.path, job.output, job.overwrite, job.settings.snapshots, inputs, job.extras)


def _dream_into(
    results: Results, picture: Picture, job: Job, source: Source, callbacks: Callbacks, checkpoint: Checkpoint | None
) -> Dream:
    for warning in picture.warnings:
        callbacks.log(warning)
    mask, guide = (None if path is None else read_picture(path) for path in (job.mask, job.guide))
    files = SourceFiles(
        source.file(picture),
        _source_file(job.mask, mask),
        _source_file(job.guide, guide),
        tuple(map(_direction_file, job.direction)),
    )
    _require_unchanged(checkpoint, files)
    preparation = prepare(
        None if source.noise else picture.pixels,
        job.bundle,
        job.settings,
        mask=mask.pixels if mask else None,
        guide=guide.pixels if guide else None,
        direction=_direction(job),
        changes=job.changes,
        state=checkpoint.state if checkpoint else None,
        choice=job.choice,
        sessions=job.sessions,
        log=lambda line: callbacks.log(f"{source.name}: {line}"),
    )
    callbacks.log(f"{source.name}: {_describe_sizes(picture, preparation)}")
    if job.settings.tile_overlap != Settings().tile_overlap and len(preparation.tile_plan.tiles) == 1:
        callbacks.log(f"{source.name}: --tile-overlap has no effect without tiles")
    callbacks.on_start(preparation)
    writer = Writer(job, picture, results, callbacks, files, preparation, checkpoint)
    with ExitStack() as stack:
        if job.film:
            film = StepFilm(
                job.film,
                job.overwrite,
                writer.film_speed.fps,
                lambda line: callbacks.log(f"{source.name}: {line}"),
                resumes=checkpoint is not None,
            )
            writer.film = stack.enter_context(film)
        seconds_before = checkpoint.seconds if checkpoint else 0.0
        dream = _with_files(preparation.ascend(writer.on_step), files, seconds_before)
        writer.write_results(dream)  # before the film is closed, which may fail
    if writer.film:
        callbacks.log(f"{source.name}: film saved as {writer.film.path}")
    return dream


def _with_files(dream: Dream, files: SourceFiles, seconds_before: float) -> Dream:
    """The dream with a completed record: its source files, and the seconds before it was resumed added."""
    record = replace(
        dream.record,
        picture=files.picture,
        mask=files.mask,
        guide=files.guide,
        direction=files.direction,
        seconds=round(dream.record.seconds + seconds_before, 3),
    )
    return replace(dream, record=record)


def _describe_sizes(picture: Picture, preparation: Preparation) -> str:
    """The size of the picture and the sizes at which it is dreamed, as a line for the user."""
    size, working_size = Size(*picture.pixels.shape[:2]), preparation.ascent.processor.size
    line = f"{size} → {working_size}"
    if working_size.height > size.height:
        line += " (enlarged to the smallest size that the network accepts)"
    octaves, asked_for = preparation.octaves, preparation.settings.octaves
    if len(octaves) > 1:
        line += f", octaves {', '.join(map(str, octaves))}"
    if len(octaves) < asked_for:
        line += f" ({len(octaves)} of the {asked_for} octaves asked for: the others would have the same size)"
    plan = preparation.tile_plan
    tiles = len(plan.tiles)
    return line + (f", {tiles} tiles of {plan.tile_size}" if tiles > 1 else "")


def _source_file(path: Path | None, picture: Picture | None) -> SourceFile | None:
    return Source(path).file(picture) if path and picture else None


def _direction(job: Job) -> DirectionLike | None:
    """The direction as `prepare` takes it: a .npy file, two pictures, or None."""
    if len(job.direction) == 2:
        first, second = job.direction
        return first, second
    return job.direction[0] if job.direction else None


def _direction_file(path: Path) -> SourceFile:
    """How a record names a file of the direction. Raises SettingsError."""
    try:
        return SourceFile.of(path)
    except OSError as error:
        raise SettingsError(
            f"cannot read direction {path} ({error.strerror}): check the name and the folder"
        ) from error


def _require_unchanged(checkpoint: Checkpoint | None, files: SourceFiles) -> None:
    if checkpoint is None:
        return
    for name in ("picture", "mask", "guide"):
        before, now = getattr(checkpoint, name), getattr(files, name)
        if before and now and before.sha256 != now.sha256:
            raise RecordError(f"the {name} has changed since the checkpoint: restore the original {before.name}")
    for before, now in zip(checkpoint.direction, files.direction, strict=True):
        if before.sha256 != now.sha256:
            raise RecordError(f"the direction has changed since the checkpoint: restore the original {before.name}")
