"""Dreaming several pictures at the terminal: progress, one bad file among good ones, and Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..models.contract import BundleError
from .ascent import Step
from .errors import DreamError, SettingsError
from .job import Job, Listener, by_dreamed_size, dream_file
from .pictures import PictureError, PictureNotFoundError, find_pictures
from .progress import DreamProgress
from .results import names_a_picture

Say = Callable[[str], None]


def gather_pictures(paths: Iterable[Path], say_error: Say, examples: Path) -> tuple[list[Path], int]:
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
            say_error(f"{error}{hint}")
    return list(found), failed


def dream_all(job: Job, pictures: list[Path], say: Say, say_error: Say) -> tuple[int, bool]:
    """Dreams every picture; returns how many failed, and whether Ctrl-C ended the batch.

    A picture that fails is reported and the rest go on. Ctrl-C ends the picture at hand, whose results are saved; a
    second one kills the program at once. Raises SettingsError.
    """
    if len(pictures) > 1 and (job.film or names_a_picture(job.output)):
        raise SettingsError("one --film or one --output file cannot hold several dreams: name a folder, or one picture")
    failed = 0
    dreamed: set[str] = set()
    with _interruptible() as interrupted:
        for path in by_dreamed_size(pictures, job.settings.max_size):
            # Of two pictures of one name, the second must not replace the dream of the first.
            own = replace(job, overwrite=job.overwrite and path.stem not in dreamed)
            dreamed.add(path.stem)
            try:
                _dream_one(own, path, say, interrupted)
            except PictureError as error:  # it names the file
                failed += 1
                say_error(str(error))
            except (DreamError, BundleError) as error:
                failed += 1
                say_error(f"{path.name}: {error}")
            except MemoryError:
                failed += 1
                say_error(f"{path}: there is not enough memory for it: choose a smaller --max-size")
            if interrupted():
                break
    return failed, interrupted()


def _dream_one(job: Job, path: Path, say: Say, interrupted: Callable[[], bool]) -> None:
    with DreamProgress(path.name, job.settings.steps) as progress:

        def on_step(step: Step) -> bool:
            progress.show(step)
            return interrupted()

        dreamed, results = dream_file(job, path, Listener(say, on_step))
    record = dreamed.record
    stopped = f"stopped after {record.steps_done} of {job.settings.steps} steps, " if record.ended == "stopped" else ""
    say(
        f"{path.name}: {stopped}loss {record.first_loss:.4g} → {record.last_loss:.4g} in {record.seconds:.1f} s, "
        f"saved as {results.picture}"
    )


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
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
