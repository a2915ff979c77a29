"""The pictures of what is not a channel of an atlas, each with a record; those of a walk also side by side."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats
from ...models.files import atomic_write
from ..errors import OutputError
from ..image.formats.codec import encode_picture
from ..image.source import SourceFile
from .drawing.aim import Aim
from .drawing.draw import Drawn
from .request import FeatureRequest


class Pictures:
    """The files of aims in a request's folder. Aims that an earlier call of the same request finished stay as they are.

    Raises OutputError where all are finished or a file is of anything else, unless the request overwrites it, and where
    one cannot be written.
    """

    def __init__(self, request: FeatureRequest, aims: list[Aim]) -> None:
        self.folder, self._request, self._aims = request.output, request, aims
        self._drawn: dict[Aim, list[Drawn[Aim]]] = {}
        self._finished: set[Aim] = set()  # by an earlier call
        self._replaced: dict[Path, set[str]] = {}  # record -> the pictures of an earlier call that it lists
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._failure(error) from error
        if request.overwrite:
            self._replaced = {path: _listed(path) for path in map(self._record_of, aims)}
        else:
            self._finished = self._earlier_finished()

    @property
    def is_empty(self) -> bool:
        return not self._drawn

    def missing(self, aims: list[Aim]) -> list[Aim]:
        """Returns the aims that are not drawn yet."""
        return [aim for aim in aims if aim not in self._drawn and aim not in self._finished]

    def start_of(self, aims: list[Aim]) -> Floats | None:
        """Returns the parameters that the picture of the first aim starts from; None is noise."""
        follows = aims[0].follows
        return self._drawn[follows][0].parameters if follows else None

    def add(self, drawn: list[Drawn[Aim]]) -> None:
        """Writes the pictures of a batch, and their records. Raises OutputError."""
        try:
            for one in drawn:
                self._drawn.setdefault(one.subject, []).append(one)
                atomic_write(self._picture(one.subject, one.number), encode_picture(one.pixels, ".png")[0])
            for aim in dict.fromkeys(one.subject for one in drawn):
                atomic_write(self._record_of(aim), _encoded(self._record(aim)))
                self._remove_replaced(self._record_of(aim))
        except OSError as error:
            raise self._failure(error) from error

    def _remove_replaced(self, record: Path) -> None:
        """Removes what an earlier call drew and this one does not, as with less diversity or in a shorter walk.

        Raises OSError.
        """
        own = {path.name for aim in self._aims if self._record_of(aim) == record for path in self._pictures(aim)}
        for name in self._replaced.pop(record, set()) - own:
            (self.folder / name).unlink(missing_ok=True)

    def finish(self) -> Path:
        """Writes the strip of a walk; returns its path, or that of the last picture. Raises OutputError."""
        last = list(self._drawn)[-1]
        if last.series is None:
            return self._picture(last)
        path = self._strip_of(last.series)
        stations = sorted((one for ones in self._drawn.values() for one in ones), key=lambda one: one.subject.place)
        try:
            strip: NDArray[np.uint8] = np.concatenate([one.pixels for one in stations], axis=1)
            atomic_write(path, encode_picture(strip, ".png")[0])
        except OSError as error:
            raise self._failure(error) from error
        return path

    def _earlier_finished(self) -> set[Aim]:
        """The aims that are drawn already. Raises OutputError if there is nothing else to draw."""
        finished = {aim for aim in self._aims if self._is_finished(aim)}
        if len(finished) == len(self._aims):
            raise _conflict(self._picture(self._aims[0]))
        # The pictures of a walk start from parameters of others, which no file holds.
        return {aim for aim in finished if not aim.series}

    def _is_finished(self, aim: Aim) -> bool:
        """Whether an earlier call made all steps of an aim. Raises OutputError if its files are of anything else."""
        existing = [path for path in self._files(aim) if path.exists()]
        if not existing:
            return False
        try:
            earlier = json.loads(self._record_of(aim).read_text(encoding="utf-8"))
            is_same = {**earlier, "pictures": []} == json.loads(_encoded(self._record(aim)))
            finished = {one["file"] for one in earlier["pictures"] if one["steps"] == one["of_steps"]}
        except (OSError, ValueError, KeyError, TypeError):  # there is no record, or one of another program
            is_same = False
        if not is_same:
            raise _conflict(existing[0])
        return all(path.name in finished and path in existing for path in self._pictures(aim))

    def _files(self, aim: Aim) -> list[Path]:
        """All files that an aim leaves, with those of its series."""
        return [*self._pictures(aim), self._record_of(aim), *([self._strip_of(aim.series)] if aim.series else [])]

    def _pictures(self, aim: Aim) -> list[Path]:
        return [self._picture(aim, number) for number in range(self._request.settings.diversity)]

    def _strip_of(self, series: str) -> Path:
        return self.folder / f"{series}.png"

    def _picture(self, aim: Aim, number: int = 0) -> Path:
        return self.folder / f"{aim.file_stem}{f'-{number + 1}' if number else ''}.png"

    def _record_of(self, aim: Aim) -> Path:
        return self.folder / f"{aim.series or aim.file_stem}.json"

    def _record(self, aim: Aim) -> dict[str, Any]:
        """What is written of an aim, or of all aims of its series that are drawn."""
        request, ways = self._request, self._request.ways
        assert ways is not None
        drawn = [one for ones in self._drawn.values() for one in ones if one.subject is aim or aim.series]
        return {
            "bundle": request.bundle.name,
            "sha256": request.bundle.sha256,
            "features": [str(feature) for feature in request.features] or list(request.layers),
            "guide": _file(ways.guide) if ways.guide else None,
            "guide_by": ways.guide_by if ways.guide else None,
            "direction": [_file(path) for path in ways.direction],
            "position": ways.position,
            "walk": ways.walk,
            "settings": asdict(request.settings),
            "spectrum": request.spectrum,
            "pictures": [
                {
                    "name": str(one.subject),
                    "file": self._picture(one.subject, one.number).name,
                    "loss": one.loss,
                    "steps": one.steps,
                    "of_steps": one.of_steps,
                }
                for one in sorted(drawn, key=lambda one: (one.subject.place, one.number))
            ],
        }

    def _failure(self, error: OSError) -> OutputError:
        reason = error.strerror or str(error)
        return OutputError(f"cannot write pictures to {self.folder} ({reason}): make room or choose another --output")


def _conflict(path: Path) -> OutputError:
    return OutputError(f"{path} exists: choose another --output, or replace it with --overwrite")


def _listed(record: Path) -> set[str]:
    """The names of the pictures that an earlier record lists; none if it is no record."""
    try:
        names = {Path(one["file"]).name for one in json.loads(record.read_text(encoding="utf-8"))["pictures"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for name in names if name.startswith(f"{record.stem}-") and name.endswith(".png")}


def _file(path: Path) -> dict[str, Any]:
    return asdict(SourceFile.of(path))


def _encoded(record: dict[str, Any]) -> bytes:
    return f"{json.dumps(record, indent=1)}\n".encode()
