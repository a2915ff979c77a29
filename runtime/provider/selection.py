"""Which execution provider a run gets: a pure choice, then a proof that it works."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort

from ..errors import ProviderError
from ..settings.settings import Execution, Precision, ProviderName
from .cards import PROVIDERS, offered
from .hardware import Hardware, detect_hardware
from .known_issues import clashes, detect_issues
from .machine import Machine, threads_of
from .onnx_graph import Graph
from .session import first_line, open_session

# A number that fp32 can hold and no lesser precision (TF32: 10 bits, bf16: 7 bits) can. Each value that the probe gives
# is twice the sum of 288 of them.
_FINE = np.float32(1 + 2**-12)
# How onnxruntime's log says why a library cannot be loaded, or a device not be had.
_CAUSE = re.compile(r"(?:with error: |\[ERROR\] )(.{1,200})")
_PROBE_TERMS = 2 * 288


@dataclass(frozen=True)
class ProviderChoice:
    """What a run computes on; `notice` is a line for the user where `auto` had to pass a provider over."""

    machine: Machine
    notice: str | None = None


def candidates(
    request: ProviderName, available: Sequence[str], precision: Precision = "fp32", hardware: Hardware | None = None
) -> tuple[ProviderName, ...]:
    """The providers worth trying for a request, best first; `available` are onnxruntime's names of what it has.

    `facts` are those of the machine, None means this one. Raises ProviderError when no provider can serve.
    """
    if precision == "bf16":
        request = _bf16_provider(request, hardware or detect_hardware())
    known = offered(available)
    if request == "auto":
        ranked = {name: PROVIDERS[name].auto_rank for name in known}
        return tuple(sorted((name for name, rank in ranked.items() if rank), key=lambda name: ranked[name] or 0))
    if request not in known:
        advice = _issue_against(request, available, hardware or detect_hardware()) or PROVIDERS[request].install
        raise ProviderError(
            f"provider {request} is not in this onnxruntime (it has {', '.join(known)}): "
            f"{advice}, or choose {'--precision fp32' if precision == 'bf16' else '--provider auto'}"
        )
    return (request,)


def _issue_against(request: ProviderName, available: Sequence[str], hardware: Hardware) -> str | None:
    """The trap that may keep a provider out of this onnxruntime, in words."""
    traps = detect_issues(hardware, available) if PROVIDERS[request].device == "cuda" else clashes(hardware.packages)
    return next((str(trap) for trap in traps if "onnxruntime" in trap.what), None)


def _bf16_provider(request: ProviderName, hardware: Hardware) -> ProviderName:
    """OpenVINO alone computes in bf16, and only on a CPU that can. Raises ProviderError."""
    if request not in ("auto", "openvino"):
        raise ProviderError(f"provider {request} has no bf16, only openvino has: choose --provider openvino or fp32")
    if not hardware.has_bf16:
        raise ProviderError("this CPU has no bf16 (neither avx512_bf16 nor amx_bf16): choose --precision fp32")
    return "openvino"


def choose_provider(execution: Execution) -> ProviderChoice:
    """The first candidate for an execution that passes the self-test. Raises ProviderError when none does."""
    failures: list[str] = []
    for name in candidates(execution.provider, ort.get_available_providers(), execution.precision):
        failure = self_test(name, execution.precision)
        if failure is None:
            machine = Machine(name, threads_of(execution), execution.precision, execution.memory)
            return ProviderChoice(machine, f"{'; '.join(failures)}: using {name}" if failures else None)
        failures.append(f"provider {name} does not work here ({failure})")
    raise ProviderError(f"{'; '.join(failures)}: the command `doctor` tells more, --provider cpu works everywhere")


@cache
def self_test(name: ProviderName, precision: Precision = "fp32") -> str | None:
    """Runs a few operators on the provider; None if it works in that precision, else what went wrong, in one line."""
    with _native_log() as log:
        try:
            session = open_session(probe(), Machine(name, 1, precision))
            (result,) = session.run(None, {"x": np.full((1, 32, 5, 5), _FINE)})
        except Exception as error:  # onnxruntime's and the drivers' failures have no common base
            return _reason(name, error, log())
    return wrong_precision(float(result.mean()) / _PROBE_TERMS, precision)


def probe() -> bytes:
    """A model of a convolution, a ReLU and a sum: what the self-test runs on `x` [1, 32, 5, 5].

    The kernel's ones add up 288 values. A library computes the convolution, the provider's own code the rest; 32
    channels are enough for a GPU to choose the units it would choose for a real picture.
    """
    graph = Graph()
    kernel = graph.constant(np.ones((32, 32, 3, 3), np.float32))
    rectified = graph.add("Relu", graph.add("Conv", graph.input("x", (1, 32, 5, 5)), kernel))
    return graph.model({graph.add("Add", rectified, rectified): (1, 32, 3, 3)})


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
    for trap in PROVIDERS[name].known_issues(f"{error}\n{log}", detect_hardware()):
        return str(trap)
    cause = _CAUSE.search(log)
    return f"{first_line(error)}: {cause[1]}" if cause else first_line(error)


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
