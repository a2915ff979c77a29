"""The files of a dream that travel: its pictures to a node, and the results back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...models.files import atomic_write
from ..dream.checkpoint import Checkpoint, read_checkpoint
from ..dream.record import Record, read_record
from ..dream.results import Results
from ..dream.writer import Job
from ..errors import OutputError
from ..image.files import read_picture
from ..image.source import Source, SourceFile


def pack_inputs(job: Job, source: Source) -> dict[Path, bytes]:
    """Returns the bytes of the files that a dream reads, by their paths. Raises PictureError."""
    packed = {}
    for path in _inputs(job, source):
        try:
            packed[path] = path.read_bytes()
        except OSError:
            read_picture(path)  # whose error says more
            raise
    return packed


class Copies:
    """Copies of the input files of a dream in a folder of this node, and a folder `results` for what it writes.

    `inputs` are those of `pack_inputs`, `target` is the folder of the results on the machine that they come from.
    """

    def __init__(self, folder: Path, inputs: Mapping[Path, bytes], target: Path) -> None:
        self.results = folder / "results"
        self.results.mkdir()
        self._originals = {self.results: target}
        for number, (path, data) in enumerate(inputs.items()):
            copy = folder / str(number) / path.name
            copy.parent.mkdir()
            copy.write_bytes(data)
            self._originals[copy] = path

    def of(self, path: Path) -> Path:
        """Where the copy of a file is; a path without a copy stays."""
        return next((copy for copy, original in self._originals.items() if original == path), path)

    def retell(self, text: str) -> str:
        """Returns a text with the paths of the originals in place of those of the copies."""
        for copy, original in self._originals.items():
            text = text.replace(str(copy), str(original))
        return text

    def pack_results(self) -> dict[str, bytes]:
        """Returns the bytes of what the dream has written, by the names of the files."""
        return {path.name: path.read_bytes() for path in sorted(self.results.iterdir())}


def find_place(job: Job, source: Source, result: Path) -> Results:
    """Returns where the results of a dream go, whose name `result` is reserved. Raises OutputError."""
    inputs = list(_inputs(job, source))
    return Results.for_source(source.path, result, True, job.settings.snapshots, inputs, job.extras)


def store_results(job: Job, source: Source, result: Path, files: Mapping[str, bytes]) -> None:
    """Writes what `Copies.pack_results` has returned; record and checkpoint name the originals. Raises OutputError."""
    results, paths = find_place(job, source, result), _recorded_paths(job, source)
    for name, data in files.items():
        path = result.with_name(name)
        if path in results.foreign:
            continue
        if path == results.record:
            record = read_record(data.decode(), name)
            data = replace(record, **_relocated(record, paths, job.direction)).to_json().encode()
        try:
            atomic_write(path, data)
        except OSError as error:
            raise OutputError(
                f"cannot write {path} ({error.strerror}): make room or choose another --output"
            ) from error
    if results.checkpoint.name in files:
        checkpoint = read_checkpoint(results.checkpoint)
        moved = replace(checkpoint, output=str(result.resolve()), **_relocated(checkpoint, paths, job.direction))
        results.write_checkpoint(moved)
    results.remove_earlier_files(files)


def _inputs(job: Job, source: Source) -> Iterator[Path]:
    if source.has_file:
        yield source.path
    yield from (path for path in (job.mask, job.guide, *job.direction) if path)


def _recorded_paths(job: Job, source: Source) -> dict[str, Path | None]:
    """The files that records and checkpoints name, by the names of their fields."""
    picture = source.path if source.has_file else None
    return {"bundle": job.bundle.path, "picture": picture, "mask": job.mask, "guide": job.guide}


def _relocated(
    document: Record | Checkpoint, paths: Mapping[str, Path | None], direction: Sequence[Path]
) -> dict[str, Any]:
    """Those fields of a record or a checkpoint, and the direction, with their paths on this machine."""
    found: dict[str, SourceFile | None] = {name: getattr(document, name) for name in paths}
    moved: dict[str, Any] = {
        name: file and replace(file, path=str(path.resolve()) if path else None)
        for (name, file), path in zip(found.items(), paths.values(), strict=True)
    }
    pairs = zip(document.direction, direction, strict=True)
    return {**moved, "direction": tuple(replace(file, path=str(path.resolve())) for file, path in pairs)}
