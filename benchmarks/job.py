"""A whole `dream` against its steps: what all but the steps costs."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from typing import Any

from contest import Contestant, ContestError, Worker
from environments import Pythons

_SAMPLE = 20


def whole_job(contestant: Contestant, pythons: Pythons, steps: int, threads: int) -> dict[str, Any]:
    """Seconds of a `dream` of that many steps with all its files, and of as many median steps, timed before and after.

    Raises ContestError.
    """
    python = pythons[contestant.system.environment]
    with Worker(contestant, python, threads) as worker, tempfile.TemporaryDirectory() as folder:
        samples = worker.ask("step_seconds", count=_SAMPLE)
        words = ["-m", "onnxdream.cli", "dream", "--noise", contestant.case.size_name, "--steps", str(steps)]
        words += ["--model", str(contestant.case.folder / "bundle.onnx"), "--threads", str(threads)]
        started = time.perf_counter()
        done = subprocess.run(
            [str(python), *words, "--provider", contestant.system.options["provider"], "--output", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise ContestError(f"dream: {done.stderr.strip()}")
        samples += worker.ask("step_seconds", count=_SAMPLE)
    alone = steps * statistics.median(samples)
    return {"steps": steps, "seconds": seconds, "steps_alone_seconds": alone, "share": seconds / alone}
