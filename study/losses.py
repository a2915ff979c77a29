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
    """

    layers: tuple[str, ...]
    totals: NDArray[np.float64] = field(repr=False)
    by_layer: NDArray[np.float64] = field(repr=False)

    def paper_points(self) -> list[tuple[int, float]]:
        """Returns five steps from the first to the last with their total losses, as the paper's fig. 18 shows them."""
        steps = np.unique(np.linspace(0, len(self.totals) - 1, _PAPER_POINTS).round().astype(int))
        return [(int(step), float(self.totals[step])) for step in steps]


def read_losses(path: Path) -> LossHistory:
    """Reads the losses that a dream wrote. Raises ResultsError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        table = np.array(rows, np.float64)
        return LossHistory(tuple(header[2:]), table[:, 1], table[:, 2:])
    except (OSError, ValueError, IndexError) as error:
        raise ResultsError(f"{path} cannot be read ({error}): delete it and run the experiment again") from None
