"""Arrays that lie where a run is computed, in the host's memory or in a GPU's, and how onnxruntime is given them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..settings.settings import ProviderName
from .machine import Machine

Device = Literal["cpu", "cuda"]

# Providers whose sessions read and write a GPU's memory; all others the host's.
_ON_GPU: tuple[ProviderName, ...] = ("cuda", "tensorrt")
# Evaluations whose losses may lie on a GPU until they are fetched together; on the host they are there at once.
_GPU_PATIENCE = 20


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
class Place:
    """The memory that a machine computes in."""

    machine: Machine

    @property
    def device(self) -> Device:
        """As onnxruntime calls it."""
        return "cuda" if self.machine.provider in _ON_GPU else "cpu"

    @property
    def patience(self) -> int:
        """How many evaluations' losses may wait here until they are fetched together."""
        return 1 if self.device == "cpu" else _GPU_PATIENCE

    @property
    def aide(self) -> Machine:
        """The machine for small graphs in the same memory: onnxruntime's own provider there, in fp32.

        TensorRT would build an engine for each, and OpenVINO has nothing to gain from them.
        """
        return replace(self.machine, provider=self.device, precision="fp32")

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """An array here: the one given where that is the host's memory, else a copy."""
        if self.device == "cpu":
            return Tensor.on_host(values)
        return Tensor(ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values), self.device, 0), None)

    def empty(self, shape: Sequence[int]) -> Tensor:
        """A float32 array of any values here."""
        if self.device == "cpu":
            return Tensor.on_host(np.empty(shape, np.float32))
        return Tensor(ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32, self.device, 0), None)


def run_bound(session: Any, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
    """Runs a session from tensors into tensors, copying nothing that lies where the session needs it.

    onnxruntime waits for a device at the end of each run, so that sessions may follow each other in the same memory.
    """
    binding = session.io_binding()
    for name, tensor in inputs.items():
        binding.bind_ortvalue_input(name, tensor.value)
    for name, tensor in outputs.items():
        binding.bind_ortvalue_output(name, tensor.value)
    session.run_with_iobinding(binding)
