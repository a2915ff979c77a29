"""Arrays in the memory of the device that a run computes on, the host's or a GPU's, and sessions bound to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .cards import PROVIDERS
from .machine import DeviceName, Machine
from .session import computation_error

# onnxruntime's number of no CUDA graph.
_NO_GRAPH = -1
# A graph is captured in the run after these: capturing takes as long as some runs, and an octave may have few steps.
_RUNS_BEFORE_CAPTURE = 5
# How many evaluations' losses stay on a GPU until they are fetched together; on the host they need no fetching.
_GPU_FETCH_INTERVAL = 20


@dataclass(frozen=True, eq=False)
class Tensor:
    """A float32 or int64 array of any shape on a device.

    `value` is onnxruntime's OrtValue, and `memory` the same memory as a numpy array, None on a GPU.
    """

    value: Any
    memory: NDArray[Any] | None = field(repr=False)

    @classmethod
    def on_host(cls, values: NDArray[Any]) -> Tensor:
        """Wraps an array in the host's memory; copies it only if it is not contiguous, aligned and writeable."""
        memory = np.require(values, requirements=["C", "A", "W"])
        return cls(ort.OrtValue.ortvalue_from_numpy(memory), memory)

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each dimension."""
        return tuple(self.value.shape())

    def fetch(self) -> NDArray[Any]:
        """Returns the values on the host, of the same shape and dtype: a copy from a GPU, else the memory itself."""
        values: NDArray[Any] = self.value.numpy() if self.memory is None else self.memory
        return values


@dataclass(frozen=True)
class Device:
    """The device whose memory a machine computes in: the host or a GPU."""

    machine: Machine

    @property
    def name(self) -> DeviceName:
        """onnxruntime's name of the device."""
        return PROVIDERS[self.machine.provider].device

    @property
    def fetch_interval(self) -> int:
        """The number of evaluations whose losses stay on the device until they are fetched together."""
        return 1 if self.name == "cpu" else _GPU_FETCH_INTERVAL

    @property
    def native_machine(self) -> Machine:
        """The machine that runs small graphs in the same memory: onnxruntime's own provider for the device, in fp32.

        TensorRT would build an engine for each of them, and OpenVINO would not run them faster.
        """
        return replace(self.machine, provider=self.name, precision="fp32", tune=False)

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """Returns an array, float32 or int64 of any shape, on this device: wrapped on the host, copied to a GPU."""
        if self.name == "cpu":
            return Tensor.on_host(values)
        return Tensor(
            ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values), self.name, self.machine.card), None
        )

    def empty(self, shape: Sequence[int]) -> Tensor:
        """Allocates a float32 tensor of that shape on this device, with arbitrary values."""
        if self.name == "cpu":
            return Tensor.on_host(np.empty(shape, np.float32))
        return Tensor(
            ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32, self.name, self.machine.card), None
        )


class GraphReplay:
    """The runs of a bound session with CUDA graphs: after some plain runs, one is captured, and from then on replayed.

    A replay launches all kernels of the run at once, with the addresses that were captured. `number` tells the graphs
    of a session apart; without it, and once its addresses have changed, all runs are plain.
    """

    def __init__(self, number: int | None) -> None:
        self._plain = run_options()
        self._captured = run_options(number)
        self._runs = 0

    def next_options(self) -> Any:
        """Returns onnxruntime's options of the next run."""
        self._runs += 1
        return self._captured if self._runs > _RUNS_BEFORE_CAPTURE else self._plain

    def give_up(self) -> None:
        """Makes all further runs plain."""
        self._captured = self._plain


def run_options(graph: int | None = None) -> Any:
    """Returns onnxruntime's options of a run of a tuned session, in a CUDA graph of that number or in none."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(_NO_GRAPH if graph is None else graph))
    return options


class BoundSession:
    """A session bound to tensors: every run reads and writes them in place, without copies.

    onnxruntime waits for the device at the end of each run, so sessions can use each other's results in its memory.
    `to_error` turns an error of onnxruntime into the error for the user, which is raised when binding and running.
    `replay` is given if the session has CUDA graphs.
    """

    def __init__(
        self,
        session: Any,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        to_error: Callable[[Exception], Exception] = computation_error,
        replay: GraphReplay | None = None,
    ) -> None:
        self._session, self._binding, self._to_error = session, session.io_binding(), to_error
        self._replay = replay
        self._tensors = {**inputs, **outputs}  # keeps them alive, which onnxruntime does not
        try:
            for name, tensor in inputs.items():
                self._binding.bind_ortvalue_input(name, tensor.value)
            for name, tensor in outputs.items():
                self._binding.bind_ortvalue_output(name, tensor.value)
        except Exception as error:
            raise to_error(error) from error

    def feed(self, inputs: Mapping[str, Tensor]) -> None:
        """Binds other tensors to some inputs, from the next run on."""
        self._tensors.update(inputs)
        if self._replay:
            self._replay.give_up()
        for name, tensor in inputs.items():
            self._binding.bind_ortvalue_input(name, tensor.value)

    def run(self) -> None:
        """Computes the outputs into their tensors. Raises the error that `to_error` returns."""
        try:
            self._session.run_with_iobinding(self._binding, self._replay.next_options() if self._replay else None)
        except Exception as error:  # onnxruntime's errors have no common base class
            raise self._to_error(error) from error
