"""Computes medians, quartiles and ratios from the measured seconds."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from runner import Measurement
from systems import System


def summarise(measurements: dict[str, Measurement], systems: list[System]) -> dict[str, dict[str, Any]]:
    """Returns for each system the median and quartiles of its steps in ms, its ratio to the best fp32 peer, and more.

    The ratio is the median of those of the rounds, because the machine's speed differs from round to round.
    """
    measured = [system for system in systems if system.name in measurements]
    peers = [system.name for system in measured if system.is_peer and system.precision == "fp32"]
    best = min(peers, key=lambda name: statistics.median(_flatten(measurements[name].rounds)), default=None)
    return {system.name: _facts(measurements[system.name], measurements[best] if best else None) for system in measured}


def quartiles(rounds: list[list[float]]) -> dict[str, float]:
    """Returns the median and the quartiles in ms of seconds [round][step]."""
    low, median, high = (1e3 * float(seconds) for seconds in np.quantile(_flatten(rounds), (0.25, 0.5, 0.75)))
    return {"median_ms": median, "low_ms": low, "high_ms": high}


def _facts(measurement: Measurement, best: Measurement | None) -> dict[str, Any]:
    return {
        **quartiles(measurement.rounds),
        "ratio": median_ratio(_medians(measurement), _medians(best)) if best else None,
        "evaluation": quartiles(measurement.evaluations) if measurement.evaluations else None,
        "cosine": measurement.cosine,
        "norm_ratio": measurement.norm_ratio,
        "peak_bytes": measurement.peak_bytes,
        "rounds": measurement.rounds,
    }


def median_ratio(seconds: list[float], others: list[float]) -> float:
    """Returns the median of the ratios of two systems' times, each from the same round."""
    return statistics.median(one / other for one, other in zip(seconds, others, strict=True))


def _medians(measurement: Measurement) -> list[float]:
    return [statistics.median(steps) for steps in measurement.rounds]


def _flatten(rounds: list[list[float]]) -> list[float]:
    return [seconds for steps in rounds for seconds in steps]
