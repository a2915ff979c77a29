"""The film while it is written: its parts in a folder next to it, then one file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from ...models.files import atomic_write, remove_leftovers, temporary_path
from ..errors import FilmError, OutputError
from ..video.joining import join
from .parts import Parts, parts_folder, resuming
from .record import FilmRecord


class FilmOutput(Parts):
    """Writes a film, frame by frame, into the folder `<film>.parts`, and joins its segments to the film at the end.

    The arguments are those of `Parts`; an existing film or folder is replaced only with `overwrite`. Raises
    OutputError.
    """

    def __init__(self, path: Path, record: FilmRecord, time_base: Fraction, rate: Fraction, overwrite: bool) -> None:
        super().__init__(path, parts_folder(path), record, time_base, rate)
        self._overwrite = overwrite

    def __enter__(self) -> FilmOutput:
        if not (self.record.segments or self.record.shots):
            self._require_free()
        self._make_kept_folder()
        super().__enter__()
        remove_leftovers(self.path, record_path(self.path))  # the folder's lock says that no other run writes them
        return self

    def _require_free(self) -> None:
        """Raises OutputError if something is in the way that may not be overwritten."""
        if self.path.is_dir():
            raise OutputError(f"{self.path} is a folder: choose another name")
        if self._overwrite:
            return
        if self.path.exists():
            raise OutputError(f"film {self.path} exists: choose another name, or replace it with --overwrite")
        if self.folder.exists():
            raise OutputError(
                f"{self.folder} holds an unfinished film: continue it with {resuming(self.folder)}, or start again "
                "with --overwrite"
            )

    def _make_kept_folder(self) -> None:
        """Makes the folder of the kept frames, before the first of them is dreamed. Raises OutputError."""
        kept = self.record.keep_frames
        try:
            if kept:
                Path(kept).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot keep frames in {kept} ({error.strerror}): name another folder") from error

    def finish(self, record: FilmRecord, sound: Path | None, log: Callable[[str], None]) -> None:
        """Joins the segments to the film, with the sound of the film `sound`; removes the folder if it is finished.

        Without a frame, there is no film. Raises OutputError and FilmError.
        """
        self.record = record
        if not record.segments:
            self._finish_without_frames()
            return
        temporary = temporary_path(self.path, f".part{self.path.suffix}")
        end = record.end
        if record.ended == "stopped" and record.kind == "film":
            end = float((record.start or 0) + Fraction(*record.segments[-1].end))
        try:
            join(self.segments(), temporary, self._format, sound, record.start, end, log)
            os.replace(temporary, self.path)
            if record.extras:
                atomic_write(record_path(self.path), record.to_json().encode())
            self._write_record()
        except FilmError:  # some of these are OSErrors, too
            raise
        except OSError as error:
            raise self._failure(error) from error
        finally:
            temporary.unlink(missing_ok=True)
        if record.ended == "finished":
            self._remove_folder()

    def _finish_without_frames(self) -> None:
        """Keeps the folder only if later shots have frames already."""
        if self.record.shots:
            self.update(self.record)
        else:
            self._remove_folder()

    def _remove_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def record_path(film: Path) -> Path:
    """The file of a film's record."""
    return film.with_name(f"{film.name}.json")
