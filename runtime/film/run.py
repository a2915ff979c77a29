"""Makes one film: dreams its frames and writes them as they come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ...models.arrays import Pixels
from ...models.errors import OnnxdreamError
from ...models.files import atomic_write
from ..ascent.step import Step
from ..dream.record import recorded_versions
from ..dream.writer import Job, Log
from ..errors import OutputError
from ..image.formats.codec import encode_picture
from ..video.formats import film_format
from .frames.coherence import DreamedFrame
from .output import FilmOutput
from .parts import Parts
from .record import FilmRecord
from .reels import Reel, open_reel


@dataclass(frozen=True)
class FilmJob:
    """What to do: the film or picture to read, the film to write, and how to dream it.

    `record` is that of a new film, or of an unfinished one to continue. `job` holds the bundle, the settings, and the
    files of the mask and the guide.
    """

    source: Path
    output: Path
    job: Job
    record: FilmRecord


@dataclass(frozen=True)
class FilmCallbacks:
    """Functions that are called while a film is made.

    `log` is called with each line for the user; `on_start` with the number of frames, None if it is not known, and the
    number of those that are there already; `on_step` at every step, and `on_frame` after each frame. The film ends with
    the frame before as soon as `interrupted` returns True.
    """

    log: Log
    on_start: Callable[[int | None, int], None] = lambda count, done: None
    on_step: Callable[[Step], None] = lambda step: None
    on_frame: Callable[[DreamedFrame], None] = lambda frame: None
    interrupted: Callable[[], object] = lambda: False


@dataclass(frozen=True)
class Ending:
    """How the frames of a film or of a shot came to an end: all are there, it was interrupted, or it failed."""

    is_complete: bool
    failure: OnnxdreamError | None = None


def make_film(film: FilmJob, callbacks: FilmCallbacks) -> FilmRecord:
    """Makes a film, from its beginning or from where it was interrupted, and returns its record.

    What is dreamed before an interruption or a failure is a film, too, and can be continued. Raises DreamError,
    BundleError, FilmError and PictureError.
    """
    notices = list(film.record.notices)

    def notice(line: str) -> None:
        notices.append(line)
        callbacks.log(line)

    reel = open_reel(film.source, film.job, film.record, notice)
    sound = sound_for(film, reel.sound, notice)
    started = time.monotonic() - film.record.seconds
    with FilmOutput(film.output, film.record, reel.time_base, reel.rate, film.job.overwrite) as output:
        ending = dream_parts(output, reel, callbacks)
        record = replace(
            output.record,
            ended="finished" if ending.is_complete else "stopped",
            notices=tuple(notices),
            seconds=round(time.monotonic() - started, 3),
            versions=recorded_versions(),
        )
        output.finish(record, sound, notice)
    if ending.failure:
        raise ending.failure
    return record


def dream_parts(parts: Parts, reel: Reel, callbacks: FilmCallbacks, first: int = 0) -> Ending:
    """Dreams the frames of a reel that are not among the parts yet, and adds them; `first` counts those before it.

    Raises OutputError.
    """
    done = parts.record.frames
    is_complete = False
    failure: OnnxdreamError | None = None

    def stops(step: Step) -> bool:
        callbacks.on_step(step)
        return bool(callbacks.interrupted())

    frames = reel.frames(parts.restored_state(reel.state_kind), done, stops)
    callbacks.on_start(reel.count, done)
    try:
        for frame, state in frames:
            parts.add(frame, state)
            done += 1
            if parts.record.keep_frames:
                _keep(frame.dreamed.pixels, Path(parts.record.keep_frames), first + done)
            callbacks.on_frame(frame.dreamed)
            if callbacks.interrupted():
                break
        else:
            is_complete = not callbacks.interrupted()
    except OutputError:
        raise
    except OnnxdreamError as error:
        failure = error
    parts.close_segment()
    return Ending(is_complete, failure)


def sound_for(film: FilmJob, sound: Path | None, notice: Log) -> Path | None:
    """The film whose sound a film gets, if it can have any; `notice` is called with a line if it cannot."""
    if sound and film_format(film.output).sound_codec is None:
        notice(f"{film.source.name}: the sound is left out, because {film.output.suffix} films have none")
        return None
    return sound


def _keep(pixels: Pixels, folder: Path, number: int) -> None:
    """Writes a frame as a picture of its own. Raises OutputError."""
    path = folder / f"frame-{number:06}.png"
    try:
        atomic_write(path, encode_picture(pixels, ".png")[0])
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): make room, and continue with --resume") from error
