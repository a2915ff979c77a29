"""Runs the whole benchmark: `python benchmarks/run.py`; docs/performance.md describes how to read the tables.

The gradient of every system is checked first. One that differs from TensorFlow's ends the run with exit code 1, and
no times are printed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from arguments import parse_arguments
from benchmark import Benchmark, log
from environments import EnvironmentsError, read_environments
from report import publish, report
from runner import BenchmarkError


def main(argv: list[str]) -> int:
    """Runs the benchmark; returns the exit code."""
    args = parse_arguments(argv)
    try:
        pythons = read_environments(args.environments)
        with tempfile.TemporaryDirectory() as folder:
            results = Benchmark(args, pythons, Path(folder)).run()
    except (EnvironmentsError, BenchmarkError) as error:
        log(f"error: {error}")
        return 1
    args.json.write_text(json.dumps(results, indent=1))
    print(report(results))
    if args.publish:
        publish(results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
