"""How much memory a bundle takes: `python -m onnxdream.runtime.footprint BUNDLE SIDE` prints bytes, as JSON.

Run in a process of its own, since a process never gets smaller than it once was. The exporter runs it for two sizes
and keeps what a pixel costs in the bundle.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from pathlib import Path

import numpy as np

from .bundle.bundle import Bundle
from .bundle.sessions import Session
from .provider.machine import Machine, usable_threads


def footprint(path: str, side: int) -> dict[str, int]:
    """Peak memory before the bundle is loaded and after two gradients of a square picture, on the CPU."""
    before = peak_bytes()
    bundle = Bundle.load(path)
    session = Session(bundle, side, side, Machine("cpu", usable_threads()))
    image = np.zeros((3, side, side), np.float32)
    for _ in range(2):
        session.evaluate(image, np.ones(len(bundle.metadata.layers), np.float32))
    return {"before": before, "after": peak_bytes()}


def peak_bytes() -> int:
    """The most memory that this process has had so far, in bytes."""
    try:
        # Not ru_maxrss, which a child inherits from the process that started it.
        status = Path("/proc/self/status").read_text()
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    print(json.dumps(footprint(sys.argv[1], int(sys.argv[2]))))
