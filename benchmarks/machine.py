"""Describes the machine that the systems are timed on, and lists its CPU cores."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def describe_machine() -> dict[str, str]:
    """Returns processor, cores, memory, load average and operating system as text."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(len(physical_cores())),
        "memory": f"{memory:.0f} GiB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def physical_cores() -> list[int]:
    """Returns one logical CPU of each core that this process may use."""
    cores: dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings.read_text() if siblings.exists() else str(cpu), cpu)
    return list(cores.values())


def first_cores(count: int) -> set[int]:
    """Returns `count` logical CPUs, each of another core until all cores are used."""
    cores = physical_cores()
    spare = sorted(os.sched_getaffinity(0) - set(cores))
    return set([*cores, *spare][:count])


def _processor() -> str:
    """Returns the processor's model and those vector extensions that determine how fast convolutions are."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    model = re.search(r"model name\s*:\s*(.*)", text)
    flags = re.search(r"(?:flags|Features)\s*:\s*(.*)", text)
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
    extensions = [name for name in known if flags and name in flags[1].split()]
    return f"{model[1] if model else platform.machine()} ({', '.join(extensions)})"
