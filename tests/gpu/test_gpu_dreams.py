"""Compares whole runs on a GPU with the same runs on the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pictures_fixture import photograph

from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.provider import cards
from onnxdream.runtime.provider.machine import Machine

METHODS: list[dict[str, Any]] = [
    {},
    {"optimizer": "momentum", "jitter": 12},
    {"optimizer": "adam", "blur": (1.0, 0.3), "tv": 0.05},
    {"octaves": 2, "steps": 10, "laplacian": 3, "colours": "own"},
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_the_losses_of_twenty_steps_agree_with_the_cpu(method: dict[str, Any]) -> None:
    picture, settings = photograph(160, 208), Settings(**{"steps": 20, "step_size": 0.01, **method})
    on_gpu, on_cpu = (
        dream(picture, Bundle.built_in(), replace(settings, execution=Execution(provider)))
        for provider in ("cuda", "cpu")
    )
    errors = np.abs(on_gpu.losses / on_cpu.losses - 1).max(axis=1)
    print(f"\n{method}: largest relative error of a loss: first {errors[0]:.2e}, last {errors[-1]:.2e}")
    assert on_gpu.record.execution.provider == "cuda"
    assert errors[0] < 2e-6
    assert errors.max() < 2e-2  # rounding errors grow during twenty steps


def test_a_repeated_run_on_a_gpu_returns_the_same_picture() -> None:
    picture, settings = photograph(160, 208), Settings(steps=10, execution=Execution("cuda"))
    first, second = (dream(picture, Bundle.built_in(), settings) for _ in range(2))
    np.testing.assert_array_equal(first.picture, second.picture)


def test_tiles_are_halved_when_the_memory_of_a_gpu_runs_out(monkeypatch: pytest.MonkeyPatch, cuda: Machine) -> None:
    """The provider gets a memory limit that is too small for a picture of this size."""
    plain = cards.cuda_options

    def limited(*given: Any) -> dict[str, str]:
        return {**plain(*given), "gpu_mem_limit": str(220 * 10**6), "arena_extend_strategy": "kSameAsRequested"}

    monkeypatch.setattr(cards, "cuda_options", limited)
    bundle, picture = Bundle.built_in(), photograph(600, 800)
    dreamed = dream(picture, bundle, Settings(steps=2, max_size=None, execution=Execution("cuda")))
    assert any("memory ran out" in notice for notice in dreamed.record.notices)
    assert np.isfinite(dreamed.losses).all()
