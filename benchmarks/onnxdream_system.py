"""The systems of onnxdream: the runtime's own ascent on one provider."""

from __future__ import annotations

import importlib.metadata
from functools import cached_property
from typing import Any

import numpy as np
from rows import Case
from timing import timed

import onnxdream.cli  # noqa: F401 - the command `dream` imports it first, so a cold start must include it
from onnxdream.models.arrays import Image
from onnxdream.runtime import Bundle, Execution
from onnxdream.runtime.batch.run import dream_many  # noqa: F401 - likewise
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.dream.request import parse_request  # noqa: F401 - likewise
from onnxdream.runtime.provider.selection import choose_provider


class OnnxDream:
    """Computes gradients and times the steps of a real `dream`."""

    def __init__(self, case: Case, threads: int, provider: str, precision: str) -> None:
        options: dict[str, Any] = {"provider": provider, "threads": threads, "precision": precision}
        self._execution = Execution(**options)
        self._bundle = Bundle.load(case.folder / "bundle.onnx")
        self._picture = case.picture
        self._image: Image = np.load(case.image)
        self._objective = Objective(np.ones(len(self._bundle.metadata.layers), np.float32))
        self._session = Session(self._bundle, *self._image.shape[1:], choose_provider(self._execution).machine)

    def gradient(self) -> Image:
        """Returns the gradient of the sum of the layers' losses at the case's image."""
        _, gradient = self._session.evaluate(self._image, self._objective)
        return gradient

    def step_seconds(self, count: int) -> list[float]:
        """Returns the seconds of each of `count` whole steps, after a first gradient that is not counted."""
        return self._step_timer.step_seconds(count)

    def evaluation_seconds(self, count: int) -> list[float]:
        """Returns the seconds of each of `count` gradients without an update, after one that is not counted."""
        return timed(self.gradient, count)

    @cached_property
    def _step_timer(self) -> Any:
        """An ascent without end, whose steps are timed."""
        from onnxdream.runtime.bench import StepTimer  # here, since a dream, and so its cold start, does not import it

        return StepTimer(self._bundle, self._execution, np.load(self._picture))

    def versions(self) -> dict[str, str]:
        """Returns the versions of the packages that compute."""
        import onnxruntime

        return {
            "onnxdream": importlib.metadata.version("onnxdream"),
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        }
