"""Times systems in turn. Each has its own process in its own environment; all exist at once, and only one runs."""

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
# The tolerance of an fp32 gradient against TensorFlow's. In lower precision the agreement is reported, not checked.
MIN_COSINE, NORM_RTOL = 0.9999, 1e-3


class BenchmarkError(RuntimeError):
    """A system cannot start, or its process died."""


class WrongResultError(BenchmarkError):
    """A system's gradient is not TensorFlow's, so that its time means nothing."""


@dataclass(frozen=True)
class RunPlan:
    """How to time: in each of `rounds` rounds every system makes `steps` timed steps, on `threads` CPU threads."""

    rounds: int
    steps: int
    threads: int


@dataclass(frozen=True)
class Candidate:
    """A system to be timed on a case."""

    system: System
    case: Case


@dataclass
class Measurement:
    """What was measured of a system.

    `rounds` are the seconds of its steps, `evaluations` those of its gradients without an update (onnxdream only), each
    [round][step]. `cosine` and `norm_ratio` compare its gradient with TensorFlow's; None if it has no gradient.
    """

    versions: dict[str, str]
    cosine: float | None = None
    norm_ratio: float | None = None
    peak_bytes: int = 0
    rounds: list[list[float]] = field(default_factory=list)
    evaluations: list[list[float]] = field(default_factory=list)


class Worker:
    """A system's process, which is stopped (SIGSTOP, spinning threads included) unless it answers a request.

    Its whole process group is stopped, because a library may have started helper processes.
    """

    def __init__(self, candidate: Candidate, python: Path, threads: int) -> None:
        self.system, self.case = candidate.system, candidate.case
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the process ends
        options = (self.system.name, str(self.case.folder), self.case.size_name, str(threads))
        self._process = subprocess.Popen(
            [str(python), str(WORKER), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # Python may write bytecode, as pip does on installation, so that a checkout is not compiled at each start.
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, first_cores(threads)),
        )

    def ask(self, request: str, **details: Any) -> Any:
        """Wakes the process for one request, stops it again, and returns the answer. Raises BenchmarkError."""
        self._signal(signal.SIGCONT)
        try:
            print(json.dumps({"ask": request, **details}), file=self._process.stdin, flush=True)
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
        with suppress(ProcessLookupError):  # the process died; the next request reports it
            os.killpg(self._process.pid, number)

    def _stderr_tail(self) -> str:
        self._process.wait()
        self._log.seek(0)
        return (self._log.read().strip().splitlines() or ["the process died without a message"])[-1][:300]


def run_interleaved(
    candidates: Mapping[str, Candidate], pythons: Pythons, plan: RunPlan, log: Callable[[str], None]
) -> tuple[dict[str, Measurement], dict[str, str]]:
    """Checks every system's gradient, then times the systems in turn.

    Returns the measurements by system, and for each peer that could not start the reason. Raises BenchmarkError before
    anything is timed if a gradient is wrong or onnxdream itself cannot start.
    """
    measurements: dict[str, Measurement] = {}
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, candidate in candidates.items():
            python = pythons[candidate.system.environment]
            worker = stack.enter_context(Worker(candidate, python, plan.threads))
            try:
                measurements[name] = _check_gradient(worker)
            except BenchmarkError as error:
                if candidate.system.is_onnxdream or isinstance(error, WrongResultError):
                    raise
                absent[name] = str(error)
                log(f"  {name} is left out: {error}")
                continue
            workers[name] = worker
            log(f"  {name}: {_describe_agreement(measurements[name])}")
        for number in range(plan.rounds):
            for name in _rotate(list(workers), number):
                _take_turn(workers[name], measurements[name], plan.steps)
        for name, worker in workers.items():
            measurements[name].peak_bytes = worker.ask("facts")["peak_bytes"]
    return measurements, absent


def time_cold_start(candidate: Candidate, python: Path, threads: int) -> float:
    """Returns the seconds from the start of a fresh process to its first gradient. Raises BenchmarkError."""
    started = time.perf_counter()
    with Worker(candidate, python, threads) as worker:
        _fetch_gradient(worker)
        return time.perf_counter() - started


def _check_gradient(worker: Worker) -> Measurement:
    """Compares a system's gradient with TensorFlow's, warms the system up, and starts its measurement.

    Raises BenchmarkError, and WrongResultError if an fp32 gradient differs.
    """
    measurement = Measurement(worker.ask("facts")["versions"])
    if not worker.system.is_floor:
        actual, expected = (
            array.astype(np.float64).ravel() for array in (_fetch_gradient(worker), np.load(worker.case.gradient))
        )
        norms = float(np.linalg.norm(actual)), float(np.linalg.norm(expected))
        measurement.cosine, measurement.norm_ratio = (
            float(actual @ expected / (norms[0] * norms[1])),
            norms[0] / norms[1],
        )
        correct = measurement.cosine >= MIN_COSINE and abs(measurement.norm_ratio - 1) <= NORM_RTOL
        if worker.system.precision == "fp32" and not correct:
            raise WrongResultError(
                f"{worker.system.name} at {worker.case.size_name}: {_describe_agreement(measurement)}"
            )
    worker.ask("step_seconds", count=2)
    return measurement


def _fetch_gradient(worker: Worker) -> Any:
    """Returns the system's gradient at the case's image, [3, height, width]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gradient.npy"
        worker.ask("gradient", path=str(path))
        return np.load(path)


def _take_turn(worker: Worker, measurement: Measurement, steps: int) -> None:
    measurement.rounds.append(worker.ask("step_seconds", count=steps))
    if worker.system.is_onnxdream:
        measurement.evaluations.append(worker.ask("evaluation_seconds", count=steps))


def _rotate(names: list[str], number: int) -> list[str]:
    """Returns the order of the systems in a round: each round begins with another system."""
    start = number % max(1, len(names))
    return names[start:] + names[:start]


def _describe_agreement(measurement: Measurement) -> str:
    if measurement.cosine is None:
        return "no gradient"
    return f"gradient cosine {measurement.cosine:.7f}, norm ratio {measurement.norm_ratio:.6f}"
