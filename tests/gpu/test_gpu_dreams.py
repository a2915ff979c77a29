"""Whole runs on a GPU against the same runs on the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pictures_fixture import photograph

from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.provider import cards
from onnxdream.runtime.provider.machine import Machine

WAYS: list[dict[str, Any]] = [
    {},
    {"optimizer": "momentum", "jitter": 12},
    {"optimizer": "adam", "blur": (1.0, 0.3), "tv": 0.05},
    {"octaves": 2, "steps": 10, "laplacian": 3, "colours": "own"},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_losses_of_twenty_steps_are_the_cpu_s(way: dict[str, Any]) -> None:
    picture, settings = photograph(160, 208), Settings(**{"steps": 20, "step_size": 0.01, **way})
    here, there = (
        dream(picture, Bundle.built_in(), replace(settings, execution=Execution(provider)))
        for provider in ("cuda", "cpu")
    )
    errors = np.abs(here.losses / there.losses - 1).max(axis=1)
    print(f"\n{way}: largest error of a loss at first {errors[0]:.2e}, at last {errors[-1]:.2e}")
    assert here.record.execution.provider == "cuda"
    assert errors[0] < 2e-6
    assert errors.max() < 2e-2  # what rounding makes of a path in twenty steps


def test_a_run_on_a_gpu_gives_the_same_picture_again() -> None:
    picture, settings = photograph(160, 208), Settings(steps=10, execution=Execution("cuda"))
    first, second = (dream(picture, Bundle.built_in(), settings) for _ in range(2))
    np.testing.assert_array_equal(first.picture, second.picture)


def test_tiles_are_halved_where_a_gpu_has_no_memory(monkeypatch: pytest.MonkeyPatch, cuda: Machine) -> None:
    """The provider gets a limit that a picture of this size does not fit into."""
    plain = cards.cuda_options

    def limited(*given: Any) -> dict[str, str]:
        return {**plain(*given), "gpu_mem_limit": str(220 * 10**6), "arena_extend_strategy": "kSameAsRequested"}

    monkeypatch.setattr(cards, "cuda_options", limited)
    bundle, picture = Bundle.built_in(), photograph(600, 800)
    dreamed = dream(picture, bundle, Settings(steps=2, max_size=None, execution=Execution("cuda")))
    assert any("memory ran out" in notice for notice in dreamed.record.notices)
    assert np.isfinite(dreamed.losses).all()
