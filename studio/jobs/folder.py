"""The studio's folder: where its pictures and its jobs are, and the lock that keeps a second studio out of it."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from ...models.decoding import DecodeError
from ...models.errors import OnnxdreamError
from ...models.files import atomic_write, lock_alone
from ...models.library import NoHomeError, data_folder
from ..errors import StudioStartError
from .job import StudioJob

_JOB = "job.json"
# Files of the studio's own have two dots in their names, which a cleaned name of its user's files never has.
FRAME, ORIGINAL = "shown.frame.jpg", "shown.original.jpg"


def default_folder() -> Path:
    """Returns `studio` in the data folder. Raises StudioStartError where there is none."""
    try:
        return data_folder() / "studio"
    except NoHomeError:
        raise StudioStartError("there is no home folder to keep dreams in: give one, as in --folder dreams") from None


def new_id() -> str:
    """Returns an identifier of a job or a picture, which nobody can guess."""
    return secrets.token_hex(8)


def is_id(name: str) -> bool:
    """Whether a name is an identifier. The studio removes nothing else: the folder may hold its user's own files."""
    return re.fullmatch(r"[0-9a-f]{16}", name) is not None


class Folder:
    """The folder, locked until it is closed. Raises StudioStartError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._resources = ExitStack()
        try:
            for folder in (self.jobs, self.pictures):
                folder.mkdir(parents=True, exist_ok=True)
            lock_alone(path / ".lock", self._resources)
        except BlockingIOError:
            raise StudioStartError(f"another studio uses {path}: end it, or give another --folder") from None
        except OSError as error:
            raise StudioStartError(f"cannot write to {path} ({error.strerror}): give another --folder") from error

    def close(self) -> None:
        self._resources.close()

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    def of(self, job: StudioJob) -> Path:
        """Returns the folder of a job."""
        return self.jobs / job.id

    def result(self, job: StudioJob) -> Path:
        """Returns the path of a job's result."""
        return self.of(job) / job.result

    def has_checkpoint(self, job: StudioJob) -> bool:
        """Whether a job can be resumed."""
        with suppress(OSError):
            return self.result(job).with_suffix(".checkpoint").stat().st_size > 0
        return False

    def frame(self, job: StudioJob) -> Path:
        """Returns the path of a job's newest frame."""
        return self.of(job) / FRAME

    def save(self, job: str, text: str) -> None:
        """Writes a job's file, unless the job was removed. Raises OSError."""
        folder = self.jobs / job
        if folder.is_dir():
            atomic_write(folder / _JOB, text.encode())

    def remove(self, job: StudioJob) -> None:
        """Removes a job's folder; its file first, so that it does not come back."""
        folder = self.of(job)
        (folder / _JOB).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def remove_film(self, job: StudioJob) -> None:
        """Removes the film of a job that goes on."""
        if name := job.result_names().get("film"):
            (self.of(job) / name).unlink(missing_ok=True)

    def read_jobs(self) -> Iterator[StudioJob]:
        """Yields the jobs of earlier studios; removes folders without one, which were left half made or half removed.

        A file of another version, and one that cannot be read, is left alone.
        """
        for folder in (path for path in self.jobs.iterdir() if is_id(path.name)):
            with suppress(OSError, DecodeError, OnnxdreamError, UnicodeDecodeError):
                if not (folder / _JOB).is_file():
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                job = StudioJob.from_json((folder / _JOB).read_text(encoding="utf-8"))
                if job.id == folder.name:
                    yield job


class Speeds:
    """How long a megapixel takes in a step, in seconds, by bundle and provider: the latest runs of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, float] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):
            found = json.loads(path.read_text(encoding="utf-8"))
            self._known = {str(key): float(value) for key, value in found.items() if 0 < float(value) < 1e6}

    def of(self, bundle: str, provider: str) -> float | None:
        return self._known.get(f"{bundle} {provider}")

    def add(self, bundle: str, provider: str, seconds: float) -> None:
        """Notes a run; a full disk does not matter."""
        key = f"{bundle} {provider}"
        self._known[key] = (self._known.get(key, seconds) + seconds) / 2
        with suppress(OSError):
            atomic_write(self._path, json.dumps(self._known).encode())
