"""The numbers of a study, one row for each cell and one for each input picture, as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Set
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ..models.contract import IMAGENET_8BIT
from ..models.decoding import DecodeError, decoded_json
from .errors import ResultsError
from .folder import Folder

Status = Literal["done", "failed", "open"]


@dataclass(frozen=True)
class Input:
    """A picture of the study: `name` without and `file` with the ending, and its real and its shrunk size in pixels."""

    name: str
    file: str
    sha256: str
    width: int
    height: int
    shrunk_width: int
    shrunk_height: int
    colourfulness: float


@dataclass(frozen=True)
class Row:
    """The numbers of a cell: one picture dreamed with one bundle.

    `status` is done, failed (for the reason `problem`), or open, which means not run yet or stopped early. Losses are
    the weighted sums before the first and after the last update of the last octave. `width` and `height` are in pixels.
    """

    cell: str
    bundle: str
    backbone: str
    layer_set: str
    layers: tuple[str, ...]
    weights: str
    objective: str
    picture: str
    status: Status
    problem: str = ""
    key: str = ""
    steps: int = 0
    width: int = 0
    height: int = 0
    first_loss: float = 0.0
    last_loss: float = 0.0
    colourfulness: float = 0.0
    seconds: float = 0.0
    provider: str = ""


@dataclass(frozen=True)
class Summary:
    """All numbers of a study.

    `settings` are those of the grid, as a dict of JSON values. `changes` has a line for each that differs from the
    preset `paper`. `versions` are those of the packages that dreamed.
    """

    is_paper: bool
    settings: dict[str, Any]
    changes: tuple[str, ...]
    inputs: tuple[Input, ...]
    rows: tuple[Row, ...]
    versions: dict[str, str]

    @property
    def weights(self) -> list[str]:
        """The different sources of the cells' weights."""
        return list(dict.fromkeys(row.weights for row in self.rows))

    @property
    def is_imagenet(self) -> bool:
        """Whether all weights are ImageNet's, in 32 or 8 bits, so that the run can test the paper's claims."""
        return set(self.weights) <= {"imagenet", IMAGENET_8BIT, "auto"}

    def write(self, folder: Folder) -> None:
        """Writes summary.json and summary.csv. Raises ResultsError."""
        folder.write(folder.summary_json, (json.dumps(asdict(self), indent=2) + "\n").encode())
        text = io.StringIO()
        columns = [field.name for field in fields(Row)]
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        for row in self.rows:
            table.writerow({**asdict(row), "layers": " ".join(row.layers)})
        folder.write(folder.summary_csv, text.getvalue().encode(errors="replace"))


def read_summary(folder: Folder) -> Summary:
    """Reads the summary of a study from its result folder. Raises ResultsError."""
    try:
        return decoded_json(Summary, folder.summary_json.read_bytes())
    except OSError as error:
        raise ResultsError(
            f"{folder.path} does not contain a study ({error.strerror}): give the --output folder of an experiment"
        ) from None
    except DecodeError as error:
        raise ResultsError(
            f"{folder.summary_json} cannot be read ({error}): remove it and run the experiment again"
        ) from None


def require_same_study(folder: Folder, is_paper: bool, cells: Set[str]) -> None:
    """Raises ResultsError where a study would replace something else: a study of no common cell, or a foreign file."""
    if folder.summary_json.exists():
        earlier = read_summary(folder)
        if earlier.is_paper != is_paper or cells.isdisjoint(row.cell for row in earlier.rows):
            raise ResultsError(f"{folder.path} has the results of another study: choose another --output")
        return
    foreign = [path for path in (folder.report, folder.summary_csv) if path.exists()]
    if foreign:
        raise ResultsError(f"{foreign[0]} exists and is not that of a study: choose another --output")
