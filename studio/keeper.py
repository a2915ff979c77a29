"""The keeper: writes the jobs' files and frames to the folder, in a thread of its own, and holds the newest frames."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..models.files import atomic_write
from .jobs.film import Reel
from .jobs.folder import Folder
from .jobs.job import StudioJob
from .workers.messages import Frame

_SAVE_SECONDS = 0.5


@dataclass(frozen=True)
class Newest:
    """The newest frame of a job: its number, the facts that go with it, and the JPEG."""

    seq: int
    header: dict[str, Any]
    jpeg: bytes


class Keeper:
    """Keeps the jobs. All methods are for the event loop's thread, in which it is made."""

    def __init__(self, folder: Folder, jobs: dict[str, StudioJob]) -> None:
        self._folder, self._jobs = folder, jobs
        self._frames: dict[str, Newest] = {}
        self._reels: dict[str, Reel] = {}
        self._unsaved: set[str] = set()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="studio-disk")
        self._saver = asyncio.create_task(self._save_always())

    async def close(self) -> None:
        """Writes what is left to write."""
        self._saver.cancel()
        await asyncio.gather(self._saver, return_exceptions=True)
        await self._save()
        await asyncio.to_thread(self._disk.shutdown)

    def changed(self, job: StudioJob) -> None:
        """Notes that a job's file is out of date."""
        self._unsaved.add(job.id)

    async def _save_always(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            if self._unsaved:
                await self._save()

    async def _save(self) -> None:
        """Writes the files that are out of date; those that cannot be written, as on a full disk, stay so."""
        texts = {one: self._jobs[one].to_json() for one in self._unsaved if one in self._jobs}
        self._unsaved, unwritten = set(), set(texts)
        try:
            unwritten -= await asyncio.wrap_future(self._disk.submit(self._write, texts))
        finally:
            self._unsaved |= unwritten

    def _write(self, texts: dict[str, str]) -> set[str]:
        """Returns the jobs whose files are written."""
        written = set()
        for job, text in texts.items():
            with suppress(OSError):
                self._folder.save(job, text)
                written.add(job)
        return written

    def add_frame(self, job: StudioJob, frame: Frame) -> None:
        """Takes a job's newest frame."""
        job.seq += 1
        loss = frame.loss if frame.loss is not None and math.isfinite(frame.loss) else None
        self._frames[job.id] = Newest(
            job.seq, _header(job, frame.step, frame.octave + 1, *frame.size, loss), frame.jpeg
        )
        reel = self.reel(job)
        reel.given += 1
        self._disk.submit(self._keep_frame, reel, frame)

    def _keep_frame(self, reel: Reel, frame: Frame) -> None:
        with suppress(OSError):
            reel.add(frame.step, frame.jpeg)

    def store_frame(self, job: StudioJob) -> None:
        """Writes a job's newest frame to its folder, where it outlives this process."""
        if newest := self._frames.get(job.id):
            self._disk.submit(self._write_frame, job, newest.jpeg)

    def _write_frame(self, job: StudioJob, jpeg: bytes) -> None:
        if self._folder.of(job).is_dir():
            with suppress(OSError):
                atomic_write(self._folder.frame(job), jpeg)

    def release_frame(self, job: StudioJob) -> None:
        """Writes a job's newest frame, which then no longer takes memory."""
        if newest := self._frames.get(job.id):
            writing = self._disk.submit(self._write_frame, job, newest.jpeg)
            loop = asyncio.get_running_loop()
            writing.add_done_callback(lambda _: loop.call_soon_threadsafe(self._drop, job.id, newest.seq))

    def _drop(self, job: str, seq: int) -> None:
        if job in self._frames and self._frames[job].seq == seq:
            del self._frames[job]
            self._reels.pop(job, None)

    def in_memory(self, job: StudioJob) -> Newest | None:
        """Returns a running job's newest frame, if there is one."""
        return self._frames.get(job.id)

    def stored(self, job: StudioJob) -> Newest | None:
        """Reads the newest frame of a job that does not run."""
        with suppress(OSError):
            jpeg = self._folder.frame(job).read_bytes()
            return Newest(job.seq, _header(job, job.step, job.octave, job.height, job.width, job.loss), jpeg)
        return None

    def reel(self, job: StudioJob) -> Reel:
        """Returns the frames that are kept for a job's film."""
        if job.id not in self._reels:
            self._reels[job.id] = Reel(self._folder.of(job) / "frames")
        return self._reels[job.id]

    def forget(self, job: StudioJob) -> None:
        """Forgets a job that was removed."""
        self._frames.pop(job.id, None)
        self._reels.pop(job.id, None)

    def remove(self, job: StudioJob) -> None:
        """Removes the folder of a job that nothing writes to any more."""
        self.forget(job)
        self._disk.submit(self._folder.remove, job)


def _header(job: StudioJob, step: int, octave: int, height: int, width: int, loss: float | None) -> dict[str, Any]:
    return {
        "job": job.id,
        "seq": job.seq,
        "step": step,
        "octave": octave,
        "width": width,
        "height": height,
        "loss": loss,
    }
