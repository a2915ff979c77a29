"""The driver of a film whose shots are dreamed apart: finds them, gives them to workers, and joins what they make."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace

from ....models.arrays import Pixels, Size
from ....models.errors import OnnxdreamError
from ....models.wording import counted
from ...dream.progress import LINE_SECONDS
from ...dream.record import recorded_versions
from ...dream.writer import Log
from ...errors import FilmError, OutputError
from ...processes.pool import MAX_DEATHS, Died, Pool
from ...processes.sharing import shared_out
from ...processes.worker import Finished
from ...video.reader import FilmReader
from ..output import FilmOutput
from ..parts import parts_folder, resuming
from ..record import FilmRecord, SegmentRecord
from ..reels import Section
from ..run import FilmCallbacks, FilmJob, sound_for
from .finding import find_shots
from .tally import Tally
from .worker import ShotDreamer, ShotEnd, ShotFrame


def make_film_apart(film: FilmJob, callbacks: FilmCallbacks) -> FilmRecord:
    """Makes a film as `make_film` does, its shots at the same time by as many processes as the record states.

    The frames are those that one process dreams with the threads and the memory of one of these. Raises what
    `make_film` raises.
    """
    notices = list(film.record.notices)

    def notice(line: str) -> None:
        if line not in notices:  # several workers may say the same
            notices.append(line)
            callbacks.log(line)

    started = time.monotonic() - film.record.seconds
    with FilmReader(film.source, film.record.start, film.record.end, notice) as reader:
        facts = reader.facts
        sound = sound_for(film, film.source if facts.has_sound else None, notice)
        with FilmOutput(film.output, film.record, facts.time_base, facts.rate, film.job.overwrite) as output:
            failure = None
            if not output.record.shots:
                shots = find_shots(_looked_at(film, reader, callbacks), film.job.bundle.metadata, film.job.settings)
                if not callbacks.interrupted():
                    output.update(replace(_planned(film, shots, callbacks.log), notices=tuple(notices)))
            tally = Tally(output.folder, output.record)
            if output.record.shots:
                failure = _Shots(film, output, tally, replace(callbacks, log=notice)).dream()
            is_complete = bool(tally.sections) and not tally.unfinished
            record = replace(
                output.record,
                segments=tally.film,
                ended="finished" if is_complete and not failure else "stopped",
                notices=tuple(notices),
                seconds=round(time.monotonic() - started, 3),
                versions=recorded_versions(),
            )
            output.finish(record, sound, notice)
    if failure:
        raise failure
    return record


def _looked_at(film: FilmJob, reader: FilmReader, callbacks: FilmCallbacks) -> Iterator[Pixels | None]:
    """The frames of a film up to an interruption, with a line from time to time that says how far they are."""
    name, total = film.source.name, f" of about {reader.facts.frames}" if reader.facts.frames else ""
    callbacks.log(f"{name}: looking for its shots")
    next_time = time.monotonic() + LINE_SECONDS
    for number, frame in enumerate(reader, 1):
        if callbacks.interrupted():
            return
        if time.monotonic() > next_time:
            next_time = time.monotonic() + LINE_SECONDS
            callbacks.log(f"{name}: looking for its shots, frame {number}{total}")
        yield frame.pixels


def _planned(film: FilmJob, shots: tuple[int, ...], log: Log) -> FilmRecord:
    """The record of a film with its shots, and with what each process gets."""
    execution, machine = film.job.settings.execution, film.job.choice.machine
    count = min(film.record.workers or 1, len(shots))
    share = shared_out(execution, machine, count)
    log(
        f"{film.source.name}: {counted(len(shots), 'shot')} in {counted(sum(shots), 'frame')}, dreamed in "
        f"{counted(count, 'process')} with {counted(share.threads or 1, 'thread')}{' each' * (count > 1)}"
    )
    settings = replace(film.record.settings, execution=share)
    return replace(film.record, workers=count, shots=shots, settings=settings)


class _Shots:
    """The shots of a film while workers dream them."""

    def __init__(self, film: FilmJob, output: FilmOutput, tally: Tally, callbacks: FilmCallbacks) -> None:
        settings = replace(film.job.settings, execution=output.record.settings.execution)
        job = replace(film.job, settings=settings, sessions=None)  # type: ignore[arg-type]
        self._film = replace(film, job=job, record=output.record)
        self._output, self._tally, self._callbacks = output, tally, callbacks
        self._left = deque(tally.unfinished)
        self._shown = Counter({section.number: tally.frames_of(section) for section in tally.sections})
        self._deaths: Counter[int] = Counter()
        self._failure: OnnxdreamError | None = None

    def dream(self) -> OnnxdreamError | None:
        """Has all shots dreamed until one fails, and returns its failure, or until an interruption.

        Raises OutputError.
        """
        record = self._output.record
        self._callbacks.on_start(sum(record.shots), self._tally.frames)
        with Pool[Section](record.workers or 1, ShotDreamer, self._film, self._is_ending) as pool:
            for section, message in pool.messages(lambda: self._left.popleft() if self._left else None):
                if isinstance(message, ShotFrame):
                    self._show(section, message)
                elif isinstance(message, Finished):
                    self._end(section, message.result)
                elif isinstance(message, Died):
                    self._bury(section, message)
                else:
                    self._callbacks.log(message)
        return self._failure

    def _is_ending(self) -> bool:
        return bool(self._failure or self._callbacks.interrupted())

    def _show(self, section: Section, message: ShotFrame) -> None:
        """Shows a frame, unless it was shown before its worker ended and another one dreamed it again."""
        if message.number > self._shown[section.number]:
            self._shown[section.number] = message.number
            self._callbacks.on_frame(message.frame)
        if self._output.record.size is None:
            self._output.record = replace(self._output.record, size=Size(*message.frame.pixels.shape[:2]))
        self._add(section, message.segments)

    def _end(self, section: Section, end: ShotEnd) -> None:
        if isinstance(end.failure, OutputError):
            raise end.failure
        self._failure = self._failure or end.failure
        if end.segments:
            self._add(section, end.segments)

    def _add(self, section: Section, segments: tuple[SegmentRecord, ...]) -> None:
        """Takes in the segments of a shot; whoever watches the playlist sees them if none before them is missing."""
        self._tally.add(section, segments)
        film = self._tally.film
        if len(film) > len(self._output.record.segments):
            self._output.update(replace(self._output.record, segments=film))

    def _bury(self, section: Section, death: Died) -> None:
        """Has a shot continued whose worker has ended; for the second time, the film has failed."""
        self._deaths[section.number] += 1
        name = f"shot {section.number}"
        if self._deaths[section.number] < MAX_DEATHS:
            self._callbacks.log(f"{name}: its worker {death.how}; another one continues")
            self._left.appendleft(section)
        else:
            resume = resuming(parts_folder(self._film.output))
            self._failure = FilmError(
                f"{name}: its worker {death.how} for the second time: make room, and continue with {resume}"
            )
