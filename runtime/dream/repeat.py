"""Running a record again, and going on from a checkpoint."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from ..bundle.choice import bundle_of
from ..errors import RecordError
from ..image.files import PictureError, read_note
from ..image.source import Source, SourceFile
from ..settings.settings import Settings
from .checkpoint import Checkpoint
from .record import Record, read_record
from .writer import Job


def load_record(path: Path) -> Record:
    """The record in a .json, or inside a .png that onnxdream wrote. Raises RecordError."""
    try:
        text = read_note(path) if path.suffix.lower() == ".png" else path.read_text(encoding="utf-8")
    except PictureError as error:
        raise RecordError(f"cannot read record {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise RecordError(f"cannot read record {path} ({reason}): give the .json or the .png of a dream") from error
    if text is None:
        raise RecordError(f"{path} holds no record: give the .json or the .png of a dream")
    return read_record(text, path.name)


def mask_and_guide(record: Record, beside: Path) -> dict[str, Path]:
    """The files of a record's mask and guide, where it has them. Raises RecordError."""
    files = {"mask": record.mask, "guide": record.guide}
    return {name: find_file(file, beside) for name, file in files.items() if file}


def source_of(settings: Settings, file: SourceFile | None, beside: Path) -> Source:
    """The very picture of a record or a checkpoint. Raises RecordError."""
    if settings.noise:
        return Source.of_noise(settings.noise)
    if file is None:
        raise RecordError("the record names no picture: give one behind --repeat FILE")
    return Source(find_file(file, beside))


def find_file(file: SourceFile, beside: Path) -> Path:
    """The very file of a record: where it was, else beside the record, else here. Raises RecordError."""
    for path in [*([Path(file.path)] if file.path else []), beside.parent / file.name, Path(file.name)]:
        with suppress(OSError):
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256:
                return path
    raise RecordError(f"{file.name} is not here, or not as it was: put it beside {beside}")


def job_to_resume(checkpoint: Checkpoint, beside: Path) -> Job:
    """The job that a checkpoint was made in; its results replace what is there of it. Raises RecordError."""
    return Job(
        bundle_of(checkpoint.bundle),
        checkpoint.settings,
        Path(checkpoint.output),
        overwrite=True,
        film=Path(checkpoint.film) if checkpoint.film else None,
        film_every=checkpoint.film_every,
        mask=find_file(checkpoint.mask, beside) if checkpoint.mask else None,
        guide=find_file(checkpoint.guide, beside) if checkpoint.guide else None,
    )
