"""Which execution provider a run gets: a pure choice, then a proof that it works."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from .errors import ProviderError
from .facts import Facts, cpu_quota, look, nvidia_folders, physical_cores
from .memory import default_budget
from .provider_options import (
    cuda_options,
    engine_folder,
    openvino_options,
    private_folder,
    tensorrt_options,
)
from .settings import Execution, Precision, ProviderName
from .traps import clashes, standing_traps, trap_behind

PROBE = Path(__file__).parents[1] / "models" / "graphs" / "probe.onnx"

NAMES: dict[ProviderName, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_INSTALL: dict[ProviderName, str] = {
    "cuda": "install onnxdream[gpu] on a machine with an NVIDIA GPU",
    "tensorrt": "install onnxdream[tensorrt] on a machine with an NVIDIA GPU",
    "openvino": "install onnxdream[openvino] instead of onnxdream[cpu]",
}
# What onnxruntime's CUDA provider is linked to or opens; what needs another library comes behind it.
_CUDA_LIBRARIES = (
    "libcudart.so.{major}",
    "libcublasLt.so.{major}",
    "libcublas.so.{major}",
    "libnvrtc.so.{major}",
    "libcurand.so.10",
    "libcudnn.so.9",
)
_TENSORRT_LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
# What `auto` tries, best first.
_AUTO: tuple[ProviderName, ...] = ("cuda", "cpu")
# A number that fp32 can hold and no lesser precision (TF32: 10 bits, bf16: 7 bits) can. Each value that the probe gives
# is twice the sum of 288 of them.
_FINE = np.float32(1 + 2**-12)
# How onnxruntime's log says why a library cannot be loaded, or a device not be had.
_CAUSE = re.compile(r"(?:with error: |\[ERROR\] )(.{1,200})")
_PROBE_TERMS = 2 * 288


@dataclass(frozen=True)
class Machine:
    """What a run really computes on: a provider that works here, its CPU threads, and the precision it computes in.

    `memory` is the run's budget in bytes, None for the default one.
    """

    provider: ProviderName
    threads: int
    precision: Precision = "fp32"
    memory: int | None = None


@dataclass(frozen=True)
class Choice:
    """What a run computes on; `notice` is a line for the user where `auto` had to pass a provider over."""

    machine: Machine
    notice: str | None = None


def candidates(
    request: ProviderName, available: Sequence[str], precision: Precision = "fp32", facts: Facts | None = None
) -> tuple[ProviderName, ...]:
    """The providers worth trying for a request, best first; `available` are onnxruntime's names of what it has.

    `facts` are those of the machine, None means this one. Raises ProviderError when no provider can serve.
    """
    if precision == "bf16":
        request = _bf16_provider(request, facts or look())
    if request == "auto":
        return tuple(name for name in _AUTO if NAMES[name] in available)
    known = [name for name, theirs in NAMES.items() if theirs in available]
    if request not in known:
        advice = _trapped(request, available, facts or look()) or _INSTALL.get(request, "install onnxruntime again")
        raise ProviderError(
            f"provider {request} is not in this onnxruntime (it has {', '.join(known)}): "
            f"{advice}, or choose {'--precision fp32' if precision == 'bf16' else '--provider auto'}"
        )
    return (request,)


def _trapped(request: ProviderName, available: Sequence[str], facts: Facts) -> str | None:
    """The trap that may keep a provider out of this onnxruntime, in words."""
    traps = standing_traps(facts, available) if request in ("cuda", "tensorrt") else clashes(facts.packages)
    return next((str(trap) for trap in traps if "onnxruntime" in trap.what), None)


def _bf16_provider(request: ProviderName, facts: Facts) -> ProviderName:
    """OpenVINO alone computes in bf16, and only on a CPU that can. Raises ProviderError."""
    if request not in ("auto", "openvino"):
        raise ProviderError(f"provider {request} has no bf16, only openvino has: choose --provider openvino or fp32")
    if not facts.has_bf16:
        raise ProviderError("this CPU has no bf16 (neither avx512_bf16 nor amx_bf16): choose --precision fp32")
    return "openvino"


def choose(execution: Execution) -> Choice:
    """The first candidate for an execution that passes the self-test. Raises ProviderError when none does."""
    failures: list[str] = []
    for name in candidates(execution.provider, ort.get_available_providers(), execution.precision):
        failure = self_test(name, execution.precision)
        if failure is None:
            machine = Machine(name, threads_of(execution), execution.precision, execution.memory)
            return Choice(machine, f"{'; '.join(failures)}: using {name}" if failures else None)
        failures.append(f"provider {name} does not work here ({failure})")
    raise ProviderError(f"{'; '.join(failures)}: the command `doctor` tells more, --provider cpu works everywhere")


@cache
def self_test(name: ProviderName, precision: Precision = "fp32") -> str | None:
    """Runs a few operators on the provider; None if it works in that precision, else what went wrong, in one line."""
    with _native_log() as log:
        try:
            session = open_session(PROBE.read_bytes(), Machine(name, 1, precision))
            (result,) = session.run(None, {"x": np.full((1, 32, 5, 5), _FINE)})
        except Exception as error:  # onnxruntime's and the drivers' failures have no common base
            return _reason(name, error, log())
    return wrong_precision(float(result.mean()) / _PROBE_TERMS, precision)


def wrong_precision(mean: float, precision: Precision) -> str | None:
    """What the mean of all terms that the probe adds up tells against the precision; None if it is right."""
    if not abs(mean - 1) < 0.01:  # nor is NaN
        return "a convolution gives wrong values"
    fine = abs(mean - float(_FINE)) < 0.00003
    if precision == "fp32" and not fine:
        return "it computes in less than fp32 although fp32 was asked for"
    if precision == "bf16" and fine:
        return "it computes in fp32 although bf16 was asked for"
    return None


def _reason(name: ProviderName, error: Exception, log: str) -> str:
    """Why a provider failed, in one line: the trap behind it, else what the error and the log say."""
    if trap := trap_behind(f"{error}\n{log}", name, look()):
        return str(trap)
    cause = _CAUSE.search(log)
    return f"{first_line(error)}: {cause[1]}" if cause else first_line(error)


def first_line(error: Exception) -> str:
    """What an error of a library says, short enough for a line of our own."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


