"""What a runner's seconds come to."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from runner import Entry
from systems import System


def summary(entries: dict[str, Entry], systems: list[System]) -> dict[str, dict[str, Any]]:
    """System -> its facts, median and quartiles of its steps in ms, and its ratio to the best fp32 peer.

    The ratio is taken round by round, where both met the machine in the same mood; the median of those counts.
    """
    taking_part = [system for system in systems if system.name in entries]
    peers = [system.name for system in taking_part if system.is_peer and system.precision == "fp32"]
    best = min(peers, key=lambda name: statistics.median(_all(entries[name].rounds)), default=None)
    return {system.name: _facts(entries[system.name], entries[best] if best else None) for system in taking_part}


def spread(rounds: list[list[float]]) -> dict[str, float]:
    """Median and quartiles in ms."""
    low, middle, high = (1e3 * float(seconds) for seconds in np.quantile(_all(rounds), (0.25, 0.5, 0.75)))
    return {"median_ms": middle, "low_ms": low, "high_ms": high}


def _facts(entry: Entry, best: Entry | None) -> dict[str, Any]:
    return {
        **spread(entry.rounds),
        "ratio": ratio(_medians(entry), _medians(best)) if best else None,
        "evaluation": spread(entry.evaluations) if entry.evaluations else None,
        "cosine": entry.cosine,
        "norm_ratio": entry.norm_ratio,
        "peak_bytes": entry.peak_bytes,
        "rounds": entry.rounds,
    }


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Times as a multiple of others, each of its own round's."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def _medians(entry: Entry) -> list[float]:
    return [statistics.median(steps) for steps in entry.rounds]


def _all(rounds: list[list[float]]) -> list[float]:
    return [seconds for steps in rounds for seconds in steps]
