"""Measures many pictures: what workers gain, and what they cost.

`python benchmarks/batch.py [PICTURES]` dreams that many copies of a photograph (40) in turns: in one process, by one
worker and by two, each with one thread, and in two processes that know nothing of each other, which shows what the
machine itself allows. Times are warm: from the first picture of each process on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from onnxdream.runtime import PRESETS, Bundle, Execution
from onnxdream.runtime.batch.run import Reporter, dream_many
from onnxdream.runtime.dream.writer import Job
from onnxdream.runtime.image.source import Source

_PHOTO = Path(__file__).parents[1] / "examples" / "cat.jpg"
_SIZE = 256  # pixels of the longer side
_ROUNDS = 3


def seconds_a_picture(folder: Path, count: int, workers: int | None) -> float:
    """Dreams copies of the photograph, and returns the warm seconds between two pictures that are done."""
    sources = [Source(folder / f"{number:03}.jpg") for number in range(count)]
    for source in sources:
        shutil.copy(_PHOTO, source.path)
    execution = Execution("cpu", threads=workers or 1)
    settings = replace(PRESETS["creatures"].settings, max_size=_SIZE, snapshots=(), execution=execution)
    ends: list[float] = []

    def log(line: str) -> None:
        if ", saved as " in line:
            ends.append(time.perf_counter())

    job = Job(Bundle.load("lite0"), settings, folder / "out", extras=False)
    outcome = dream_many(job, sources, Reporter(log, log), workers)
    assert outcome.done == count, outcome
    first = workers or 1
    return (ends[-1] - ends[first - 1]) / (count - first)


def _apart(count: int) -> float:
    """The same by two processes that know nothing of each other."""
    command = [sys.executable, __file__, str(count // 2), "alone"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return float(np.mean([float(one.communicate()[0]) for one in both])) / 2


def _in_a_new_folder(count: int, workers: int | None) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return seconds_a_picture(Path(folder), count, workers)


def main(count: int) -> None:
    """Prints the seconds of a picture in each way, and the ratios, over some rounds in turns."""
    rounds = []
    for _ in range(_ROUNDS):
        rounds.append([*(_in_a_new_folder(count, workers) for workers in (None, 1, 2)), _apart(count)])
        alone, one, two, apart = rounds[-1]
        print(f"alone {alone:.3f} s, one worker {one:.3f}, two {two:.3f}, two apart {apart:.3f}", flush=True)
    alone, one, two, apart = np.array(rounds).T
    print(f"overhead of one worker: {100 * (np.median(one / alone) - 1):.1f} %")
    print(f"efficiency of two workers: {np.median(alone / (2 * two)):.2f}")
    print(f"efficiency of two processes apart, the machine's own limit: {np.median(alone / (2 * apart)):.2f}")


if __name__ == "__main__":
    pictures = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    if sys.argv[2:] == ["alone"]:
        print(_in_a_new_folder(pictures, None))
    else:
        main(pictures)
