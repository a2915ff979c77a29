"""The one clock of all contestants."""

from __future__ import annotations

import time
from collections.abc import Callable


def timed(work: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of `count` calls. One that is not counted goes before them: others had the caches meanwhile."""
    work()
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds
