"""Measures a bundle's memory: `python -m onnxdream.runtime.footprint BUNDLE SIDE` prints bytes, as JSON.

It runs in a process of its own, since a process's peak memory never falls again. The exporter runs it for two sizes,
and stores the cost of a pixel in the bundle.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from .bundle.bundle import Bundle
from .bundle.objective import Objective
from .bundle.sessions import Session
from .provider.machine import Machine, usable_threads


def footprint(path: str, side: int) -> dict[str, int]:
    """Returns the peak memory in bytes before a bundle is loaded and after two gradients of a picture, on the CPU.

    `side` is the height and width of the picture in pixels. Raises OSError where the system does not tell.
    """
    before = peak_bytes()
    if not before:
        raise OSError("this system does not tell a process's peak memory")
    bundle = Bundle.load(path)
    session = Session(bundle, side, side, Machine("cpu", usable_threads()))
    image = np.zeros((3, side, side), np.float32)
    for _ in range(2):
        session.evaluate(image, Objective(np.ones(len(bundle.metadata.layers), np.float32)))
    return {"before": before, "after": peak_bytes()}


def peak_bytes() -> int:
    """Returns this process's peak memory so far, in bytes; 0 where the system does not tell, as on Windows."""
    with suppress(OSError, IndexError):
        # ru_maxrss would not do: a child inherits it from the process that started it.
        status = Path("/proc/self/status").read_text()
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return 0


if __name__ == "__main__":
    print(json.dumps(footprint(sys.argv[1], int(sys.argv[2]))))
