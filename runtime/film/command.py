"""Makes a film at the terminal: with progress, until a signal."""

from __future__ import annotations

from ...models.interrupts import interruptible
from ...models.wording import counted, format_duration
from ..dream.writer import Log
from .apart.driver import make_film_apart
from .parts import parts_folder, resuming
from .progress import FilmProgress
from .record import FilmRecord
from .request import FilmRequest
from .run import FilmCallbacks, make_film


def make_at_terminal(request: FilmRequest, log: Log, is_quiet: bool = False) -> int | None:
    """Makes a film; returns the number of the signal that ended it, or None.

    Ctrl-C, SIGTERM or SIGHUP ends it with the frame before; a second Ctrl-C ends the program at once. Raises what
    `make_film` raises.
    """
    film = request.film
    name = film.output.name
    with interruptible() as interrupted, FilmProgress(name, log, is_quiet) as progress:
        callbacks = FilmCallbacks(
            lambda line: progress.log(line), progress.start, progress.step, progress.frame, interrupted
        )
        record = make_film_apart(film, callbacks) if film.record.workers else make_film(film, callbacks)
    if record.frames:
        log(f"{name}: {describe(record)}, saved as {film.output.absolute()}")
        progress.done(record, film.output)
    else:
        log(f"{name}: stopped before its first frame")
    if record.ended == "stopped" and (record.frames or record.shots):
        log(f"continue with onnxdream {record.kind} {resuming(parts_folder(film.output))}")
    return interrupted()


def describe(record: FilmRecord) -> str:
    """Returns what has become of a film, in words."""
    shots = sum(segment.shots for segment in record.segments)
    repeated = sum(segment.repeated for segment in record.segments)
    loss = sum(segment.loss * segment.frames for segment in record.segments) / record.frames
    words = [f"{'stopped after ' * (record.ended == 'stopped')}{counted(record.frames, 'frame')}"]
    words += [counted(shots, "shot")] if record.kind == "film" else []
    words += [f"{counted(repeated, 'frame')} repeated"] if repeated else []
    return f"{', '.join(words)}, mean loss {loss:.4g}, in {format_duration(record.seconds)}"
