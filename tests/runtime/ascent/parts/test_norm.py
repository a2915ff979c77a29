"""The norms that a gradient is divided by."""

from __future__ import annotations

import numpy as np
import pytest

from onnxdream.runtime.ascent.parts.norm import norm
from onnxdream.runtime.settings.settings import GradientNorm


@pytest.mark.parametrize("shape", [(3, 11, 7), (3, 512, 683), (3, 800, 1000)])
def test_norms_agree_with_numpy_for_any_number_of_blocks(shape: tuple[int, int, int]) -> None:
    gradient = np.random.default_rng(5).normal(0.2, 1, shape).astype(np.float32) * np.float32(1e-3)
    gradient[2] += np.float32(2e-3)  # the last block differs from the first
    exact = gradient.astype(np.float64)
    expected: dict[GradientNorm, float] = {
        "std": float(exact.std()),
        "l2": float(np.sqrt((exact**2).mean())),
        "mean-abs": float(np.abs(exact).mean()),
    }
    for kind, value in expected.items():
        assert norm(gradient, kind) == pytest.approx(value + 1e-8, rel=1e-6)


def test_no_norm_is_zero() -> None:
    for kind in ("std", "l2", "mean-abs"):
        assert norm(np.zeros((3, 11, 7), np.float32), kind) > 0
