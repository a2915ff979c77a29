"""A whole `dream` against its steps: what all but the steps costs."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from environments import Pythons
from runner import BenchmarkError, Candidate, Worker

# Seconds that the dream goes on at a time, and the bare steps that are timed in between.
_TURN, _SAMPLE = 10.0, 5


def whole_job(candidate: Candidate, pythons: Pythons, steps: int, threads: int) -> dict[str, Any]:
    """Seconds of a `dream` of that many steps with all its files, and of as many steps of the bare ascent.

    The two take turns, since a machine's mood changes within a dream: it is stopped (SIGSTOP) for each sample of
    steps, which is not counted. Raises BenchmarkError.
    """
    python = pythons[candidate.system.environment]
    with Worker(candidate, python, threads) as worker, tempfile.TemporaryDirectory() as folder:
        worker.ask("step_seconds", count=_SAMPLE)  # the first find cold caches
        samples = worker.ask("step_seconds", count=_SAMPLE)
        words = ["-m", "onnxdream.cli", "dream", "--noise", candidate.case.size_name, "--steps", str(steps)]
        words += ["--model", str(candidate.case.folder / "bundle.onnx"), "--threads", str(threads)]
        words += ["--provider", candidate.system.options["provider"], "--output", folder]
        log = Path(folder) / "log"
        with log.open("w") as file:
            started = time.perf_counter()
            dream = subprocess.Popen([str(python), *words], stdout=file, stderr=file, start_new_session=True)
        stopped = 0.0
        while not _ends(dream, _TURN):
            os.killpg(dream.pid, signal.SIGSTOP)
            since = time.perf_counter()
            samples += worker.ask("step_seconds", count=_SAMPLE)
            stopped += time.perf_counter() - since
            os.killpg(dream.pid, signal.SIGCONT)
        seconds = time.perf_counter() - started - stopped
        if dream.returncode:
            raise BenchmarkError(f"dream: {log.read_text().strip()}")
    alone = steps * statistics.fmean(samples)  # as the dream's, slow moments included
    return {"steps": steps, "seconds": seconds, "steps_alone_seconds": alone, "share": seconds / alone}


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
