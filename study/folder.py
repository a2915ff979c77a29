"""A study's result folder: where everything lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..models.files import atomic_write
from ..runtime.dream.results import Results
from .errors import ResultsError


@dataclass(frozen=True)
class Folder:
    """`report.html`, `summary.csv` and `.json`, and the folders `inputs`, `cells` and `figures`."""

    path: Path

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    @property
    def summary_json(self) -> Path:
        """All the numbers; `figures` and the report are made from it."""
        return self.path / "summary.json"

    @property
    def summary_csv(self) -> Path:
        """One line for each cell."""
        return self.path / "summary.csv"

    @property
    def figures(self) -> Path:
        """Where the figures in print quality go."""
        return self.path / "figures"

    def results(self, cell: str) -> Results:
        """The files of one cell."""
        return Results(self.path / "cells" / cell / f"{cell}.png")

    def snapshots(self, cell: str) -> dict[int, Path]:
        """The pictures of one cell by the number of updates, first to last."""
        start = f"{cell}-step"
        found = {}
        for path in self.results(cell).picture.parent.glob("*.png"):
            number = path.stem[len(start) :]
            if path.stem.startswith(start) and number.isdecimal():
                found[int(number)] = path
        return dict(sorted(found.items()))

    def original(self, picture: Path) -> Path:
        """The copy of an input picture."""
        return self.path / "inputs" / picture.name

    def shrunk(self, picture: Path) -> Path:
        """An input picture as small as it is dreamed."""
        return self.path / "inputs" / f"{picture.stem}-shrunk.png"

    def write(self, path: Path, data: bytes) -> None:
        """Raises ResultsError."""
        try:
            atomic_write(path, data)
        except OSError as error:
            raise ResultsError(f"cannot write {path} ({error.strerror}): make room or choose another folder") from error
