"""The process of a system: `python worker.py SYSTEM FOLDER WIDTHxHEIGHT THREADS`, in the system's own environment.

It reads requests from stdin and writes answers to stdout, each a line of JSON. What libraries print goes to stderr.
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


def serve(system: Any, answers: Any) -> None:
    """Answers requests until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_answer(system, request)), file=answers, flush=True)


def _answer(system: Any, request: dict[str, Any]) -> Any:
    if request["ask"] == "gradient":
        import numpy as np

        np.save(request["path"], system.gradient())
        return None
    if request["ask"] == "facts":
        return {"versions": system.versions(), "peak_bytes": _peak_bytes()}
    return getattr(system, request["ask"])(request["count"])


def _peak_bytes() -> int:
    """Returns the peak memory of this process.

    It is not ru_maxrss, which a process inherits from the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024


def main(name: str, folder: str, size: str, threads: str) -> None:
    """Creates the system and answers requests."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    system = next(system for system in SYSTEMS if system.name == name)
    module, class_name = system.implementation.split(":")
    width, height = (int(side) for side in size.split("x"))
    case = Case(Path(folder), (width, height))
    implementation = getattr(importlib.import_module(module), class_name)
    serve(implementation(case, int(threads), **system.options), answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
