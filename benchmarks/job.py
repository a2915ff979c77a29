"""Times a whole `dream` and compares it with its bare steps, which shows the cost of everything else."""

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

# The dream runs for _TURN seconds at a time; between two turns, _SAMPLE bare steps are timed.
_TURN, _SAMPLE = 10.0, 5


def time_whole_job(candidate: Candidate, pythons: Pythons, steps: int, threads: int) -> dict[str, Any]:
    """Times a `dream` of `steps` steps that writes all its files, and estimates the time of the bare steps alone.

    The two take turns, because a machine's speed changes during a dream. The dream is stopped (SIGSTOP) while bare
    steps are timed, and that time is not counted. `share` is the dream's seconds divided by those of the bare steps.

    Raises BenchmarkError.
    """
    python = pythons[candidate.system.environment]
    with Worker(candidate, python, threads) as worker, tempfile.TemporaryDirectory() as folder:
        worker.ask("step_seconds", count=_SAMPLE)  # not counted: the first steps have cold caches
        samples = worker.ask("step_seconds", count=_SAMPLE)
        command = [str(python), "-m", "onnxdream.cli", "dream", "--noise", candidate.case.size_name]
        command += ["--steps", str(steps)]
        command += ["--model", str(candidate.case.folder / "bundle.onnx"), "--threads", str(threads)]
        command += ["--provider", candidate.system.options["provider"], "--output", folder]
        log = Path(folder) / "log"
        with log.open("w") as file:
            started = time.perf_counter()
            dream = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        stopped = 0.0
        while not _exits_within(dream, _TURN):
            os.killpg(dream.pid, signal.SIGSTOP)
            stopped_at = time.perf_counter()
            samples += worker.ask("step_seconds", count=_SAMPLE)
            stopped += time.perf_counter() - stopped_at
            os.killpg(dream.pid, signal.SIGCONT)
        seconds = time.perf_counter() - started - stopped
        if dream.returncode:
            raise BenchmarkError(f"dream failed: {log.read_text().strip()}")
    alone = steps * statistics.fmean(samples)  # the mean, not the median: the dream includes slow moments, too
    return {"steps": steps, "seconds": seconds, "steps_alone_seconds": alone, "share": seconds / alone}


def _exits_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
