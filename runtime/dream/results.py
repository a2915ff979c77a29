"""The files that a dream writes: picture, snapshots, losses, plot, record, checkpoint."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...models.arrays import Floats, Pixels
from ...models.files import atomic_file, atomic_write
from ..errors import OutputError
from ..image.files import WRITTEN_SUFFIXES, PictureWriteError, encode_picture
from .checkpoint import Checkpoint

# Suffixes of picture files that are not written. An output with one is refused rather than made a folder of that name.
_UNSUPPORTED_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".pdf", ".svg", ".tga")


@dataclass(frozen=True)
class Results:
    """Where one dream's files go: `bears-dream.png` and, next to it, `bears-dream-losses.csv` and the others."""

    picture: Path

    @classmethod
    def for_source(cls, source: Path, output: Path | None, overwrite: bool) -> Results:
        """Where the results of the picture `source` go.

        `output` is a folder (None: the current one) or a picture's path. Without `overwrite` it is the first free name:
        `bears-dream`, `bears-dream-2`, … Raises OutputError where nothing can be written.
        """
        if output is not None and output.suffix.lower() in _UNSUPPORTED_SUFFIXES and not output.is_dir():
            raise OutputError(f"{output}: dreams are written as {', '.join(WRITTEN_SUFFIXES)}: choose one of these")
        if output is not None and is_picture_path(output):
            picture = output
        else:
            picture = (output or Path()) / f"{source.stem}-dream.png"
        _require_writable(picture)
        return cls(picture if overwrite else free_name(picture, picture.suffix, ".json", ".checkpoint"))

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
            rescue_path = free_name(Path(tempfile.gettempdir()) / self.picture.name, self.picture.suffix)
            try:
                atomic_write(rescue_path, data)
            except OSError:
                raise error from None
            raise OutputError(f"{error}; the dream is saved as {rescue_path}") from error
        return tuple(f"{self.picture.name}: {warning}" for warning in warnings)

    def write_losses(self, layers: Sequence[str], losses: Floats, totals: Floats) -> None:
        """Writes the losses as CSV: step, total, one column per layer; row n holds those after n updates.

        `losses` is float32 [updates + 1, layers], `totals` float32 [updates + 1]. Raises OutputError.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["step", "total", *layers])
        for step, (total, row) in enumerate(zip(totals, losses, strict=True)):
            table.writerow([step, f"{total:.7g}", *(f"{loss:.7g}" for loss in row)])
        _write(self.losses, text.getvalue().encode())

    def write_plot(self, png: bytes) -> None:
        """Writes the plot, a PNG file's bytes. Raises OutputError."""
        _write(self.plot, png)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Writes the checkpoint in place of an older one. Raises OutputError."""
        with _output_errors(self.checkpoint), atomic_file(self.checkpoint) as file:
            checkpoint.write(file)

    def write_record(self, text: str) -> None:
        """Writes the record, a JSON text. Raises OutputError."""
        _write(self.record, text.encode())

    def remove_stale_snapshots(self, kept: Sequence[int]) -> None:
        """Removes the snapshots of an earlier run of the same name; `kept` are the steps of this run's snapshots."""
        current = {self.snapshot(step) for step in kept}
        prefix = f"{self.picture.stem}-step"
        for path in self.picture.parent.iterdir():
            is_snapshot = path.stem.startswith(prefix) and path.stem[len(prefix) :].isdecimal()
            if is_snapshot and path.suffix == self.picture.suffix and path not in current:
                path.unlink(missing_ok=True)

    def _encode(self, pixels: Pixels, icc: bytes | None, note: str | None = None) -> tuple[bytes, tuple[str, ...]]:
        try:
            return encode_picture(pixels, self.picture.suffix, icc, note)
        except PictureWriteError as error:
            raise OutputError(f"{self.picture}: {error}") from error

    def _beside(self, ending: str) -> Path:
        return self.picture.with_name(f"{self.picture.stem}-{ending}")


def is_picture_path(output: Path | None) -> bool:
    """Whether an output is the path of one picture rather than a folder."""
    return output is not None and output.suffix.lower() in WRITTEN_SUFFIXES and not os.path.isdir(output)


def free_name(path: Path, *suffixes: str) -> Path:
    """The first of `path`, `path-2`, `path-3`, … for which no file with one of the suffixes exists."""
    number, free = 2, path
    while any(os.path.exists(free.with_suffix(suffix)) for suffix in suffixes):
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free


def _require_writable(picture: Path) -> None:
    """Proves before the first step that results can be written there, under a name as long as the longest of them.

    Raises OutputError.
    """
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        longest_name = f".{picture.stem}-step1000000{picture.suffix}."
        with tempfile.NamedTemporaryFile(dir=picture.parent, prefix=longest_name):
            pass
    except OSError as error:
        raise OutputError(f"cannot write {picture} ({error.strerror}): choose another --output") from error


def _write(path: Path, data: bytes) -> None:
    with _output_errors(path):
        atomic_write(path, data)


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Raises an OutputError that names the path in place of an OSError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): make room or choose another --output") from error
