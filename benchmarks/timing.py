"""The clock of all systems."""

from __future__ import annotations

import time
from collections.abc import Callable


def timed(work: Callable[[], object], count: int) -> list[float]:
    """Returns the seconds of each of `count` calls.

    A first call is not counted, because the other systems have evicted the caches in the meantime.
    """
    work()
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds
