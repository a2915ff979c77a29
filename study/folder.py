"""The paths in a study's result folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..models.files import atomic_write
from ..runtime.dream.results import Results
from .errors import ResultsError


@dataclass(frozen=True)
class Folder:
    """A result folder: `report.html`, `summary.csv`, `summary.json`, and folders `inputs`, `cells` and `figures`."""

    path: Path

    @property
    def report(self) -> Path:
        """The report, one HTML page."""
        return self.path / "report.html"

    @property
    def summary_json(self) -> Path:
        """All numbers; the figures and the report are made from them."""
        return self.path / "summary.json"

    @property
    def summary_csv(self) -> Path:
        """The table of numbers, with one line for each cell."""
        return self.path / "summary.csv"

    @property
    def figures(self) -> Path:
        """The folder of the figures in print quality."""
        return self.path / "figures"

    def results(self, cell: str) -> Results:
        """The paths of the files of a cell, which is given by its name."""
        return Results(self.path / "cells" / cell / f"{cell}.png")

    def snapshots(self, cell: str) -> dict[int, Path]:
        """Finds the snapshots of a cell: the number of updates -> the picture's path, in ascending order."""
        start = f"{cell}-step"
        snapshots = {}
        for path in self.results(cell).picture.parent.glob("*.png"):
            number = path.stem[len(start) :]
            if path.stem.startswith(start) and number.isdecimal():
                snapshots[int(number)] = path
        return dict(sorted(snapshots.items()))

    def original(self, picture: Path) -> Path:
        """The path of the copy of an input picture."""
        return self.path / "inputs" / picture.name

    def shrunk(self, picture: Path) -> Path:
        """The path of an input picture shrunk to the size at which it is dreamed."""
        return self.path / "inputs" / f"{picture.stem}-shrunk.png"

    def write(self, path: Path, data: bytes) -> None:
        """Writes a file as a whole or not at all. Raises ResultsError."""
        try:
            atomic_write(path, data)
        except OSError as error:
            raise ResultsError(
                f"cannot write {path} ({error.strerror}): free some space or choose another folder"
            ) from error
