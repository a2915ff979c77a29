"""The benchmark, in one command: `python benchmarks/run.py`; README.md says how to read what it prints.

Every system is checked first: one whose gradient is not TensorFlow's ends the run, with exit code 1 and no time.
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


def main(words: list[str]) -> int:
    """Runs the benchmark; returns the exit code."""
    arguments = parse_arguments(words)
    try:
        pythons = read_environments(arguments.environments)
        with tempfile.TemporaryDirectory() as folder:
            results = Benchmark(arguments, pythons, Path(folder)).run()
    except (EnvironmentsError, BenchmarkError) as error:
        log(f"error: {error}")
        return 1
    arguments.json.write_text(json.dumps(results, indent=1))
    print(report(results))
    if arguments.publish:
        publish(results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
