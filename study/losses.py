"""The losses of a cell over its steps, read from its CSV file."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import ResultsError

_PAPER_POINTS = 5


@dataclass(frozen=True)
class LossHistory:
    """The losses of a dream; row n is that of the picture after n updates.

    `totals`, float64 [steps + 1], are the weighted sums; `by_layer`, float64 [steps + 1, layers], is each layer's loss.
    `starts` are the rows at which octaves begin. Losses of different octaves cannot be compared, since their pictures
    have different sizes.
    """

    layers: tuple[str, ...]
    totals: NDArray[np.float64] = field(repr=False)
    by_layer: NDArray[np.float64] = field(repr=False)
    starts: tuple[int, ...] = (0,)

    def paper_points(self) -> list[tuple[int, float]]:
        """Returns five steps of the last octave with their total losses, as the paper's fig. 18 shows them."""
        first, last = self.starts[-1], len(self.totals) - 1
        steps = np.unique(np.linspace(first, last, _PAPER_POINTS).round().astype(int))
        return [(int(step), float(self.totals[step])) for step in steps]


def read_losses(path: Path) -> LossHistory:
    """Reads the losses that a dream wrote. Raises ResultsError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        table = np.array(rows, np.float64)
        if header[:3] != ["step", "octave", "total"]:
            raise ValueError("its columns are not those of this version")
        starts = np.unique(table[:, 1], return_index=True)[1]
        return LossHistory(tuple(header[3:]), table[:, 2], table[:, 3:], tuple(starts.tolist()))
    except (OSError, ValueError, IndexError) as error:
        raise ResultsError(f"{path} cannot be read ({error}): delete it and run the experiment again") from None
