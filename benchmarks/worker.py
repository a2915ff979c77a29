"""A contestant's process: `python worker.py SYSTEM FOLDER WIDTHxHEIGHT THREADS`, in the system's own environment.

It answers requests, a JSON object a line, on stdin; what the libraries print goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from rows import Case
from systems import SYSTEMS


def serve(candidate: Any, answers: Any) -> None:
    """Answers until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_answer(candidate, request)), file=answers, flush=True)


def _answer(candidate: Any, request: dict[str, Any]) -> Any:
    if request["ask"] == "gradient":
        import numpy as np

        np.save(request["path"], candidate.gradient())
        return None
    if request["ask"] == "facts":
        return {"versions": candidate.versions(), "peak_bytes": _peak_bytes()}
    return getattr(candidate, request["ask"])(request["count"])


def _peak_bytes() -> int:
    """Not ru_maxrss, which a child inherits from the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024


def main(name: str, folder: str, size: str, threads: str) -> None:
    """Makes the contestant and serves."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    system = next(system for system in SYSTEMS if system.name == name)
    module, maker = system.maker.split(":")
    width, height = (int(side) for side in size.split("x"))
    case = Case(Path(folder), (width, height))
    serve(getattr(importlib.import_module(module), maker)(case, int(threads), **system.options), answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