@contextlib.contextmanager
def _native_log() -> Iterator[Any]:
    """Keeps what libraries write to the process's standard error from the user; yields a function that reads it.

    onnxruntime tells only there why a provider's library cannot be loaded.
    """
    with tempfile.TemporaryFile() as file:

        def read() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            kept = os.dup(2)
        except OSError:  # a program without a standard error
            yield read
            return
        os.dup2(file.fileno(), 2)
        try:
            yield read
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def open_session(
    model: bytes,
    machine: Machine,
    sizes: Mapping[str, int] | None = None,
    profile: Path | None = None,
    spins: bool = True,
) -> Any:
    """An onnxruntime session on the machine's provider and no lesser one, its symbolic dimensions pinned to `sizes`.

    `profile` is the beginning of a path that onnxruntime writes its profile to. Threads that do not spin sleep between
    operators: for small graphs beside a large one. Raises ProviderError.
    """
    name = machine.provider
    providers = _provider_list(model, machine, sizes or {})
    options = _session_options(machine, sizes or {})
    if not spins:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    with contextlib.redirect_stdout(io.StringIO()):  # onnxruntime prints there what it says again when it raises
        _load_libraries(machine)
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    session.disable_fallback()  # a step that fails must not be done elsewhere in silence
    if session.get_providers()[0] != NAMES[name]:
        raise ProviderError(f"onnxruntime fell back to {session.get_providers()[0]} from {NAMES[name]}")
    return session


def _provider_list(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> list[tuple[str, dict[str, str]]]:
    """The machine's provider with its options, and the one that takes what it leaves."""
    if machine.provider == "cpu":
        return [(NAMES["cpu"], {})]
    if machine.provider == "openvino":
        return [(NAMES["openvino"], openvino_options(machine.precision, machine.threads))]
    facts = look()
    budget = (machine.memory or default_budget("cuda")) if facts.shares_memory else None
    cuda = NAMES["cuda"], cuda_options(machine.precision, budget)
    if machine.provider == "cuda":
        return [cuda]
    folder = private_folder(engine_folder(model, sizes, machine.precision, facts, ort.__version__))
    return [(NAMES["tensorrt"], tensorrt_options(machine.precision, folder)), cuda]


def builds_engine(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> bool:
    """Whether a session on TensorRT would first have to build its engine, which takes minutes."""
    folder = engine_folder(model, sizes, machine.precision, look(), ort.__version__)
    return not any(folder.glob("*.engine"))


def _load_libraries(machine: Machine) -> None:
    """Finds the libraries that pip installed, which the system's linker does not know."""
    if machine.provider not in ("cuda", "tensorrt"):
        return
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # from the folder that onnxruntime itself is installed in, and from no other
    _load_from_pip([library.format(major=_cuda_major()) for library in _CUDA_LIBRARIES])
    if machine.provider == "tensorrt":
        if machine.precision == "fp32":
            os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # TensorRT has no other switch
        _load_from_pip(_TENSORRT_LIBRARIES)


def _load_from_pip(libraries: Sequence[str]) -> None:
    """Loads those libraries that pip has installed; the session says what is missing."""
    for library in libraries:
        for file in [folder / library for folder in nvidia_folders() if (folder / library).is_file()]:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)


def _cuda_major() -> str:
    """The major version of the CUDA that this onnxruntime was built with; 12 where it does not say."""
    return str(getattr(ort, "cuda_version", "") or "12").split(".")[0]


def _session_options(machine: Machine, sizes: Mapping[str, int]) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its failures reach the user as our own one line
    options.intra_op_num_threads = machine.threads
    if machine.provider == "openvino":  # it optimises the whole graph itself
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Else every tensor has its place in one block that is planned from the first run, beside what that run took.
    options.enable_mem_pattern = False
    # Gradients hold denormals, which some CPUs compute a hundred times slower.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Else they go on spinning for a while after a run, and another session's threads find no core.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for dimension, size in sizes.items():
        options.add_free_dimension_override_by_name(dimension, size)
    return options


def placement(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> dict[ProviderName, int]:
    """How many kernels of a model each provider really runs, counted in onnxruntime's profile of one run on ones.

    An engine, or a graph that OpenVINO has taken whole, counts as one. Raises ProviderError.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(model, machine, sizes, Path(folder) / "profile")
        inputs = {value.name: [sizes.get(side, side) for side in value.shape] for value in session.get_inputs()}
        session.run(None, {name: np.ones(shape, np.float32) for name, shape in inputs.items()})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ours = {theirs: name for name, theirs in NAMES.items()}
    places = (event.get("args", {}).get("provider") for event in events if event.get("cat") == "Node")
    return dict(Counter(ours[place] for place in places if place in ours))


def usable_threads() -> int:
    """CPU threads worth starting: the physical cores this process may use, within its cgroup's quota."""
    return int(max(1, min(physical_cores(), cpu_quota() or float("inf"))))


def threads_of(execution: Execution) -> int:
    """The number of CPU threads that a run really gets."""
    return execution.threads or usable_threads()
