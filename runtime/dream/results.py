"""The files that a dream writes: picture, snapshots, losses, plot, record, checkpoint."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from bisect import bisect
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from glob import escape
from pathlib import Path
from typing import ClassVar

from ...models.arrays import Floats, Pixels
from ...models.files import atomic_file, atomic_write, remove_leftovers
from ...models.streams import write_output
from ..errors import OutputError, PictureWriteError, RecordError
from ..image.formats.codec import WRITTEN_SUFFIXES, encode_picture
from .checkpoint import Checkpoint, read_checkpoint
from .record import read_record

# Suffixes of files that are not written. An output with one is refused rather than made a folder of that name.
_UNSUPPORTED_SUFFIXES = (
    *(".avif", ".bmp", ".exr", ".gif", ".hdr", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jxl", ".pdf", ".ppm"),
    *(".psd", ".svg", ".tga", ".mp4", ".mov", ".webm", ".json", ".csv", ".onnx", ".checkpoint"),
)


@dataclass(frozen=True)
class Results:
    """Where one dream's files go: `bears-dream.png` and, next to it, `bears-dream-losses.csv` and the others.

    `earlier` are the files of an earlier dream of this name, which this one replaces. `foreign` are the user's own
    files that have the name of a snapshot; they are never written to.
    """

    keeps_checkpoint: ClassVar[bool] = True  # whether there is one during the dream

    picture: Path
    earlier: frozenset[Path] = frozenset()
    foreign: frozenset[Path] = frozenset()

    @classmethod
    def for_source(
        cls,
        source: Path,
        output: Path | None,
        overwrite: bool,
        snapshots: Collection[int] = (),
        inputs: Collection[Path] = (),
        extras: bool = True,
    ) -> Results:
        """Where the results of the picture `source` go; without `overwrite` the name is reserved, see `release`.

        `output` is a folder (None: the current one) or a picture's path. In a folder the first free name is taken:
        `bears-dream`, `bears-dream-2`, … A name is free if none of its files exists. With `overwrite`, only files of an
        earlier dream are replaced, known from its record or checkpoint, and the picture itself. `snapshots` are the
        steps whose pictures will be written, `inputs` the files that the dream reads, which it never replaces. Without
        `extras`, only the picture and the checkpoint will be written, and a picture's path is free if neither exists.
        Raises OutputError where nothing can be written, or only in place of the user's own files.
        """
        if output is not None and _is_misnamed(output):
            raise OutputError(f"{output}: dreams are written as {', '.join(WRITTEN_SUFFIXES)}: choose one of these")
        is_named = output is not None and is_picture_path(output)
        picture = output if output and is_named else (output or Path()) / f"{source.stem}-dream.png"
        _require_writable(picture)
        results = cls(picture)
        if overwrite:
            return results._replacing(snapshots if extras else None, inputs)
        return results._reserved(is_named, only_picture=is_named and not extras)

    @classmethod
    def reserve(cls, picture: Path) -> bool:
        """Reserves a name, as `for_source` does: an empty checkpoint. Returns False if a file of that name exists.

        Raises OutputError where nothing can be written.
        """
        _require_writable(picture)
        results = cls(picture)
        return not results._existing_files() and results._reserve()

    def _reserved(self, is_named: bool, only_picture: bool) -> Results:
        number, results = 1, self
        while True:
            existing = results._existing_files()
            if only_picture:
                existing &= {results.picture, results.checkpoint}
            if not existing and results._reserve():
                return results
            if is_named:
                found = min(existing, default=results.checkpoint)
                raise OutputError(
                    f"{found} exists: choose another --output, or replace an earlier dream with --overwrite"
                )
            number += 1
            results = Results(self.picture.with_stem(f"{self.picture.stem}-{number}"))

    def _replacing(self, snapshots: Collection[int] | None, inputs: Collection[Path]) -> Results:
        """These results in place of an earlier dream's; `snapshots` None: only the picture will be written."""
        existing = self._existing_files()
        for path in existing:
            if path.exists() and any(file.exists() and path.samefile(file) for file in inputs):  # not a dangling link
                raise OutputError(f"{path} is a file that this dream reads: choose another --output")
        earlier = self._files_of_earlier_dream() & existing
        foreign = existing - earlier - {self.picture}
        written = {self.checkpoint}
        if snapshots is not None:
            written |= {self.losses, self.plot, self.record, *map(self.snapshot, snapshots)}
        if foreign & written:
            raise OutputError(
                f"{min(foreign & written)} is not from an earlier dream: move it, or choose another --output"
            )
        return Results(self.picture, frozenset(earlier), frozenset(foreign))

    def _existing_files(self) -> set[Path]:
        """The files that exist under a name of these results, snapshots after any step included."""
        names = {path.name for path in (self.picture, self.losses, self.plot, self.record, self.checkpoint)}
        return {
            self.picture.with_name(name)
            for name in os.listdir(self.picture.parent)
            if name in names or self._is_snapshot(name)
        }

    def _is_snapshot(self, name: str) -> bool:
        """Whether a file's name is that of a snapshot of this picture."""
        step = name.removeprefix(f"{self.picture.stem}-step").removesuffix(self.picture.suffix)
        return step.isdecimal() and name == f"{self.picture.stem}-step{step}{self.picture.suffix}"

    def _files_of_earlier_dream(self) -> set[Path]:
        """The files that the record and the checkpoint of an earlier dream of this name list."""
        files: set[Path] = set()
        with suppress(RecordError, OSError, UnicodeDecodeError):
            record = read_record(self.record.read_text(encoding="utf-8"), self.record.name)
            files |= {self.record, *(self.picture.with_name(Path(name).name) for name in record.files)}
        with suppress(RecordError, OSError):
            if self.checkpoint.stat().st_size:
                checkpoint = read_checkpoint(self.checkpoint)
                files |= {self.checkpoint, *map(self.snapshot, checkpoint.settings.snapshots)}
            else:  # of a dream that was killed before its first checkpoint
                files.add(self.checkpoint)
        return files

    def _reserve(self) -> bool:
        """Creates an empty checkpoint; returns False if another dream was faster."""
        try:
            with self.checkpoint.open("xb"):
                return True
        except FileExistsError:
            return False
        except OSError as error:
            raise _write_failure(self.picture, error) from error

    def release(self) -> None:
        """Gives the name back if the dream has written no checkpoint to resume from."""
        with suppress(OSError):
            if not self.checkpoint.stat().st_size:
                self.checkpoint.unlink()

    @property
    def can_be_resumed(self) -> bool:
        """Whether there is a checkpoint."""
        return self.keeps_checkpoint and self.checkpoint.exists()

    @property
    def location(self) -> str:
        """The absolute path of the picture, or - for standard output."""
        return str(self.picture.absolute())

    @property
    def saved(self) -> str:
        """What has become of the picture, as the end of a message."""
        return f"saved as {self.location}"

    def file_names(self, snapshots: Collection[int], has_plot: bool, extras: bool = True) -> tuple[str, ...]:
        """The names of the files that a dream with these snapshots leaves, as its record lists them."""
        if not extras:
            return (self.picture.name,)
        plot = [self.plot] if has_plot else []
        paths = (self.picture, self.losses, *plot, self.record, *map(self.snapshot, sorted(snapshots)))
        return tuple(path.name for path in paths)

    @property
    def losses(self) -> Path:
        """The path of the losses, a CSV file."""
        return self._beside("losses.csv")

    @property
    def plot(self) -> Path:
        """The path of the plot of the losses, a PNG file."""
        return self._beside("losses.png")

    @property
    def record(self) -> Path:
        """The path of the record, a JSON file."""
        return self.picture.with_suffix(".json")

    @property
    def checkpoint(self) -> Path:
        """The path of the checkpoint, which exists until the dream is finished."""
        return self.picture.with_suffix(".checkpoint")

    def snapshot(self, step: int) -> Path:
        """The path of the picture after `step` steps."""
        return self._beside(f"step{step:04d}{self.picture.suffix}")

    def write_snapshot(self, step: int, pixels: Pixels, icc: bytes | None) -> None:
        """Writes the picture after `step` steps, with an ICC profile if there is one. Raises OutputError."""
        data, _ = self._encode(pixels, icc)
        _write(self.snapshot(step), data)

    def write_picture(self, pixels: Pixels, icc: bytes | None, note: str) -> tuple[str, ...]:
        """Writes the finished picture; returns a warning for each feature that its format cannot store.

        `note` is a text that a PNG file takes along. If the picture cannot be written, it is saved in the system's
        temporary folder. Raises OutputError, which then names that file.
        """
        data, warnings = self._encode(pixels, icc, note)
        try:
            _write(self.picture, data)
        except OutputError as error:
            try:  # a container may have no temporary folder
                rescue_path = _free_name(Path(tempfile.gettempdir()) / self.picture.name)
                atomic_write(rescue_path, data)
            except OSError:
                raise error from None
            raise OutputError(f"{error}; the dream is saved as {rescue_path}") from error
        return tuple(f"{self.picture.name}: {warning}" for warning in warnings)

    def write_losses(self, layers: Sequence[str], losses: Floats, totals: Floats, starts: Sequence[int]) -> None:
        """Writes the losses as CSV: step, octave from 1, total, one column per layer; row n follows n updates.

        `losses` is float32 [updates + 1, layers], `totals` float32 [updates + 1]; `starts` are the rows at which the
        octaves begin. Raises OutputError.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["step", "octave", "total", *layers])
        for step, (total, row) in enumerate(zip(totals, losses, strict=True)):
            table.writerow([step, bisect(starts, step), f"{total:.7g}", *(f"{loss:.7g}" for loss in row)])
        _write(self.losses, text.getvalue().encode())

    def write_plot(self, png: bytes) -> None:
        """Writes the plot, a PNG file's bytes. Raises OutputError."""
        _write(self.plot, png)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Writes the checkpoint in place of an older one. Raises OutputError."""
        with _output_errors(self.checkpoint), atomic_file(self.checkpoint) as file:
            checkpoint.write(file)

    def remove_checkpoint(self) -> None:
        """Removes the checkpoint of a dream that is finished."""
        self.checkpoint.unlink(missing_ok=True)

    def write_record(self, text: str) -> None:
        """Writes the record, a JSON text. Raises OutputError."""
        _write(self.record, text.encode())

    def remove_leftovers(self, snapshots: Collection[int]) -> None:
        """Removes what a run that was killed while it wrote one of its files, snapshots included, has left of it."""
        paths = (self.picture, self.losses, self.plot, self.record, self.checkpoint, *map(self.snapshot, snapshots))
        remove_leftovers(*paths)
        for proof in self.picture.parent.glob(f"{escape(_proof_name(self.picture))}*"):
            proof.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Removes all files of this name but the checkpoint; call it where they are those of a run that was killed."""
        for path in self._existing_files() - {self.checkpoint}:
            path.unlink(missing_ok=True)

    def remove_earlier_files(self, kept: Collection[str]) -> None:
        """Removes the files of the earlier dream that this one has not replaced; `kept` are the names of its files."""
        for path in self.earlier - {self.checkpoint}:
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _encode(self, pixels: Pixels, icc: bytes | None, note: str | None = None) -> tuple[bytes, tuple[str, ...]]:
        try:
            return encode_picture(pixels, self.picture.suffix, icc, note)
        except PictureWriteError as error:
            raise OutputError(f"{self.picture}: {error}") from error

    def _beside(self, ending: str) -> Path:
        return self.picture.with_name(f"{self.picture.stem}-{ending}")


