"""How several processes share the threads and the memory of a machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ..provider.budget import default_budget
from ..provider.cards import PROVIDERS
from ..provider.machine import DeviceName, Machine
from ..settings.settings import Execution

# The number of processes, as many as there are threads for, or None: this process.
WorkerCount = int | Literal["auto"] | None


def process_count(machine: Machine, workers: WorkerCount) -> int:
    """The number of processes, 0 for this one alone; `auto` is one for each thread, or for the GPU."""
    if workers == "auto":
        return machine.threads if _device(machine) == "cpu" else 1
    return workers or 0


def shared_out(execution: Execution, machine: Machine, count: int) -> Execution:
    """The threads and the memory of one of `count` processes."""
    memory = execution.memory or default_budget(_device(machine), machine.card)
    return replace(execution, threads=max(1, machine.threads // count), memory=memory // count)


def _device(machine: Machine) -> DeviceName:
    return PROVIDERS[machine.provider].device
