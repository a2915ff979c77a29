"""The provider, CPU threads, precision and memory that a run gets on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..settings.settings import Execution, Precision, ProviderName
from .hardware import cpu_quota, physical_cores

# onnxruntime's name of the device whose memory tensors lie in.
DeviceName = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Machine:
    """What a run really computes on: a provider that works here, its CPU threads and its precision.

    `memory` is the run's budget in bytes, None for the default budget.
    """

    provider: ProviderName
    threads: int
    precision: Precision = "fp32"
    memory: int | None = None


def usable_threads() -> int:
    """Returns the number of CPU threads worth starting.

    These are the physical cores that this process may use, within its cgroup's quota.
    """
    return int(max(1, min(physical_cores(), cpu_quota() or float("inf"))))


def thread_warning(threads: int) -> str | None:
    """Returns a line for the user where more threads were asked for than there are cores to run them, else None."""
    cores = usable_threads()
    if threads <= cores:
        return None
    shown = "1 core" if cores == 1 else f"{cores} cores"
    return f"{threads} threads on {shown} are slower than {cores}: leave out --threads"


def threads_of(execution: Execution) -> int:
    """Returns the number of CPU threads that a run really gets."""
    return execution.threads or usable_threads()
