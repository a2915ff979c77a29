"""Repeating a run from its record, and resuming one from its checkpoint: finds the files that they name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bundle.choice import bundle_of
from ..errors import PictureError, RecordError
from ..image.files import read_note
from ..image.source import Source, SourceFile, file_hash
from ..settings.changes import Change
from ..settings.config import options_of, overridden
from ..settings.settings import Execution, Settings, descriptions
from .checkpoint import Checkpoint
from .record import Record, read_record
from .writer import Job

# With these options, a run has other tiles than the record's.
_TILES_FOLLOW = {
    *("model", "preset", "provider", "precision", "memory"),
    *("noise", "max_size", "octaves", "octaves_above", "octave_scale"),
}
# A preset replaces the recorded settings but for the source and the machine.
_KEPT_WITH_PRESET = {"noise", "seed", *descriptions(Execution)}


def load_record(path: Path) -> Record:
    """Reads the record in a .json file, or inside a .png that onnxdream wrote. Raises RecordError."""
    try:
        text = read_note(path) if path.suffix.lower() == ".png" else path.read_text(encoding="utf-8")
    except PictureError as error:
        raise RecordError(f"cannot read record {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise RecordError(f"cannot read record {path} ({reason}): give the .json or the .png of a dream") from error
    if text is None:
        raise RecordError(f"{path} holds no record: give the .json or the .png of a dream")
    return read_record(text, path.name)


def recorded_options(record: Record, given: Mapping[str, Any], with_images: bool) -> dict[str, Any]:
    """The options that repeat a record, beneath those that the user gave.

    The provider, the threads and the tiles are those that the run used, as far as they still apply; a mask, a
    guide and a direction are named by their SourceFiles. With other pictures, there is no noise.
    """
    settings = record.settings_to_repeat()
    if _TILES_FOLLOW & given.keys():
        settings = replace(
            settings, execution=replace(settings.execution, tile_pixels=record.settings.execution.tile_pixels)
        )
    options = options_of(settings)
    if "preset" in given:
        options = {name: value for name, value in options.items() if name in _KEPT_WITH_PRESET}
    else:
        options |= {name: file for name in ("guide", "direction") if (file := getattr(record, name))}
    if record.mask:
        options["mask"] = record.mask
    left_out = {"noise"} if with_images else set()
    left_out |= {"precision"} if {"model", "preset"} & given.keys() else set()  # another bundle has its own
    return {name: value for name, value in options.items() if name not in left_out}


def recorded_changes(record: Record, given: Mapping[str, Any]) -> tuple[Change, ...]:
    """The changes on the way that repeat a record, without those of the settings that the user gave or replaced.

    An option holds for the whole run, and a preset replaces the changes with all other settings.
    """
    if "preset" in given:
        return ()
    left = [
        (change.step, {name: change.settings[name] for name in overridden(change.settings, given) if name not in given})
        for change in record.changes
    ]
    return tuple(Change(step, settings) for step, settings in left if settings)


def recorded_files(options: Mapping[str, Any], record_path: Path) -> dict[str, Any]:
    """Finds the files that a record names among these options: a path for each, and one or two for a direction.

    Raises RecordError.
    """
    found: dict[str, Any] = {
        name: find_file(file, record_path) for name, file in options.items() if isinstance(file, SourceFile)
    }
    direction = options.get("direction")
    if isinstance(direction, tuple):
        found["direction"] = tuple(find_file(file, record_path) for file in direction)
    return found


def find_source(settings: Settings, file: SourceFile | None, record_path: Path) -> Source:
    """The noise or the picture file of a record or a checkpoint; `record_path` is its file. Raises RecordError."""
    if settings.noise:
        return Source.of_noise(settings.noise)
    if file is None:
        raise RecordError("the record names no picture: give one after --repeat FILE")
    return Source(find_file(file, record_path))


def find_file(file: SourceFile, record_path: Path) -> Path:
    """Finds a file with the hash that a record or a checkpoint names.

    Looks where the file was, next to the record or checkpoint, and in the current folder. Raises RecordError.
    """
    recorded = [Path(file.path)] if file.path else []
    for path in [*recorded, record_path.parent / file.name, Path(file.name)]:
        with suppress(OSError):
            if path.is_file() and file_hash(path) == file.sha256:
                return path
    raise RecordError(f"{file.name} is missing or has changed: put the original next to {record_path}")


def job_to_resume(checkpoint: Checkpoint, checkpoint_path: Path) -> Job:
    """The job that a checkpoint was written in; its results replace those that it has already written.

    They go next to the checkpoint, also where its folder was moved or renamed. Raises RecordError.
    """
    output = Path(checkpoint.output)
    return Job(
        bundle_of(checkpoint.bundle),
        checkpoint.settings,
        checkpoint_path.with_suffix(output.suffix),
        overwrite=True,
        film=_moved(Path(checkpoint.film), output, checkpoint_path) if checkpoint.film else None,
        film_every=checkpoint.film_every,
        film_fps=checkpoint.film_fps,
        mask=find_file(checkpoint.mask, checkpoint_path) if checkpoint.mask else None,
        guide=find_file(checkpoint.guide, checkpoint_path) if checkpoint.guide else None,
        direction=tuple(find_file(file, checkpoint_path) for file in checkpoint.direction),
        extras=checkpoint.extras,
        changes=checkpoint.changes,
    )


def _moved(film: Path, output: Path, checkpoint_path: Path) -> Path:
    """The path of a film that may have moved along with the results next to it."""
    return checkpoint_path.parent / film.name if film.parent == output.parent else film
