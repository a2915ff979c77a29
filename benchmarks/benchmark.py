"""One run of the benchmark, part by part."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from arguments import Arguments
from environments import MAKER, Pythons, sort_out
from job import whole_job
from machine import machine
from rows import HOME_ROW, HOME_SIZE, ROWS, SCALING_SIZES, Case, Row, Size
from runner import BenchmarkError, Candidate, cold_start, run_interleaved
from summary import spread, summary

MATERIAL = Path(__file__).with_name("fixtures.py")
_STARTS = 7


class Benchmark:
    """One run, in a folder of its own; `results` grows part by part."""

    def __init__(self, arguments: Arguments, pythons: Pythons, folder: Path) -> None:
        self.arguments, self.pythons, self.folder = arguments, pythons, folder
        self.systems, skipped = sort_out(arguments.systems, pythons)
        self.results: dict[str, Any] = {
            "schema": 1,
            "date": datetime.now(timezone.utc).date().isoformat(),
            "machine": machine(),
            "threads": arguments.plan.threads,
            "versions": {},
            "skipped": skipped,
        }

    def run(self) -> dict[str, Any]:
        """Raises BenchmarkError; WrongResultError is one."""
        for name, reason in self.results["skipped"].items():
            log(f"skipped: {name} ({reason})")
        parts = {"steps": self._steps, "start": self._start, "job": self._job, "scaling": self._scaling}
        for part in self.arguments.parts:
            self.results[part] = parts[part]()
        return self.results

    def _steps(self) -> list[dict[str, Any]]:
        return [self._case(row, size) for row in self.arguments.rows for size in self.arguments.sizes]

    def _case(self, row: Row, size: Size) -> dict[str, Any]:
        case = self._made(row, size)
        log(f"{row.title}, {case.size_name}")
        candidates = {system.name: Candidate(system, case) for system in self.systems}
        entries, absent = run_interleaved(candidates, self.pythons, self.arguments.plan, log)
        self.results["skipped"] |= absent
        self.systems = [system for system in self.systems if system.name not in absent]
        self.results["versions"] |= {name: entry.versions for name, entry in entries.items()}
        found = summary(entries, self.systems)
        return {"row": row.name, "size": list(size), "gflop": _gflop(case), "systems": found}

    def _start(self) -> dict[str, list[float]]:
        """Seconds to the first gradient, by system, start by start; the systems take turns here too."""
        case = self._made(_row(HOME_ROW), HOME_SIZE)
        log(f"cold starts, {case.size_name}")
        candidates = [Candidate(system, case) for system in self.systems if not system.is_floor]
        times: dict[str, list[float]] = {candidate.system.name: [] for candidate in candidates}
        for _ in range(_STARTS):
            for candidate in candidates:
                python = self.pythons[candidate.system.environment]
                times[candidate.system.name].append(cold_start(candidate, python, self.arguments.plan.threads))
        return times

    def _job(self) -> dict[str, Any] | None:
        case = self._made(_row(HOME_ROW), HOME_SIZE)
        ours = next((system for system in self.systems if system.is_ours), None)
        if ours is None:
            return None
        log(f"a dream of {self.arguments.job_steps} steps, {case.size_name}, {ours.name}")
        found = whole_job(Candidate(ours, case), self.pythons, self.arguments.job_steps, self.arguments.plan.threads)
        return {"system": ours.name, **found}

    def _scaling(self) -> list[dict[str, Any]]:
        """Our CPU provider on sizes of one shape: its time for a GFLOP of convolution."""
        ours = next((system for system in self.systems if system.name == "cpu"), None)
        if ours is None:
            return []
        cases = {"{}x{}".format(*size): self._made(_row(HOME_ROW), size) for size in SCALING_SIZES}
        log(f"scaling, {', '.join(cases)}")
        candidates = {name: Candidate(ours, case) for name, case in cases.items()}
        entries, _ = run_interleaved(candidates, self.pythons, self.arguments.plan, log)
        lines = []
        for name, entry in entries.items():
            found, gflop = spread(entry.rounds), _gflop(cases[name])
            lines.append(
                {"size": list(cases[name].size), "gflop": gflop, **found, "ms_per_gflop": found["median_ms"] / gflop}
            )
        return lines

    def _made(self, row: Row, size: Size) -> Case:
        """The case with its fixtures, all sizes of its row made at once."""
        case = Case(self.folder / row.name, size)
        if not case.gradient.exists():
            sizes = set(self.arguments.sizes if "steps" in self.arguments.parts else ())
            if row.name == HOME_ROW:
                sizes |= {HOME_SIZE} | set(SCALING_SIZES if "scaling" in self.arguments.parts else ())
            log(f"making the bundle, the weights and the reference gradients of {row.title}")
            texts = ["{}x{}".format(*size) for size in sorted(sizes)]
            words = [MATERIAL, case.folder, row.backbone, row.layer_set, *texts]
            done = subprocess.run(
                [str(self.pythons[MAKER]), *map(str, words)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise BenchmarkError(f"fixtures of {row.name}: {(done.stderr.strip().splitlines() or [''])[-1]}")
        return case


def log(line: str) -> None:
    """For who waits."""
    print(line, file=sys.stderr, flush=True)


def _gflop(case: Case) -> float:
    return float(json.loads((case.folder / "forward.json").read_text())["gflop"][case.size_name])


def _row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)
