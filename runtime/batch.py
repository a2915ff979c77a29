"""Dreams several pictures at the terminal: with progress, past files that fail, until a signal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..models.contract import BundleError
from ..models.interrupts import interruptible
from .ascent.ascent import Step
from .dream.checkpoint import Checkpoint
from .dream.job import dream_and_save
from .dream.progress import DreamProgress
from .dream.record import Record
from .dream.results import is_picture_path
from .dream.run import Preparation
from .dream.writer import Callbacks, Job, Log
from .errors import DreamError, PictureError, PictureNotFoundError, SettingsError
from .image.folders import find_pictures
from .image.source import Source

# How much of a dream is shown: errors only, results and progress, or more.
Verbosity = Literal["quiet", "normal", "verbose"]
# Returns the number of the signal that asks to stop, or None.
Interrupted = Callable[[], int | None]


def gather_pictures(
    paths: Iterable[Path], log_error: Log, examples: Path, log: Log = lambda line: None, recursive: bool = False
) -> tuple[list[Source], int]:
    """Collects the picture files of files and folders, each once; returns them and the number of paths that failed.

    With `recursive`, the folders inside folders count, too. Each failure is a call of `log_error`, with a hint if the
    folder `examples` has a picture of that name. `log` is called with a line on what is left out of each folder.
    """
    pictures: dict[Path, None] = {}
    failed = 0
    for path in paths:
        try:
            pictures.update(dict.fromkeys(find_pictures([path], recursive, log)))
        except PictureError as error:
            failed += 1
            example = examples / path.name
            hint = (
                f" (did you mean {example}?)" if isinstance(error, PictureNotFoundError) and example.is_file() else ""
            )
            log_error(f"{error}{hint}")
    return [Source(path) for path in pictures], failed


def dream_all(
    job: Job,
    sources: list[Source],
    log: Log,
    log_error: Log,
    checkpoint: Checkpoint | None = None,
    verbosity: Verbosity = "normal",
) -> tuple[int, int | None]:
    """Dreams every picture, or resumes the one of a checkpoint.

    Returns how many pictures failed, and the number of the signal that ended the batch, or None. A picture that fails
    is reported, and the next one follows. Ctrl-C, SIGTERM or SIGHUP ends the batch with the current picture, whose
    results are saved; a second Ctrl-C ends the program at once. Raises SettingsError.
    """
    if len(sources) > 1 and (job.film or job.piped_as or is_picture_path(job.output)):
        raise SettingsError(
            "one --film, one --output file or standard output cannot hold several dreams: name a folder, or one picture"
        )
    failed = 0
    stems: set[str] = set()
    with interruptible() as interrupted:
        for source in _by_size(sources, job.settings.max_size):
            # If two pictures have the same name, the second dream must not replace the first.
            source_job = replace(job, overwrite=False) if source.path.stem in stems else job
            stems.add(source.path.stem)
            try:
                _dream_one(source_job, source, log, interrupted, checkpoint, verbosity)
            except PictureError as error:  # its message names the file
                failed += 1
                log_error(str(error))
            except (DreamError, BundleError) as error:
                failed += 1
                log_error(f"{source.name}: {error}")
            except MemoryError:
                failed += 1
                log_error(f"{source.name}: there is not enough memory: choose a smaller --max-size")
            if interrupted():
                break
    return failed, interrupted()


def _by_size(sources: list[Source], max_size: int | None) -> list[Source]:
    """The sources ordered by size, so that those of the same size follow each other and share a session."""
    return sorted(sources, key=lambda source: source.dreamed_size(max_size)) if len(sources) > 1 else sources


def _dream_one(
    job: Job, source: Source, log: Log, interrupted: Interrupted, checkpoint: Checkpoint | None, verbosity: Verbosity
) -> None:
    with DreamProgress(source.name, log, verbosity == "quiet") as progress:

        def on_start(preparation: Preparation) -> None:
            progress.start(preparation)
            if verbosity == "verbose":
                for line in _details(preparation):
                    progress.log(f"{source.name}: {line}")

        def on_step(step: Step) -> bool:
            if verbosity == "verbose" and step.octave_step == 0:
                progress.log(f"{source.name}: {_octave_details(job, step)}")
            progress.show(step)
            return bool(interrupted())

        dream, results = dream_and_save(job, source, Callbacks(progress.log, on_step, on_start), checkpoint)
        steps = progress.steps
    record = dream.record
    stopped = record.ended == "stopped"
    log(
        f"{source.name}: {f'stopped after {record.steps_done} of {steps} steps, ' if stopped else ''}"
        f"{describe_losses(record)} in {record.seconds:.1f} s, {results.saved}"
        f"{f'; continue with --resume {results.checkpoint}' if stopped and results.can_be_resumed else ''}"
    )
    progress.done(record, results.location)


def describe_losses(record: Record) -> str:
    """Returns the first and the last loss of a run, in words."""
    octaves = " of the last octave" if len(record.octaves) > 1 else ""
    return f"loss{octaves} {record.first_loss:.4g} → {record.last_loss:.4g}"


def _details(preparation: Preparation) -> Iterator[str]:
    """Yields what --verbose shows of a run before its first step."""
    used = preparation.execution
    memory = f", memory budget {used.memory / 1e6:.0f} MB" if used.memory else ""
    yield f"provider {used.provider}, {used.threads} threads, {used.precision}{memory}"
    layers = preparation.settings.weights_of(preparation.bundle.metadata.layer_names)
    weights = zip(preparation.bundle.metadata.layer_names, layers, strict=True)
    yield f"layers {', '.join(f'{name} ({weight:g})' for name, weight in weights if weight)}"


def _octave_details(job: Job, step: Step) -> str:
    """Returns what --verbose shows of an octave at its first step."""
    options = ", ".join(f"{name}={value}" for name, value in job.sessions.provider_options().items())
    return (
        f"octave {step.octave + 1}: {step.size}, loss {step.fetch_total():.4g}; provider options: {options or 'none'}"
    )
