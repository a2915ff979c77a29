"""Arrays that lie where a run is computed, in the host's memory or in a GPU's, and how onnxruntime is given them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .cards import PROVIDERS
from .machine import DeviceName, Machine
from .session import failure

# Evaluations whose losses may lie on a GPU until they are fetched together; on the host they are there at once.
_GPU_FETCH_INTERVAL = 20


@dataclass(frozen=True, eq=False)
class Tensor:
    """A float32 or int64 array in one place; `memory` is the same one as numpy sees it, None on a GPU."""

    value: Any
    memory: NDArray[Any] | None

    @classmethod
    def on_host(cls, values: NDArray[Any]) -> Tensor:
        """An array as it lies in the host's memory, not a copy."""
        own = np.require(values, requirements=["C", "A", "W"])
        return cls(ort.OrtValue.ortvalue_from_numpy(own), own)

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each dimension."""
        return tuple(self.value.shape())

    def fetch(self) -> NDArray[Any]:
        """The values on the host: a copy from a GPU, else the memory itself."""
        found: NDArray[Any] = self.value.numpy() if self.memory is None else self.memory
        return found


@dataclass(frozen=True)
class Device:
    """The memory that a machine computes in."""

    machine: Machine

    @property
    def name(self) -> DeviceName:
        """As onnxruntime calls it."""
        return PROVIDERS[self.machine.provider].device

    @property
    def fetch_interval(self) -> int:
        """How many evaluations' losses may wait here until they are fetched together."""
        return 1 if self.name == "cpu" else _GPU_FETCH_INTERVAL

    @property
    def native_machine(self) -> Machine:
        """The machine for small graphs in the same memory: onnxruntime's own provider there, in fp32.

        TensorRT would build an engine for each, and OpenVINO has nothing to gain from them.
        """
        return replace(self.machine, provider=self.name, precision="fp32")

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """An array here: the one given where that is the host's memory, else a copy."""
        if self.name == "cpu":
            return Tensor.on_host(values)
        return Tensor(ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values), self.name, 0), None)

    def empty(self, shape: Sequence[int]) -> Tensor:
        """A float32 array of any values here."""
        if self.name == "cpu":
            return Tensor.on_host(np.empty(shape, np.float32))
        return Tensor(ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32, self.name, 0), None)


class Bound:
    """A session bound to tensors: every run reads and writes them where they lie, and copies nothing.

    onnxruntime waits for a device at the end of each run, so that sessions may follow each other in the same memory.
    `failure` says what an error of onnxruntime is to the user; it is raised here and when it runs.
    """

    def __init__(
        self,
        session: Any,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        failure: Callable[[Exception], Exception] = failure,
    ) -> None:
        self._session, self._binding, self._failure = session, session.io_binding(), failure
        self._tensors = {**inputs, **outputs}  # onnxruntime holds on to none of them
        try:
            for name, tensor in inputs.items():
                self._binding.bind_ortvalue_input(name, tensor.value)
            for name, tensor in outputs.items():
                self._binding.bind_ortvalue_output(name, tensor.value)
        except Exception as error:
            raise failure(error) from error

    def feed(self, inputs: Mapping[str, Tensor]) -> None:
        """Takes other tensors for some inputs, from the next run on."""
        self._tensors.update(inputs)
        for name, tensor in inputs.items():
            self._binding.bind_ortvalue_input(name, tensor.value)

    def run(self) -> None:
        """Computes the outputs."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime's failures have no common base
            raise self._failure(error) from error
