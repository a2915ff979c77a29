"""The provider, CPU threads, precision and memory that a run gets on this machine."""

from __future__ import annotations

import ctypes
import platform
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from ..settings.settings import Execution, Precision, ProviderName
from .hardware import cpu_quota, physical_cores

# Where a thread's floating-point mode lies in the `fenv_t` of Linux's C libraries, and its bits that turn denormal
# numbers into zero: MXCSR's FTZ and DAZ on x86-64, FPCR's FZ on ARM.
_FLUSH_BITS = {"x86_64": (28, 0x8040), "aarch64": (0, 1 << 24)}
_FENV_BYTES = 64  # more than any fenv_t

# onnxruntime's name of the device whose memory tensors lie in.
DeviceName = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Machine:
    """What a run really computes on: a provider that works here, its CPU threads and its precision.

    `memory` is the run's budget in bytes, None for the default budget. `card` is CUDA's number of the GPU. With `tune`,
    CUDA prepares each size longer for faster steps.
    """

    provider: ProviderName
    threads: int
    precision: Precision = "fp32"
    memory: int | None = None
    card: int = 0
    tune: bool = False

    @property
    def provider_text(self) -> str:
        """The provider as `--provider` takes it: cuda, or cuda:1 for the second GPU."""
        return f"{self.provider}:{self.card}" if self.card else self.provider


class FloatMode:
    """This thread's floating-point mode, to be set again in a `with` block; afterwards it is what it was before.

    With `flush`, denormal numbers are zero in it, where the platform is known: gradients contain them, and some CPUs
    compute with them a hundred times slower.
    """

    def __init__(self, flush: bool = False) -> None:
        self._library, bits = _float_library(), _FLUSH_BITS.get(platform.machine())
        if flush:
            # numpy keeps it, and versions before 2.3 warn when they look for denormals in this mode.
            np.finfo(np.float32)
        self._inside, self._outside = (ctypes.c_ubyte * _FENV_BYTES)(), (ctypes.c_ubyte * _FENV_BYTES)()
        if self._library is not None:
            self._library.fegetenv(self._inside)
            if flush and bits:
                ctypes.c_uint32.from_buffer(self._inside, bits[0]).value |= bits[1]

    def __enter__(self) -> None:
        if self._library is not None:
            self._library.fegetenv(self._outside)
            self._library.fesetenv(self._inside)

    def __exit__(self, *_: object) -> None:
        if self._library is not None:
            self._library.fesetenv(self._outside)


@cache
def _float_library() -> Any:
    """Returns the C library with `fegetenv` and `fesetenv`; None on systems whose `fenv_t` is not known."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "fegetenv") and hasattr(library, "fesetenv") else None


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
