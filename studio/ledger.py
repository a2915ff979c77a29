"""The ledger: the jobs by identifier, where they are kept, and who hears of their changes."""

from __future__ import annotations

from typing import Protocol

from .jobs.folder import Folder
from .jobs.job import StudioJob
from .keeper import Keeper


class Listener(Protocol):
    """Hears of the jobs: that one has changed, has a new frame, or was removed."""

    def changed(self, job: str) -> None: ...

    def framed(self, job: str) -> None: ...

    def removed(self, job: str) -> None: ...


class Ledger:
    """The jobs of a folder, for the event loop's thread."""

    def __init__(self, folder: Folder, listener: Listener) -> None:
        self.folder, self._listener = folder, listener
        self.jobs: dict[str, StudioJob] = {}
        self.keeper = Keeper(folder, self.jobs)

    def tell(self, job: StudioJob) -> StudioJob:
        """Tells everybody that a job has changed; returns it."""
        if job.id in self.jobs:
            self.keeper.changed(job)
            self._listener.changed(job.id)
        return job

    def tell_of_frame(self, job: StudioJob) -> None:
        self._listener.framed(job.id)

    def tell_of_removal(self, job: StudioJob) -> None:
        self._listener.removed(job.id)
