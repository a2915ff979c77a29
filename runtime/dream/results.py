"""The files that a dream leaves: picture, snapshots, losses, plot, record, and a film if asked for."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.files import atomic_file, atomic_write
from ..errors import OutputError
from ..image.files import WRITTEN_SUFFIXES, PictureWriteError, encode_picture
from .checkpoint import Checkpoint

# Pictures that a user may ask for, and must not get a folder of that name instead.
_UNWRITTEN = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".pdf", ".svg", ".tga")


@dataclass(frozen=True)
class Results:
    """Where one dream's files go: `bears-dream.png` and, beside it, `bears-dream-losses.csv` and the others."""

    picture: Path

    @classmethod
    def place(cls, source: Path, output: Path | None, overwrite: bool) -> Results:
        """The place for the dream of `source`.

        `output` is a folder (None: the current one) or a picture's path. Without `overwrite` a free name is found:
        `bears-dream`, `bears-dream-2`, … Raises OutputError where nothing can be written.
        """
        if output is not None and output.suffix.lower() in _UNWRITTEN and not output.is_dir():
            raise OutputError(f"{output}: a dream is written as {', '.join(WRITTEN_SUFFIXES)}: choose one of these")
        if output is not None and is_picture_path(output):
            wanted = output
        else:
            wanted = (output or Path()) / f"{source.stem}-dream.png"
        _require_writable(wanted)
        return cls(wanted if overwrite else free_name(wanted, wanted.suffix, ".json", ".checkpoint"))

    @property
    def losses(self) -> Path:
        """The CSV of losses."""
        return self._beside("losses.csv")

    @property
    def plot(self) -> Path:
        """The plot of losses."""
        return self._beside("losses.png")

    @property
    def record(self) -> Path:
        """The record."""
        return self.picture.with_suffix(".json")

    @property
    def checkpoint(self) -> Path:
        """The checkpoint, there as long as the dream is not finished."""
        return self.picture.with_suffix(".checkpoint")

    def snapshot(self, step: int) -> Path:
        """The picture after that many steps."""
        return self._beside(f"step{step:04d}{self.picture.suffix}")

    def write_snapshot(self, step: int, pixels: NDArray[Any], icc: bytes | None) -> None:
        """Raises OutputError."""
        data, _ = self._encode(pixels, icc)
        _write(self.snapshot(step), data)

    def write_picture(self, pixels: NDArray[Any], icc: bytes | None, note: str) -> tuple[str, ...]:
        """Writes the picture and returns a line for each thing that its format cannot hold.

        Where there is no room for it, it is saved in the system's temporary folder. Raises OutputError, which then
        says where.
        """
        data, warnings = self._encode(pixels, icc, note)
        try:
            _write(self.picture, data)
        except OutputError as error:
            rescued = free_name(Path(tempfile.gettempdir()) / self.picture.name, self.picture.suffix)
            try:
                atomic_write(rescued, data)
            except OSError:
                raise error from None
            raise OutputError(f"{error}; the dream is saved as {rescued}") from error
        return tuple(f"{self.picture.name}: {warning}" for warning in warnings)

    def write_losses(self, layers: Sequence[str], losses: NDArray[np.float32], totals: NDArray[np.float32]) -> None:
        """Row n holds the losses after n updates: step, total, one column per layer. Raises OutputError."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["step", "total", *layers])
        for step, (total, row) in enumerate(zip(totals, losses, strict=True)):
            table.writerow([step, f"{total:.7g}", *(f"{loss:.7g}" for loss in row)])
        _write(self.losses, text.getvalue().encode())

    def write_plot(self, png: bytes) -> None:
        """Raises OutputError."""
        _write(self.plot, png)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Raises OutputError."""
        with _named_failure(self.checkpoint), atomic_file(self.checkpoint) as file:
            checkpoint.write(file)

    def write_record(self, text: str) -> None:
        """Raises OutputError."""
        _write(self.record, text.encode())

    def remove_stale_snapshots(self, kept: Sequence[int]) -> None:
        """Removes snapshots that an earlier run of the same name left and this one did not write."""
        current = {self.snapshot(step) for step in kept}
        start = f"{self.picture.stem}-step"
        for path in self.picture.parent.iterdir():
            ours = path.stem.startswith(start) and path.stem[len(start) :].isdecimal()
            if ours and path.suffix == self.picture.suffix and path not in current:
                path.unlink(missing_ok=True)

    def _encode(
        self, pixels: NDArray[Any], icc: bytes | None, note: str | None = None
    ) -> tuple[bytes, tuple[str, ...]]:
        try:
            return encode_picture(pixels, self.picture.suffix, icc, note)
        except PictureWriteError as error:
            raise OutputError(f"{self.picture}: {error}") from error

    def _beside(self, ending: str) -> Path:
        return self.picture.with_name(f"{self.picture.stem}-{ending}")


def is_picture_path(output: Path | None) -> bool:
    """Whether an output is the path of one picture, not a folder."""
    return output is not None and output.suffix.lower() in WRITTEN_SUFFIXES and not os.path.isdir(output)


def free_name(wanted: Path, *suffixes: str) -> Path:
    """`wished`, or the first of `wished-2`, `wished-3`, … under which no file with one of the suffixes exists."""
    number, free = 2, wanted
    while any(os.path.exists(free.with_suffix(suffix)) for suffix in suffixes):
        free = wanted.with_stem(f"{wanted.stem}-{number}")
        number += 1
    return free


def _require_writable(picture: Path) -> None:
    """Proves it before the first step, not after the last, with a name as long as any that will be needed."""
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        longest = f".{picture.stem}-step1000000{picture.suffix}."
        with tempfile.NamedTemporaryFile(dir=picture.parent, prefix=longest):
            pass
    except OSError as error:
        raise OutputError(f"cannot write {picture} ({error.strerror}): choose another --output") from error


def _write(path: Path, data: bytes) -> None:
    with _named_failure(path):
        atomic_write(path, data)


@contextmanager
def _named_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): make room or choose another --output") from error
