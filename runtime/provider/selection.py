"""The choice of a run's execution provider: first the candidates, then a self-test that proves that one works."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnxruntime as ort

from ...models.child import code_command
from ..errors import ProviderError
from ..settings.settings import Execution, Precision, ProviderName
from .cards import PROVIDERS, offered
from .hardware import Hardware, detect_hardware
from .known_issues import clashes, detect_issues, provider_not_made
from .machine import Machine, thread_warning, threads_of
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
    """The machine that a run computes on.

    `notice` is a line for the user where `auto` had to skip a provider, where there are more threads than cores, where
    the provider cannot be tuned although it was asked for, or where it is not supported in the precision.
    """

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
        advice = how_to_add(request, available, hardware or detect_hardware())
        raise ProviderError(
            f"provider {request} is not in this onnxruntime (it has {', '.join(names)}): "
            f"{advice}, or choose {'--precision fp32' if precision == 'bf16' else '--provider auto'}"
        )
    return (request,)


def how_to_add(name: ProviderName, available: Sequence[str], hardware: Hardware) -> str:
    """Returns how to get a provider that this onnxruntime lacks, or the known issue that explains why it lacks it."""
    if issue := provider_not_made(name, available, hardware):
        return str(issue)
    issues = detect_issues(hardware, available) if PROVIDERS[name].device == "cuda" else clashes(hardware.packages)
    for issue in issues:
        if "onnxruntime" in issue.description:
            return str(issue)
    others = [package for package in hardware.packages if package.startswith("onnxruntime")]
    # pip leaves the installed onnxruntime where it is, and the two would overwrite each other.
    return "".join(f"uninstall {package}, then " for package in others) + PROVIDERS[name].install


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
    for name in candidates(execution.provider_name, ort.get_available_providers(), execution.precision):
        machine = machine_for(execution, name)
        failure = self_test(name, execution.precision, execution.card)
        if failure is None:
            skipped = f"{'; '.join(failures)}: using {name}" if failures else None
            slow = thread_warning(machine.threads) if PROVIDERS[name].device == "cpu" else None
            vain = f"--tune changes nothing on the provider {name}" if execution.tune and not machine.tune else None
            lines = filter(None, (skipped, slow, vain, _precision_notice(machine)))
            return ProviderChoice(machine, "; ".join(lines) or None)
        failures.append(f"provider {machine.provider_text} does not work here ({failure})")
    raise ProviderError(f"{'; '.join(failures)}: the command `doctor` shows more; --provider cpu works everywhere")


def machine_for(execution: Execution, name: ProviderName) -> Machine:
    """Returns what an execution computes on with a provider, which need not work here."""
    tune = execution.tune and PROVIDERS[name].can_tune
    return Machine(name, threads_of(execution), execution.precision, execution.memory, execution.card, tune)


def _precision_notice(machine: Machine) -> str | None:
    """Returns a line for the user where a provider may round more than a bundle's graph asks for."""
    if machine.provider == "tensorrt" and machine.precision in ("fp16", "mixed"):
        return (
            f"provider tensorrt is not supported in {machine.precision}, since it may compute the bundle's fp32 parts "
            "in half precision: compare with --provider cuda"
        )
    return None


@cache
def self_test(name: ProviderName, precision: Precision = "fp32", card: int = 0) -> str | None:
    """Runs a few operators on a provider; returns None if it works in that precision, else the reason in one line.

    `card` is CUDA's number of the GPU.
    """
    ort.set_default_logger_severity(4)  # a provider that does not load is reported by us, in one line
    try:
        mean = _probe_mean(name, precision, card)
    except Exception as error:  # onnxruntime's and the drivers' errors have no common base class
        return _reason(name, error, _failure_log(name, precision, card), card)
    return wrong_precision(mean, precision)


def _probe_mean(name: ProviderName, precision: Precision, card: int) -> float:
    """Returns the mean of the terms that the probe adds up on a provider. Raises onnxruntime's own errors."""
    session = open_session(probe(), Machine(name, 1, precision, card=card))
    (result,) = session.run(None, {"x": np.full((1, 32, 5, 5), _FP32_ONLY)})
    return float(result.mean()) / _PROBE_TERMS


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


def _reason(name: ProviderName, error: Exception, log: str, card: int = 0) -> str:
    """Returns why a provider failed, in one line: the known issue, else the error and the cause in the log."""
    for issue in PROVIDERS[name].known_issues(f"{error}\n{log}", detect_hardware().seen_from(card)):
        return str(issue)
    cause = _CAUSE.search(log)
    return f"{first_line(error)}: {cause[1]}" if cause else first_line(error)


def _failure_log(name: ProviderName, precision: Precision, card: int) -> str:
    """Returns what onnxruntime logs when the probe fails on a provider; only there does it name a missing library.

    The probe runs once more in a process of its own, since the log goes to standard error, which is the caller's here.
    """
    command = code_command(f"from {__name__} import fail_again; fail_again(*sys.argv[1:])", name, precision, card)
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False).stderr
    except (OSError, subprocess.SubprocessError):
        return ""


def fail_again(name: ProviderName, precision: Precision, card: str) -> None:
    """Runs the probe for the sake of what onnxruntime logs; the caller has seen the error."""
    with suppress(Exception):
        _probe_mean(name, precision, int(card))
