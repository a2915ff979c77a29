"""What a run computes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..settings.settings import Execution, Precision, ProviderName
from .hardware import cpu_quota, physical_cores

# Where tensors lie, as onnxruntime calls it.
DeviceName = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Machine:
    """What a run really computes on: a provider that works here, its CPU threads, and the precision it computes in.

    `memory` is the run's budget in bytes, None for the default one.
    """

    provider: ProviderName
    threads: int
    precision: Precision = "fp32"
    memory: int | None = None


def usable_threads() -> int:
    """CPU threads worth starting: the physical cores this process may use, within its cgroup's quota."""
    return int(max(1, min(physical_cores(), cpu_quota() or float("inf"))))


def threads_of(execution: Execution) -> int:
    """The number of CPU threads that a run really gets."""
    return execution.threads or usable_threads()
