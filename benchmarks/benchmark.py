"""One run of the benchmark, part by part."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from contest import Contestant, ContestError, cold_start, hold
from environments import MAKER, Pythons, sort_out
from job import whole_job
from machine import machine
from order import Order
from rows import HOME_ROW, HOME_SIZE, ROWS, SCALING_SIZES, Case, Row, Size
from summary import spread, summary

MATERIAL = Path(__file__).with_name("material.py")
_STARTS = 7


class Benchmark:
    """One run, in a folder of its own; `results` grows part by part."""

    def __init__(self, order: Order, pythons: Pythons, folder: Path) -> None:
        self.order, self.pythons, self.folder = order, pythons, folder
        self.systems, skipped = sort_out(order.systems, pythons)
        self.results: dict[str, Any] = {
            "schema": 1,
            "date": datetime.now(timezone.utc).date().isoformat(),
            "machine": machine(),
            "threads": order.plan.threads,
            "versions": {},
            "skipped": skipped,
        }

    def run(self) -> dict[str, Any]:
        """Raises ContestError; WrongResultError is one."""
        for name, reason in self.results["skipped"].items():
            say(f"skipped: {name} ({reason})")
        parts = {"steps": self._steps, "start": self._start, "job": self._job, "scaling": self._scaling}
        for part in self.order.parts:
            self.results[part] = parts[part]()
        return self.results

    def _steps(self) -> list[dict[str, Any]]:
        return [self._case(row, size) for row in self.order.rows for size in self.order.sizes]

    def _case(self, row: Row, size: Size) -> dict[str, Any]:
        case = self._made(row, size)
        say(f"{row.title}, {case.size_name}")
        contestants = {system.name: Contestant(system, case) for system in self.systems}
        entries, absent = hold(contestants, self.pythons, self.order.plan, say)
        self.results["skipped"] |= absent
        self.systems = [system for system in self.systems if system.name not in absent]
        self.results["versions"] |= {name: entry.versions for name, entry in entries.items()}
        found = summary(entries, self.systems)
        return {"row": row.name, "size": list(size), "gflop": _gflop(case), "systems": found}

    def _start(self) -> dict[str, list[float]]:
        """Seconds to the first gradient, by system, start by start; the systems take turns here too."""
        case = self._made(_row(HOME_ROW), HOME_SIZE)
        say(f"cold starts, {case.size_name}")
        contestants = [Contestant(system, case) for system in self.systems if not system.is_floor]
        times: dict[str, list[float]] = {contestant.system.name: [] for contestant in contestants}
        for _ in range(_STARTS):
            for contestant in contestants:
                python = self.pythons[contestant.system.environment]
                times[contestant.system.name].append(cold_start(contestant, python, self.order.plan.threads))
        return times

    def _job(self) -> dict[str, Any] | None:
        case = self._made(_row(HOME_ROW), HOME_SIZE)
        ours = next((system for system in self.systems if system.is_ours), None)
        if ours is None:
            return None
        say(f"a dream of {self.order.job_steps} steps, {case.size_name}, {ours.name}")
        found = whole_job(Contestant(ours, case), self.pythons, self.order.job_steps, self.order.plan.threads)
        return {"system": ours.name, **found}

    def _scaling(self) -> list[dict[str, Any]]:
        """Our CPU provider on sizes of one shape: its time for a GFLOP of convolution."""
        ours = next((system for system in self.systems if system.name == "cpu"), None)
        if ours is None:
            return []
        cases = {"{}x{}".format(*size): self._made(_row(HOME_ROW), size) for size in SCALING_SIZES}
        say(f"scaling, {', '.join(cases)}")
        contestants = {name: Contestant(ours, case) for name, case in cases.items()}
        entries, _ = hold(contestants, self.pythons, self.order.plan, say)
        lines = []
        for name, entry in entries.items():
            found, gflop = spread(entry.rounds), _gflop(cases[name])
            lines.append(
                {"size": list(cases[name].size), "gflop": gflop, **found, "ms_per_gflop": found["median_ms"] / gflop}
            )
        return lines

    def _made(self, row: Row, size: Size) -> Case:
        """The case with its material, all sizes of its row made at once."""
        case = Case(self.folder / row.name, size)
        if not case.gradient.exists():
            sizes = set(self.order.sizes if "steps" in self.order.parts else ())
            if row.name == HOME_ROW:
                sizes |= {HOME_SIZE} | set(SCALING_SIZES if "scaling" in self.order.parts else ())
            say(f"making the bundle, the weights and the reference gradients of {row.title}")
            texts = ["{}x{}".format(*size) for size in sorted(sizes)]
            words = [MATERIAL, case.folder, row.backbone, row.layer_set, *texts]
            done = subprocess.run(
                [str(self.pythons[MAKER]), *map(str, words)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise ContestError(f"material of {row.name}: {(done.stderr.strip().splitlines() or [''])[-1]}")
        return case


def say(line: str) -> None:
    """For who waits."""
    print(line, file=sys.stderr, flush=True)


def _gflop(case: Case) -> float:
    return float(json.loads((case.folder / "forward.json").read_text())["gflop"][case.size_name])


def _row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)
