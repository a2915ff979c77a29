"""The results of benchmarks/device.sh: a file of JSON lines for each section, each line a row."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from rows import WidthHeight

SIZES: tuple[WidthHeight, ...] = ((512, 384), (1024, 768))
WARM_UP, STEPS = 20, 100
# From this relative error of a loss on, compared with the CPU's, results are wrong and their times mean nothing.
LOSS_RTOL = 1e-4


def write_row(file: Path, **row: Any) -> None:
    """Appends a row to a section's file and prints it, so that a section that is stopped keeps what it has."""
    line = json.dumps(row)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{line}\n")
    print(line, flush=True)


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Returns a section's rows; none where it has no file."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def times_of(seconds: list[float]) -> dict[str, float]:
    """Returns the median and the first and third quartile of some seconds, in milliseconds."""
    low, median, high = statistics.quantiles(seconds, n=4)
    return {"median_ms": 1e3 * median, "low_ms": 1e3 * low, "high_ms": 1e3 * high}


def size_name(size: WidthHeight) -> str:
    """Returns a size as in 512x384."""
    return "{}x{}".format(*size)
