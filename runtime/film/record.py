"""The record of a film: how it was made, and, while it is being made, what it continues from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ...models.arrays import Size
from ...models.decoding import DecodeError, decoded_json
from ..dream.record import read_settings
from ..errors import RecordError, SettingsError
from ..image.source import SourceFile
from ..settings.settings import Settings
from .settings import Camera, Coherence, Travel

FilmKind = Literal["film", "zoom", "travel"]


@dataclass(frozen=True)
class SegmentRecord:
    """A part of a film between two key frames: its file while the film is made, and its frames.

    `file` is relative to the folder of the film's segments. `start` and `end` are in seconds, as the numerator and the
    denominator of a fraction. `loss` is the mean of the frames' losses. `hash` is the SHA-256, as hex digits, of the
    hash after the frame before in the same shot and the dreamed frame's pixels, after the segment's last frame: it is
    the same where all frames of the shot so far are the same.
    """

    file: str
    start: tuple[int, int]
    end: tuple[int, int]
    frames: int
    shots: int
    repeated: int
    loss: float
    hash: str


@dataclass(frozen=True)
class FilmRecord:
    """One film.

    `source` is the film or the picture that it is made from. Of `coherence`, `camera` and `travel`, those are given
    that its kind has. `start` and `end` are the seconds of the source between which it was dreamed. `size` is that of
    the frames, None before the first one. `workers` is the number of processes that dream its shots, each with the
    threads and the memory of `settings`, or None for a single process that dreams all frames in order; `shots` are the
    numbers of frames of these shots, as soon as they are known.
    """

    kind: FilmKind
    bundle: SourceFile
    source: SourceFile
    mask: SourceFile | None
    guide: SourceFile | None
    settings: Settings
    coherence: Coherence | None
    camera: Camera | None
    travel: Travel | None
    start: float | None
    end: float | None
    keep_frames: str | None
    extras: bool
    output: str
    workers: int | None = None
    shots: tuple[int, ...] = ()
    ended: Literal["finished", "stopped"] = "stopped"
    size: Size | None = None
    segments: tuple[SegmentRecord, ...] = ()
    notices: tuple[str, ...] = ()
    seconds: float = 0.0
    versions: dict[str, str] | None = None

    @property
    def frames(self) -> int:
        """The number of frames so far."""
        return sum(segment.frames for segment in self.segments)

    def to_json(self) -> str:
        """The record as JSON text."""
        return json.dumps(asdict(self), indent=1)


def read_film_record(path: Path) -> FilmRecord:
    """Reads a record. Raises RecordError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise RecordError(f"{path} is no record of a film: name the .parts folder of an interrupted film") from None
    try:
        record = decoded_json(FilmRecord, text, {Settings: read_settings})
    except SettingsError as error:
        raise RecordError(f"{path}: {error}") from None
    except DecodeError as error:
        raise RecordError(f"{path} is damaged ({error}): start the film again with --overwrite") from None
    return record
