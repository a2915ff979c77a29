"""onnxdream as a contestant: the runtime's own ascent on one provider."""

from __future__ import annotations

import importlib.metadata
from functools import cached_property
from typing import Any

import numpy as np
from rows import Case
from timing import timed

import onnxdream.cli  # noqa: F401 - what the command `dream` imports first, so that a cold start counts it
from onnxdream.models.arrays import Floats, Image
from onnxdream.runtime import Bundle, Execution
from onnxdream.runtime.batch import dream_all  # noqa: F401 - likewise
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.dream.request import parse_request  # noqa: F401 - likewise
from onnxdream.runtime.provider.selection import choose_provider


class Ours:
    """Times steps of a real `dream`."""

    def __init__(self, case: Case, threads: int, provider: str, precision: str) -> None:
        wish: dict[str, Any] = {"provider": provider, "threads": threads, "precision": precision}
        self._execution = Execution(**wish)
        self._bundle = Bundle.load(case.folder / "bundle.onnx")
        self._picture = case.picture
        self._image: Image = np.load(case.image)
        self._layer_weights = np.ones(len(self._bundle.metadata.layers), np.float32)
        self._session = Session(self._bundle, *self._image.shape[1:], choose_provider(self._execution).machine)

    def gradient(self) -> Floats:
        """Of the sum of the layers' means, [3, height, width], at the case's image."""
        _, gradient = self._session.evaluate(self._image, self._layer_weights)
        return gradient

    def step_seconds(self, count: int) -> list[float]:
        """Of that many whole steps, after one that is not counted."""
        return self._climb.step_seconds(count)

    def evaluation_seconds(self, count: int) -> list[float]:
        """Of that many gradients without an update, after one that is not counted."""
        return timed(self.gradient, count)

    @cached_property
    def _climb(self) -> Any:
        """An ascent that goes on without end, in the very session that gives the gradient."""
        from onnxdream.runtime.bench import StepTimer  # no part of a dream, and so not of its cold start

        return StepTimer(self._bundle, self._execution, np.load(self._picture))

    def versions(self) -> dict[str, str]:
        """Of what computes."""
        import onnxruntime

        return {
            "onnxdream": importlib.metadata.version("onnxdream"),
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        }
