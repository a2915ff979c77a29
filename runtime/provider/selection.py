"""The choice of a run's execution provider: first the candidates, then a self-test that proves that one works."""

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

# A number that fp32 (23 bits) can represent and lower precisions (TF32: 10 bits, bf16: 7 bits) cannot.
_FP32_ONLY = np.float32(1 + 2**-12)
# Each output value of the probe is twice the sum of 288 copies of its input value.
_PROBE_TERMS = 2 * 288
# The words with which onnxruntime's log introduces why a library cannot be loaded or a device cannot be used.
_CAUSE = re.compile(r"(?:with error: |\[ERROR\] )(.{1,200})")


@dataclass(frozen=True)
class ProviderChoice:
    """The machine that a run computes on; `notice` is a line for the user where `auto` had to skip a provider."""

    machine: Machine
    notice: str | None = None


def candidates(
    request: ProviderName, available: Sequence[str], precision: Precision = "fp32", hardware: Hardware | None = None
) -> tuple[ProviderName, ...]:
    """Returns the providers worth trying for a request, the best first.

    `available` are onnxruntime's names of the providers it has; without `hardware` this machine's is detected. Raises
    ProviderError where no provider can serve the request.
    """
    if precision == "bf16":
        request = _bf16_provider(request, hardware or detect_hardware())
    names = offered(available)
    if request == "auto":
        ranks = {name: PROVIDERS[name].auto_rank for name in names}
        return tuple(sorted((name for name, rank in ranks.items() if rank), key=lambda name: ranks[name] or 0))
    if request not in names:
        advice = _known_issue(request, available, hardware or detect_hardware()) or PROVIDERS[request].install
        raise ProviderError(
            f"provider {request} is not in this onnxruntime (it has {', '.join(names)}): "
            f"{advice}, or choose {'--precision fp32' if precision == 'bf16' else '--provider auto'}"
        )
    return (request,)


def _known_issue(request: ProviderName, available: Sequence[str], hardware: Hardware) -> str | None:
    """Returns the known issue that may explain why this onnxruntime lacks a provider, in words."""
    issues = detect_issues(hardware, available) if PROVIDERS[request].device == "cuda" else clashes(hardware.packages)
    return next((str(issue) for issue in issues if "onnxruntime" in issue.description), None)


def _bf16_provider(request: ProviderName, hardware: Hardware) -> ProviderName:
    """Returns OpenVINO, the only provider that computes in bf16. Raises ProviderError where it cannot be used."""
    if request not in ("auto", "openvino"):
        raise ProviderError(
            f"provider {request} cannot compute in bf16, only openvino can: choose --provider openvino or "
            "--precision fp32"
        )
    if not hardware.has_bf16:
        raise ProviderError("this CPU has no bf16 (neither avx512_bf16 nor amx_bf16): choose --precision fp32")
    return "openvino"


def choose_provider(execution: Execution) -> ProviderChoice:
    """Returns the first candidate for an execution that passes the self-test. Raises ProviderError where none does."""
    failures: list[str] = []
    for name in candidates(execution.provider, ort.get_available_providers(), execution.precision):
        failure = self_test(name, execution.precision)
        if failure is None:
            machine = Machine(name, threads_of(execution), execution.precision, execution.memory)
            return ProviderChoice(machine, f"{'; '.join(failures)}: using {name}" if failures else None)
        failures.append(f"provider {name} does not work here ({failure})")
    raise ProviderError(f"{'; '.join(failures)}: the command `doctor` shows more; --provider cpu works everywhere")


@cache
def self_test(name: ProviderName, precision: Precision = "fp32") -> str | None:
    """Runs a few operators on a provider; returns None if it works in that precision, else the reason in one line."""
    with _captured_stderr() as read_log:
        try:
            session = open_session(probe(), Machine(name, 1, precision))
            (result,) = session.run(None, {"x": np.full((1, 32, 5, 5), _FP32_ONLY)})
        except Exception as error:  # onnxruntime's and the drivers' errors have no common base class
            return _reason(name, error, read_log())
    return wrong_precision(float(result.mean()) / _PROBE_TERMS, precision)


def probe() -> bytes:
    """Returns the model that the self-test runs: a convolution, a ReLU and a sum of `x`, float32 [1, 32, 5, 5].

    The kernel's ones add up 288 values. A library computes the convolution, and the provider's own code the rest. With
    32 channels a GPU chooses the same arithmetic units as for a real picture.
    """
    graph = Graph()
    kernel = graph.constant(np.ones((32, 32, 3, 3), np.float32))
    rectified = graph.add("Relu", graph.add("Conv", graph.input("x", (1, 32, 5, 5)), kernel))
    return graph.model({graph.add("Add", rectified, rectified): (1, 32, 3, 3)})


def wrong_precision(mean: float, precision: Precision) -> str | None:
    """Returns what is wrong with the mean of the terms that the probe added up; None if it fits the precision."""
    if not abs(mean - 1) < 0.01:  # written so that NaN is wrong, too
        return "a convolution returns wrong values"
    is_fp32 = abs(mean - float(_FP32_ONLY)) < 0.00003
    if precision == "fp32" and not is_fp32:
        return "it computes in less than fp32 although fp32 was asked for"
    if precision == "bf16" and is_fp32:
        return "it computes in fp32 although bf16 was asked for"
    return None


def _reason(name: ProviderName, error: Exception, log: str) -> str:
    """Returns why a provider failed, in one line: the known issue, else the error and the cause in the log."""
    for issue in PROVIDERS[name].known_issues(f"{error}\n{log}", detect_hardware()):
        return str(issue)
    cause = _CAUSE.search(log)
    return f"{first_line(error)}: {cause[1]}" if cause else first_line(error)


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Any]:
    """Captures what native libraries write to the process's standard error; yields a function that returns it.

    Only there does onnxruntime report why a provider's library cannot be loaded.
    """
    with tempfile.TemporaryFile() as file:

        def read() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            stderr = os.dup(2)
        except OSError:  # the process has no standard error
            yield read
            return
        os.dup2(file.fileno(), 2)
        try:
            yield read
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