@dataclass(frozen=True)
class PipedResults(Results):
    """The results of a dream whose picture goes to standard output, and nothing to files.

    `picture` has no folder: it is the name of the picture in messages, with the suffix of its format.
    """

    keeps_checkpoint: ClassVar[bool] = False

    @classmethod
    def of_format(cls, suffix: str) -> PipedResults:
        """The results for a picture with one of the suffixes that are written."""
        return cls(Path(f"stdout{suffix}"))

    @property
    def location(self) -> str:
        """Standard output."""
        return "-"

    @property
    def saved(self) -> str:
        """What has become of the picture, as the end of a message."""
        return "written to standard output"

    def release(self) -> None:
        """No name is reserved."""

    def remove_checkpoint(self) -> None:
        """There is no checkpoint."""

    def write_picture(self, pixels: Pixels, icc: bytes | None, note: str) -> tuple[str, ...]:
        """Writes the bytes of the finished picture; returns a warning for each feature that its format cannot store.

        Raises OutputError and StreamError.
        """
        data, warnings = self._encode(pixels, icc, note)
        write_output(data)
        return tuple(f"{self.picture.name}: {warning}" for warning in warnings)


def _is_misnamed(output: Path) -> bool:
    """Whether an output is named like a file of another kind, or like a picture with a misspelt suffix."""
    suffix = output.suffix.lower()
    if suffix in WRITTEN_SUFFIXES or os.path.isdir(output):
        return False
    return suffix in _UNSUPPORTED_SUFFIXES or bool(get_close_matches(suffix, WRITTEN_SUFFIXES, cutoff=0.7))


def is_picture_path(output: Path | None) -> bool:
    """Whether an output is the path of one picture rather than a folder."""
    return output is not None and output.suffix.lower() in WRITTEN_SUFFIXES and not os.path.isdir(output)


def _free_name(path: Path) -> Path:
    """The first of `bears.png`, `bears-2.png`, `bears-3.png`, … that does not exist."""
    number, free = 2, path
    while os.path.exists(free):
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free


def _require_writable(picture: Path) -> None:
    """Proves before the first step that results can be written there, under a name as long as the longest of them.

    Raises OutputError.
    """
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=picture.parent, prefix=_proof_name(picture)):
            pass
    except OSError as error:
        raise _write_failure(picture, error) from error


def _proof_name(picture: Path) -> str:
    """The start of the name of the file that proves that a picture can be written, as long as the longest name."""
    return f".{picture.stem}-step1000000{picture.suffix}."


def _write(path: Path, data: bytes) -> None:
    with _output_errors(path):
        atomic_write(path, data)


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Raises an OutputError that names the path in place of an OSError."""
    try:
        yield
    except OSError as error:
        raise _write_failure(path, error) from error


def _write_failure(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path} ({error.strerror}): make room or choose another --output")
