"""Which execution provider a run gets: a pure choice, then a proof that it works."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from .errors import ProviderError
from .settings import Execution, ProviderName

PROBE = Path(__file__).parents[1] / "models" / "graphs" / "probe.onnx"

NAMES: dict[ProviderName, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_INSTALL: dict[ProviderName, str] = {
    "cuda": "install onnxdream[gpu] on a machine with an NVIDIA GPU",
    "tensorrt": "install onnxdream[gpu] and TensorRT 10 on a machine with an NVIDIA GPU",
    "openvino": "install onnxdream[openvino] instead of onnxdream[cpu]",
}
# What `auto` tries, best first.
_AUTO: tuple[ProviderName, ...] = ("cuda", "cpu")
# Explicit where onnxruntime's default is slow or far from fp32: DEFAULT search is up to 50 times slower since 1.20.
_OPTIONS: dict[ProviderName, Mapping[str, str]] = {
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
}


@dataclass(frozen=True)
class Choice:
    """The provider of a run; `notice` is a line for the user where `auto` had to pass one over."""

    provider: ProviderName
    notice: str | None = None


def candidates(request: ProviderName, available: Sequence[str]) -> tuple[ProviderName, ...]:
    """The providers worth trying for a request, best first. Raises ProviderError when none is available."""
    if request == "auto":
        return tuple(name for name in _AUTO if NAMES[name] in available)
    known = [name for name, theirs in NAMES.items() if theirs in available]
    if request not in known:
        raise ProviderError(
            f"provider {request} is not in this onnxruntime (it has {', '.join(known)}): "
            f"{_INSTALL.get(request, 'install onnxruntime again')}, or choose --provider auto"
        )
    return (request,)


def choose(request: ProviderName) -> Choice:
    """The first candidate that passes the self-test. Raises ProviderError when none does."""
    tried = candidates(request, ort.get_available_providers())
    failures: list[str] = []
    for name in tried:
        failure = self_test(name)
        if failure is None:
            return Choice(name, f"{'; '.join(failures)}: using {name}" if failures else None)
        failures.append(f"provider {name} does not work here ({failure})")
    raise ProviderError(f"{'; '.join(failures)}: the command `doctor` tells more, --provider cpu works everywhere")


@cache
def self_test(name: ProviderName) -> str | None:
    """Runs one convolution on the provider; None if it works, else what went wrong, in one line."""
    try:
        session = open_session(PROBE.read_bytes(), name, session_options(threads=1))
        (result,) = session.run(None, {"x": np.ones((1, 1, 5, 5), np.float32)})
    except Exception as error:  # onnxruntime's and the drivers' failures have no common base
        return first_line(error)
    return None if float(result.sum()) == 81.0 else "a convolution gives wrong values"


def first_line(error: Exception) -> str:
    """What an error of a library says, short enough for a line of our own."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def open_session(model: bytes, name: ProviderName, options: Any) -> Any:
    """An onnxruntime session on that provider and no lesser one. Raises ProviderError."""
    if name == "cuda" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds the CUDA and cuDNN libraries that pip installed
    session = ort.InferenceSession(model, options, providers=[(NAMES[name], dict(_OPTIONS.get(name, {})))])
    if session.get_providers()[0] != NAMES[name]:
        raise ProviderError(f"onnxruntime fell back to {session.get_providers()[0]} from {NAMES[name]}")
    return session


def session_options(threads: int, sizes: Mapping[str, int] | None = None) -> Any:
    """Options of a session whose symbolic dimensions are pinned to `sizes`."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its failures reach the user as our own one line
    options.intra_op_num_threads = threads
    # Gradients hold denormals, which some CPUs compute a hundred times slower.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    for dimension, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(dimension, size)
    return options


def usable_threads() -> int:
    """CPU threads worth starting: the physical cores this process may use, within its cgroup's quota."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    cores = {_siblings(cpu) or str(cpu) for cpu in allowed}
    quota = _read(Path("/sys/fs/cgroup/cpu.max")).split()
    limit = int(quota[0]) / int(quota[1]) if len(quota) == 2 and quota[0].isdigit() else float("inf")
    return int(max(1, min(len(cores), limit)))


def _siblings(cpu: int) -> str:
    return _read(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def threads_of(execution: Execution) -> int:
    """The number of CPU threads that a run really gets."""
    return execution.threads or usable_threads()
