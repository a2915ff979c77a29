"""Runs the parts of the benchmark and collects their results."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from arguments import Arguments
from environments import FIXTURES_ENVIRONMENT, Pythons, select_available
from job import time_whole_job
from machine import describe_machine
from rows import ROWS, SCALING_SIZES, STANDARD_ROW, STANDARD_SIZE, Case, Row, WidthHeight
from runner import BenchmarkError, Candidate, run_interleaved, time_cold_start
from summary import quartiles, summarise

FIXTURES = Path(__file__).with_name("fixtures.py")
_STARTS = 7  # cold starts of each system


class Benchmark:
    """A run of the benchmark with fixtures in `folder`; each part adds to `results`, the content of results.json."""

    def __init__(self, args: Arguments, pythons: Pythons, folder: Path) -> None:
        self.args, self.pythons, self.folder = args, pythons, folder
        self.systems, skipped = select_available(args.systems, pythons)
        self.results: dict[str, Any] = {
            "schema": 1,
            "date": datetime.now(timezone.utc).date().isoformat(),
            "machine": describe_machine(),
            "threads": args.plan.threads,
            "versions": {},
            "skipped": skipped,
        }

    def run(self) -> dict[str, Any]:
        """Runs the parts and returns `results`. Raises BenchmarkError, also as its subclass WrongResultError."""
        for name, reason in self.results["skipped"].items():
            log(f"skipped: {name} ({reason})")
        parts = {"steps": self._steps, "start": self._start, "job": self._job, "scaling": self._scaling}
        for part in self.args.parts:
            self.results[part] = parts[part]()
        return self.results

    def _steps(self) -> list[dict[str, Any]]:
        return [self._time_case(row, size) for row in self.args.rows for size in self.args.sizes]

    def _time_case(self, row: Row, size: WidthHeight) -> dict[str, Any]:
        case = self._prepare_case(row, size)
        log(f"{row.title}, {case.size_name}")
        candidates = {system.name: Candidate(system, case) for system in self.systems}
        measurements, absent = run_interleaved(candidates, self.pythons, self.args.plan, log)
        self.results["skipped"] |= absent
        self.systems = [system for system in self.systems if system.name not in absent]
        self.results["versions"] |= {name: measurement.versions for name, measurement in measurements.items()}
        times = summarise(measurements, self.systems)
        return {"row": row.name, "size": list(size), "gflop": _gflop(case), "systems": times}

    def _start(self) -> dict[str, list[float]]:
        """Returns, for each system, the seconds from each cold start to the first gradient; the systems take turns."""
        case = self._prepare_case(_row(STANDARD_ROW), STANDARD_SIZE)
        log(f"cold starts, {case.size_name}")
        candidates = [Candidate(system, case) for system in self.systems if not system.is_floor]
        times: dict[str, list[float]] = {candidate.system.name: [] for candidate in candidates}
        for _ in range(_STARTS):
            for candidate in candidates:
                python = self.pythons[candidate.system.environment]
                times[candidate.system.name].append(time_cold_start(candidate, python, self.args.plan.threads))
        return times

    def _job(self) -> dict[str, Any] | None:
        case = self._prepare_case(_row(STANDARD_ROW), STANDARD_SIZE)
        system = next((system for system in self.systems if system.is_onnxdream), None)
        if system is None:
            return None
        log(f"a dream of {self.args.job_steps} steps, {case.size_name}, {system.name}")
        plan = self.args.plan
        times = time_whole_job(Candidate(system, case), self.pythons, self.args.job_steps, plan.threads)
        return {"system": system.name, **times}

    def _scaling(self) -> list[dict[str, Any]]:
        """Times onnxdream's CPU provider on sizes of one shape, also as ms per GFLOP of convolution."""
        system = next((system for system in self.systems if system.name == "cpu"), None)
        if system is None:
            return []
        cases = {"{}x{}".format(*size): self._prepare_case(_row(STANDARD_ROW), size) for size in SCALING_SIZES}
        log(f"scaling, {', '.join(cases)}")
        candidates = {name: Candidate(system, case) for name, case in cases.items()}
        measurements, _ = run_interleaved(candidates, self.pythons, self.args.plan, log)
        lines = []
        for name, measurement in measurements.items():
            times, gflop = quartiles(measurement.rounds), _gflop(cases[name])
            lines.append(
                {"size": list(cases[name].size), "gflop": gflop, **times, "ms_per_gflop": times["median_ms"] / gflop}
            )
        return lines

    def _prepare_case(self, row: Row, size: WidthHeight) -> Case:
        """Returns the case, and makes its fixtures if they are missing, for all sizes of its row at once."""
        case = Case(self.folder / row.name, size)
        if not case.gradient.exists():
            sizes = set(self.args.sizes if "steps" in self.args.parts else ())
            if row.name == STANDARD_ROW:
                sizes |= {STANDARD_SIZE} | set(SCALING_SIZES if "scaling" in self.args.parts else ())
            log(f"making the bundle, the weights and the reference gradients of {row.title}")
            texts = ["{}x{}".format(*size) for size in sorted(sizes)]
            python = self.pythons[FIXTURES_ENVIRONMENT]
            command = [python, FIXTURES, case.folder, row.backbone, row.layer_set, row.objective, *texts]
            process = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
            if process.returncode:
                error = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
                raise BenchmarkError(f"making the fixtures of {row.name} failed: {error}")
        return case


def log(line: str) -> None:
    """Prints a line of progress or an error to stderr; stdout is for the tables."""
    print(line, file=sys.stderr, flush=True)


def _gflop(case: Case) -> float:
    """Returns the GFLOP of convolution in a step, which `fixtures` has counted."""
    return float(json.loads((case.folder / "forward.json").read_text())["gflop"][case.size_name])


def _row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)
