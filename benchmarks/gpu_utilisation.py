"""Measures how busy the GPU is during 200 steps of a dream.

`python benchmarks/gpu_utilisation.py BUNDLE WIDTHxHEIGHT [PROVIDER]` prints two figures. The first is from
onnxruntime's profiles of the sessions that a real ascent opens; it needs an onnxruntime that was built to record GPU
kernels. The second is the mean of nvidia-smi's samples, which count any moment with a kernel on the GPU as busy.
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
    """Returns the seconds of a profile in which at least one GPU kernel ran, without its first `skipped` runs."""
    starts = sorted(event["ts"] for event in events if event.get("name") == "model_run")
    spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") == "Kernel")
    total, busy_until = 0.0, starts[skipped] if len(starts) > skipped else float("inf")
    for start, end in spans:
        total += max(0.0, end - max(start, busy_until))
        busy_until = max(busy_until, end)
    return total / 1e6


def measure(path: str, size: str, provider: str = "cuda") -> dict[str, float | None]:
    """Returns steps a second, and the share of the time in which the GPU was busy; None where it is not recorded."""
    with tempfile.TemporaryDirectory() as folder:
        _profile_every_session(Path(folder))
        bundle = Bundle.load(path)
        options: dict[str, Any] = {"provider": provider}
        timer = StepTimer(bundle, Execution(**options), noise_picture(*parse_size(size), seed=0).pixels)
        # A call computes one gradient more than it makes steps.
        timer.step_seconds(_WARM_UP - 1)
        with subprocess.Popen(_SAMPLER, stdout=subprocess.PIPE, text=True) as sampler:
            wall = sum(timer.step_seconds(_STEPS))
            sampler.terminate()
            samples = [float(line) for line in sampler.communicate()[0].split() if line.strip().isdigit()]
        del timer
        gc.collect()  # a session writes its profile when it is destroyed
        profiles = [json.loads(file.read_text()) for file in Path(folder).glob("*.json")]
    busy = sum(busy_seconds(events, _WARM_UP) for events in profiles)
    return {
        "steps_per_second": _STEPS / wall,
        "busy_in_profile": busy / wall if busy else None,
        "busy_in_nvidia_smi": statistics.mean(samples) / 100 if samples else None,
    }


def main(path: str, size: str, provider: str = "cuda") -> None:
    """Prints the share of the time in which the GPU was busy."""
    found = measure(path, size, provider)
    kernels, samples = found["busy_in_profile"], found["busy_in_nvidia_smi"]
    print(f"{_STEPS} steps of {size}: {found['steps_per_second']:.1f} steps/s, onnxruntime {onnxruntime.__version__}")
    in_profile = "not recorded by this onnxruntime" if kernels is None else f"{kernels:.0%}"
    print(f"GPU busy, kernels in onnxruntime's profile: {in_profile}")
    print(f"GPU busy, nvidia-smi: {'unknown' if samples is None else f'{samples:.0%}'}")


def _profile_every_session(folder: Path) -> None:
    """Makes every session that is opened from now on write a profile into `folder`."""
    original = onnxruntime.SessionOptions

    class Profiled(original):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.enable_profiling = True
            self.profile_file_prefix = str(folder / "session")

    onnxruntime.SessionOptions = Profiled


if __name__ == "__main__":
    main(*sys.argv[1:])
