"""Dreams several pictures at the terminal: with progress, past files that fail, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ..models.contract import BundleError
from .ascent.ascent import Step
from .ascent.interrupts import interruptible
from .dream.checkpoint import Checkpoint
from .dream.job import dream_and_save
from .dream.progress import DreamProgress
from .dream.results import is_picture_path
from .dream.writer import Callbacks, Job
from .errors import DreamError, SettingsError
from .image.files import PictureError, PictureNotFoundError
from .image.folders import find_pictures
from .image.source import Source

Log = Callable[[str], None]


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
    job: Job, sources: list[Source], log: Log, log_error: Log, checkpoint: Checkpoint | None = None
) -> tuple[int, bool]:
    """Dreams every picture, or resumes the one of a checkpoint.

    Returns how many pictures failed, and whether Ctrl-C ended the batch. A picture that fails is reported, and the next
    one follows. Ctrl-C ends the batch with the current picture, whose results are saved; a second Ctrl-C kills the
    program at once. Raises SettingsError.
    """
    if len(sources) > 1 and (job.film or is_picture_path(job.output)):
        raise SettingsError("one --film or one --output file cannot hold several dreams: name a folder, or one picture")
    failed = 0
    stems: set[str] = set()
    with interruptible() as interrupted:
        for source in _by_size(sources, job.settings.max_size):
            # If two pictures have the same name, the second dream must not replace the first.
            source_job = replace(job, overwrite=False) if source.path.stem in stems else job
            stems.add(source.path.stem)
            try:
                _dream_one(source_job, source, log, interrupted, checkpoint)
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
    job: Job, source: Source, log: Log, interrupted: Callable[[], bool], checkpoint: Checkpoint | None
) -> None:
    with DreamProgress(source.name, job.settings.steps * job.settings.octaves) as progress:

        def on_step(step: Step) -> bool:
            progress.show(step)
            return interrupted()

        dream, results = dream_and_save(job, source, Callbacks(log, on_step), checkpoint)
    record = dream.record
    stopped = record.ended == "stopped"
    steps = job.settings.steps * job.settings.octaves
    log(
        f"{source.name}: {f'stopped after {record.steps_done} of {steps} steps, ' if stopped else ''}"
        f"loss {record.first_loss:.4g} → {record.last_loss:.4g} in {record.seconds:.1f} s, "
        f"saved as {results.picture.absolute()}"
        f"{f'; continue with --resume {results.checkpoint}' if stopped and results.checkpoint.exists() else ''}"
    )
