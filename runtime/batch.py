"""Dreaming several pictures at the terminal: progress, one bad file among good ones, and Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..models.contract import BundleError
from .ascent.ascent import Step
from .dream.checkpoint import Checkpoint
from .dream.job import dream_source
from .dream.progress import DreamProgress
from .dream.results import is_picture_path
from .dream.writer import Callbacks, Job
from .errors import DreamError, SettingsError
from .image.files import PictureError, PictureNotFoundError, find_pictures
from .image.source import Source

Log = Callable[[str], None]


def gather_pictures(paths: Iterable[Path], log_error: Log, examples: Path) -> tuple[list[Source], int]:
    """The picture files of some files and folders, each once, and how many of the paths are no good.

    A missing picture that the folder `examples` has is hinted at.
    """
    found: dict[Path, None] = {}
    failed = 0
    for path in paths:
        try:
            found.update(dict.fromkeys(find_pictures([path])))
        except PictureError as error:
            failed += 1
            example = examples / path.name
            hint = f" (there is {example})" if isinstance(error, PictureNotFoundError) and example.is_file() else ""
            log_error(f"{error}{hint}")
    return [Source(path) for path in found], failed


def dream_all(
    job: Job, sources: list[Source], log: Log, log_error: Log, checkpoint: Checkpoint | None = None
) -> tuple[int, bool]:
    """Dreams every picture, or goes on with the one of a checkpoint; returns how many failed, and whether Ctrl-C ended
    the batch.

    A picture that fails is reported and the rest go on. Ctrl-C ends the picture at hand, whose results are saved; a
    second one kills the program at once. Raises SettingsError.
    """
    if len(sources) > 1 and (job.film or is_picture_path(job.output)):
        raise SettingsError("one --film or one --output file cannot hold several dreams: name a folder, or one picture")
    failed = 0
    dreamed: set[str] = set()
    with interruptible() as interrupted:
        for source in _by_size(sources, job.settings.max_size):
            # Of two pictures of one name, the second must not replace the dream of the first.
            own = replace(job, overwrite=False) if source.path.stem in dreamed else job
            dreamed.add(source.path.stem)
            try:
                _dream_one(own, source, log, interrupted, checkpoint)
            except PictureError as error:  # it names the file
                failed += 1
                log_error(str(error))
            except (DreamError, BundleError) as error:
                failed += 1
                log_error(f"{source.name}: {error}")
            except MemoryError:
                failed += 1
                log_error(f"{source.name}: there is not enough memory for it: choose a smaller --max-size")
            if interrupted():
                break
    return failed, interrupted()


def _by_size(sources: list[Source], max_size: int | None) -> list[Source]:
    """Those dreamed in one size follow each other and share a session."""
    return sorted(sources, key=lambda source: source.dreamed_size(max_size)) if len(sources) > 1 else sources


def _dream_one(
    job: Job, source: Source, log: Log, interrupted: Callable[[], bool], checkpoint: Checkpoint | None
) -> None:
    with DreamProgress(source.name, job.settings.steps * job.settings.octaves) as progress:

        def on_step(step: Step) -> bool:
            progress.show(step)
            return interrupted()

        dreamed, results = dream_source(job, source, Callbacks(log, on_step), checkpoint)
    record = dreamed.record
    stopped = record.ended == "stopped"
    steps = job.settings.steps * job.settings.octaves
    log(
        f"{source.name}: {f'stopped after {record.steps_done} of {steps} steps, ' if stopped else ''}"
        f"loss {record.first_loss:.4g} → {record.last_loss:.4g} in {record.seconds:.1f} s, saved as {results.picture}"
        f"{f'; --resume {results.checkpoint} goes on' if stopped and results.checkpoint.exists() else ''}"
    )


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C into a wish that can be asked for; the second acts as ever."""
    wish = False

    def on_signal(number: int, frame: object) -> None:
        nonlocal wish
        wish = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: wish
    finally:
        signal.signal(signal.SIGINT, before)
