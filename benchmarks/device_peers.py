"""Times PyTorch on a GPU: `python benchmarks/device_peers.py FILE NAME FORM-PRECISION... [--device cpu]`.

NAME is a built-in bundle, whose network and weights PyTorch gets. FORM is eager, graph or compile, PRECISION fp32, tf32
or fp16. All run in channels-last layout. Each row has the times of steps, the peak of PyTorch's own memory, and the
cosine between the gradient and that of onnxdream's CPU provider. A variant that fails costs no other variant.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from device_case import NAMES, image_of, make_case
from device_rows import SIZES, STEPS, WARM_UP, size_name, times_of, write_row
from peer_pytorch import PyTorch
from rows import Case

from onnxdream.models.arrays import Image
from onnxdream.runtime import Bundle
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.provider.machine import Machine, usable_threads


def measure(case: Case, variant: str, device: str, expected: Image) -> dict[str, Any]:
    """Returns a row of a variant such as graph-fp16. Raises what PyTorch raises."""
    form, precision = variant.split("-")
    on_gpu = device == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    system = PyTorch(case, usable_threads(), device, form, precision)
    row: dict[str, Any] = {"cosine": cosine(system.gradient(), expected)}
    system.step_seconds(WARM_UP if on_gpu else 1)
    row |= times_of(system.step_seconds(STEPS if on_gpu else 3))
    return row | ({"peak_bytes": torch.cuda.max_memory_allocated()} if on_gpu else {})


def cosine(one: Image, other: Image) -> float:
    """Returns the cosine of the angle between two arrays."""
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def main(argv: list[str]) -> int:
    """Measures all variants at all sizes; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("variants", nargs="+")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    given, problems = parser.parse_args(argv), []
    bundle = Bundle.built_in(given.name)
    objective = Objective(np.ones(len(bundle.metadata.layers), np.float32))
    for size in SIZES:
        session = Session(bundle, size[1], size[0], Machine("cpu", usable_threads()))
        _, expected = session.evaluate(image_of(size), objective)
        with tempfile.TemporaryDirectory() as folder:
            case = make_case(given.name, size, Path(folder))
            for variant in given.variants:
                row = {"system": f"pytorch {variant}", "network": given.name, "size": size_name(size)}
                try:
                    row |= measure(case, variant, given.device, expected)
                except Exception as error:  # PyTorch's errors have no common base class
                    problems.append(f"{variant}: {type(error).__name__}: {error}".splitlines()[0][:200])
                    row["problem"] = problems[-1]
                write_row(given.file, **row)
    if problems:
        print(f"{len(problems)} failed, first {problems[0]}")
    return min(1, len(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
