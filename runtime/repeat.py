"""Running a record again."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from .errors import RecordError
from .pictures import PictureError, read_note
from .record import Record, read_record


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


def picture_of(record: Record, beside: Path) -> Path:
    """The very picture of a record: where it was, else beside the record file. Raises RecordError."""
    source = record.picture
    if source is None:
        raise RecordError("the record names no picture: give one behind --repeat FILE")
    for path in [*([Path(source.path)] if source.path else []), beside.parent / source.name, Path(source.name)]:
        with suppress(OSError):
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == source.sha256:
                return path
    raise RecordError(f"the record's picture {source.name} is not here unchanged: give it behind --repeat FILE")
