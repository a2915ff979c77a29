"""The small graphs that ship with the package, linked to one model: an output of one is an input of the next.

One session then does all of a step at once, in a device's memory, and onnxruntime plans the memory of all of it. The
sizes of everything are known when a chain is made, and written into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProviderError
from ..provider.machine import Machine
from ..provider.onnx_schema import FLOAT32, INT64, message_class
from ..provider.session import failure, open_session
from ..provider.tensors import Bound, Tensor

GRAPHS = Path(__file__).parents[2] / "models" / "graphs"


class Chain:
    """A model in the making, from inputs and constants through the graphs that are added one after the other."""

    def __init__(self) -> None:
        self._model = message_class("Model")()
        self._graph = self._model.graph
        self._graph.name = "chain"
        self._links = 0

    def input(self, name: str, shape: Sequence[int], whole: bool = False) -> str:
        """Declares an input of that shape, float32 or of whole numbers, int64; gives its name."""
        declared = self._graph.input.add(name=name)
        declared.type.tensor_type.elem_type = INT64 if whole else FLOAT32
        for side in shape:
            declared.type.tensor_type.shape.dim.add(dim_value=side)
        return name

    def constant(self, values: NDArray[Any]) -> str:
        """Keeps an array in the model, as int64 if it is of whole numbers, else as float32; gives its name."""
        whole = np.issubdtype(values.dtype, np.integer)
        name = f"constant{len(self._graph.initializer)}"
        little = np.ascontiguousarray(values, "<i8" if whole else "<f4")
        self._graph.initializer.add(
            name=name, dims=values.shape, data_type=INT64 if whole else FLOAT32, raw_data=little.tobytes()
        )
        return name

    def number(self, value: float) -> str:
        """A constant float32 [1]."""
        return self.constant(np.array([value], np.float32))

    def add(self, graph: str, **sources: str) -> tuple[str, ...]:
        """Adds a graph by its file's stem, fed from the names given for its inputs; gives its outputs' names."""
        link = message_class("Model")()
        link.ParseFromString(_bytes_of(graph))
        if not self._links:
            self._model.ir_version = link.ir_version
            self._model.opset_import.extend(link.opset_import)
        self._links += 1
        prefix = f"{graph}{self._links}."

        def renamed(name: str) -> str:
            return sources.get(name, prefix + name)

        for tensor in link.graph.initializer:
            self._graph.initializer.add().CopyFrom(tensor)
            self._graph.initializer[-1].name = renamed(tensor.name)
        for node in link.graph.node:
            own = self._graph.node.add()
            own.CopyFrom(node)
            own.name = f"node{len(self._graph.node)}"  # onnxruntime 1.18 names fused nodes after them, and not twice
            own.input[:] = [renamed(name) for name in node.input]
            own.output[:] = [renamed(name) for name in node.output]
        return tuple(renamed(value.name) for value in link.graph.output)

    def model(self, outputs: Sequence[str]) -> bytes:
        """The bytes of an ONNX model with those outputs, all float32."""
        del self._graph.output[:]
        for name in outputs:
            self._graph.output.add(name=name).type.tensor_type.elem_type = FLOAT32
        return bytes(self._model.SerializeToString())


class Program:
    """A chain in a session of its own. Raises ProviderError and ComputationError."""

    def __init__(self, chain: Chain, outputs: Sequence[str], machine: Machine) -> None:
        self._outputs = tuple(outputs)
        try:
            self._session = open_session(chain.model(outputs), machine, spins=False)
        except ProviderError:
            raise
        except Exception as error:  # onnxruntime's failures have no common base
            raise failure(error) from error

    def bind(self, inputs: Mapping[str, Tensor], *outputs: Tensor) -> Bound:
        """Bound to the outputs, in their order; inputs may be fed later. Raises ComputationError."""
        return Bound(self._session, inputs, dict(zip(self._outputs, outputs, strict=True)))


@cache
def _bytes_of(graph: str) -> bytes:
    return (GRAPHS / f"{graph}.onnx").read_bytes()
