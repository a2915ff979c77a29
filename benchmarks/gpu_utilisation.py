"""How busy the GPU is while dreaming: `python benchmarks/gpu_utilisation.py BUNDLE WIDTHxHEIGHT [PROVIDER]`, 200 steps.

From onnxruntime's profile of the sessions that a real ascent opens, where that onnxruntime was built to record kernels
on the GPU; and beside it what nvidia-smi samples, which counts any moment with a kernel on the GPU as busy.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime

from onnxdream.runtime import Bundle, Execution
from onnxdream.runtime.bench import StepTimer
from onnxdream.runtime.image.source import noise_picture
from onnxdream.runtime.settings.parsing import parse_size

_STEPS, _WARM_UP = 200, 10
_SAMPLER = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0", "-lms", "100"]


def busy_seconds(events: list[dict[str, Any]], skipped: int) -> float:
    """Seconds in which at least one GPU kernel of a profile ran, its first runs left out."""
    starts = sorted(event["ts"] for event in events if event.get("name") == "model_run")
    spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") == "Kernel")
    total, reached = 0.0, starts[skipped] if len(starts) > skipped else float("inf")
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total / 1e6


def main(path: str, size: str, provider: str = "cuda") -> None:
    """Prints the share of the time in which the GPU computed."""
    with tempfile.TemporaryDirectory() as folder:
        _profile_every_session(Path(folder))
        bundle = Bundle.load(path)
        wish: dict[str, Any] = {"provider": provider}
        timer = StepTimer(bundle, Execution(**wish), noise_picture(*parse_size(size), seed=0).pixels)
        # A call evaluates once more than it steps.
        timer.step_seconds(_WARM_UP - 1)
        with subprocess.Popen(_SAMPLER, stdout=subprocess.PIPE, text=True) as sampler:
            wall = sum(timer.step_seconds(_STEPS))
            sampler.terminate()
            samples = [float(line) for line in sampler.communicate()[0].split() if line.strip().isdigit()]
        del timer
        gc.collect()  # a session writes its profile when it goes
        profiles = [json.loads(file.read_text()) for file in Path(folder).glob("*.json")]
    busy = sum(busy_seconds(events, _WARM_UP) for events in profiles)
    kernels = f"{busy / wall:.0%}" if busy else "not recorded by this onnxruntime"
    print(
        f"{_STEPS} steps of {size} in {wall:.2f} s: {_STEPS / wall:.1f} steps/s, onnxruntime {onnxruntime.__version__}"
    )
    print(f"GPU busy, kernels in onnxruntime's profile: {kernels}")
    print(f"GPU busy, nvidia-smi: {f'{statistics.mean(samples):.0f} %' if samples else 'not known'}")


def _profile_every_session(folder: Path) -> None:
    options = onnxruntime.SessionOptions

    class Profiled(options):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.enable_profiling = True
            self.profile_file_prefix = str(folder / "session")

    onnxruntime.SessionOptions = Profiled


if __name__ == "__main__":
    main(*sys.argv[1:])
