"""A runner: each system in a process and an environment of its own, all alive at once, and one of them awake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from environments import Pythons
from machine import first_cores
from rows import Case
from systems import System

WORKER = Path(__file__).with_name("worker.py")
# Between two ways of computing the same fp32 gradient; in lower precision it is told, not judged.
MIN_COSINE, NORM_RTOL = 0.9999, 1e-3


class BenchmarkError(RuntimeError):
    """A contestant cannot start, or died."""


class WrongResultError(BenchmarkError):
    """A contestant computes another gradient than TensorFlow: its time means nothing."""


@dataclass(frozen=True)
class RunPlan:
    """How a runner is run: `rounds` in which each system makes `steps` steps, on `threads` CPU threads."""

    rounds: int
    steps: int
    threads: int


@dataclass(frozen=True)
class Candidate:
    """A system on a case."""

    system: System
    case: Case


@dataclass
class Entry:
    """What a contestant did: seconds of its steps, and of bare gradients where it has them, round by round."""

    versions: dict[str, str]
    cosine: float | None = None
    norm_ratio: float | None = None
    peak_bytes: int = 0
    rounds: list[list[float]] = field(default_factory=list)
    evaluations: list[list[float]] = field(default_factory=list)


class Worker:
    """A contestant's process, stopped (SIGSTOP, threads that spin included) whenever it is not asked for something.

    Its whole process group is stopped, since a library may have started helpers. Raises BenchmarkError.
    """

    def __init__(self, candidate: Candidate, python: Path, threads: int) -> None:
        self.system, self.case = candidate.system, candidate.case
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the process ends
        words = (self.system.name, str(self.case.folder), self.case.size_name, str(threads))
        self._process = subprocess.Popen(
            [str(python), str(WORKER), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # Python keeps its bytecode, as pip does of what it installs: a checkout is not compiled at each start.
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, first_cores(threads)),
        )

    def ask(self, what: str, **details: Any) -> Any:
        """Wakes it for one request."""
        self._signal(signal.SIGCONT)
        try:
            print(json.dumps({"ask": what, **details}), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline() if self._process.stdout else ""
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchmarkError(f"{self.system.name}: {self._stderr_tail()}")
        self._signal(signal.SIGSTOP)
        return json.loads(answer)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *failure: object) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it died; the next answer says so
            os.killpg(self._process.pid, number)

    def _stderr_tail(self) -> str:
        self._process.wait()
        self._log.seek(0)
        return (self._log.read().strip().splitlines() or ["it died without a word"])[-1][:300]


def run_interleaved(
    candidates: Mapping[str, Candidate], pythons: Pythons, plan: RunPlan, log: Callable[[str], None]
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Checks every contestant's gradient, then times them in turn; also says why a peer could not take part.

    Raises BenchmarkError before anything is timed, where a gradient is wrong or onnxdream itself cannot start.
    """
    entries: dict[str, Entry] = {}
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, candidate in candidates.items():
            python = pythons[candidate.system.environment]
            worker = stack.enter_context(Worker(candidate, python, plan.threads))
            try:
                entries[name] = _checked(worker)
            except BenchmarkError as error:
                if candidate.system.is_ours or isinstance(error, WrongResultError):
                    raise
                absent[name] = str(error)
                log(f"  {name} is absent: {error}")
                continue
            workers[name] = worker
            log(f"  {name}: {_agreement(entries[name])}")
        for number in range(plan.rounds):
            for name in _rotated(list(workers), number):
                _take_turn(workers[name], entries[name], plan.steps)
        for name, worker in workers.items():
            entries[name].peak_bytes = worker.ask("facts")["peak_bytes"]
    return entries, absent


def cold_start(candidate: Candidate, python: Path, threads: int) -> float:
    """Seconds from the start of a fresh process to its first gradient. Raises BenchmarkError."""
    started = time.perf_counter()
    with Worker(candidate, python, threads) as worker:
        _gradient(worker)
        return time.perf_counter() - started


def _checked(worker: Worker) -> Entry:
    """The entry of a system that computes what TensorFlow does, warmed up."""
    entry = Entry(worker.ask("facts")["versions"])
    if not worker.system.is_floor:
        found, expected = (
            array.astype(np.float64).ravel() for array in (_gradient(worker), np.load(worker.case.gradient))
        )
        norms = float(np.linalg.norm(found)), float(np.linalg.norm(expected))
        entry.cosine, entry.norm_ratio = float(found @ expected / (norms[0] * norms[1])), norms[0] / norms[1]
        right = entry.cosine >= MIN_COSINE and abs(entry.norm_ratio - 1) <= NORM_RTOL
        if worker.system.precision == "fp32" and not right:
            raise WrongResultError(f"{worker.system.name} at {worker.case.size_name}: {_agreement(entry)}")
    worker.ask("step_seconds", count=2)
    return entry


def _gradient(worker: Worker) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gradient.npy"
        worker.ask("gradient", path=str(path))
        return np.load(path)


def _take_turn(worker: Worker, entry: Entry, steps: int) -> None:
    entry.rounds.append(worker.ask("step_seconds", count=steps))
    if worker.system.is_ours:
        entry.evaluations.append(worker.ask("evaluation_seconds", count=steps))


def _rotated(names: list[str], number: int) -> list[str]:
    """Another one begins each round."""
    start = number % max(1, len(names))
    return names[start:] + names[:start]


def _agreement(entry: Entry) -> str:
    if entry.cosine is None:
        return "no gradient"
    return f"gradient cosine {entry.cosine:.7f}, norm ratio {entry.norm_ratio:.6f}"
