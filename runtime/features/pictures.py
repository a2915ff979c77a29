"""The pictures of what is not a channel of an atlas, each with a record; those of a walk also side by side."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats
from ...models.files import atomic_write
from ..errors import OutputError
from ..image.formats.codec import encode_picture
from ..image.source import SourceFile, file_hash
from .drawing.aim import Aim
from .drawing.draw import Drawn
from .request import FeatureRequest


class Pictures:
    """The files of aims in a request's folder.

    Raises OutputError where one of them exists, unless the request overwrites it, or cannot be written.
    """

    def __init__(self, request: FeatureRequest, aims: list[Aim]) -> None:
        self.folder, self._request, self._aims = request.output, request, aims
        self._drawn: dict[Aim, list[Drawn[Aim]]] = {}

    def __enter__(self) -> Pictures:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._failure(error) from error
        existing = [path for aim in self._aims for path in self._files(aim) if path.exists()]
        if existing and not self._request.overwrite:
            raise OutputError(f"{existing[0]} exists: choose another --output, or replace it with --overwrite")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def is_empty(self) -> bool:
        return not self._drawn

    def missing(self, aims: list[Aim]) -> list[Aim]:
        """Returns the aims that are not drawn yet."""
        return [aim for aim in aims if aim not in self._drawn]

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
                atomic_write(self._record_of(aim), _encoded(self._record(aim.series, aim)))
        except OSError as error:
            raise self._failure(error) from error

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

    def _files(self, aim: Aim) -> list[Path]:
        """All files that an aim leaves, with those of its series."""
        pictures = [self._picture(aim, number) for number in range(self._request.settings.diversity)]
        return [*pictures, self._record_of(aim), *([self._strip_of(aim.series)] if aim.series else [])]

    def _strip_of(self, series: str) -> Path:
        return self.folder / f"{series}.png"

    def _picture(self, aim: Aim, number: int = 0) -> Path:
        return self.folder / f"{aim.file_stem}{f'-{number + 1}' if number else ''}.png"

    def _record_of(self, aim: Aim) -> Path:
        return self.folder / f"{aim.series or aim.file_stem}.json"

    def _record(self, series: str | None, aim: Aim) -> dict[str, Any]:
        """What is written of an aim, or of all aims of its series that are drawn."""
        request, ways = self._request, self._request.ways
        assert ways is not None
        drawn = [one for ones in self._drawn.values() for one in ones if one.subject is aim or series]
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


def _file(path: Path) -> dict[str, Any]:
    return asdict(SourceFile(path.name, file_hash(path), str(path.resolve())))


def _encoded(record: dict[str, Any]) -> bytes:
    return f"{json.dumps(record, indent=1)}\n".encode()
