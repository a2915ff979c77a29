"""The benchmark, in one command: `python benchmarks/run.py`; README.md says how to read what it prints.

Every system is checked first: one whose gradient is not TensorFlow's ends the run, with exit code 1 and no time.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmark import Benchmark, say
from contest import ContestError
from environments import EnvironmentsError, read_environments
from order import read_order
from page import publish, report


def main(words: list[str]) -> int:
    """Runs the benchmark; returns the exit code."""
    order = read_order(words)
    try:
        pythons = read_environments(order.environments)
        with tempfile.TemporaryDirectory() as folder:
            results = Benchmark(order, pythons, Path(folder)).run()
    except (EnvironmentsError, ContestError) as error:
        say(f"error: {error}")
        return 1
    order.json.write_text(json.dumps(results, indent=1))
    print(report(results))
    if order.publish:
        publish(results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
