"""What is done to pictures in a device's memory: as a graph in the making, and as a session that runs it.

One session does all of a step at once, and onnxruntime plans the memory of all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProviderError
from ..provider.machine import Machine
from ..provider.onnx_graph import Graph
from ..provider.session import computation_error, open_session
from ..provider.tensors import BoundSession, Tensor

_END = np.iinfo(np.int64).max


class ImageGraph(Graph):
    """A graph of pictures, float32 [1, 3, height, width]; a number is [1], which broadcasts.

    Means are taken along rows first, so that float32 is enough for pictures of any size.
    """

    def mean(self, x: str) -> str:
        """Of all values of a picture, [1, 1, 1, 1]."""
        rows = self.add("ReduceMean", x, axes=[3], keepdims=1)
        return self.add("ReduceMean", rows, axes=[1, 2], keepdims=1)

    def root_mean_square(self, x: str) -> str:
        """Of all values of a picture, [1, 1, 1, 1]."""
        return self.add("Sqrt", self.mean(self.add("Mul", x, x)))

    def columns(self, x: str, start: int | str, end: int | str = _END) -> str:
        """Some columns of a picture; each end is a column's number, from behind if it is below 0, or an input [1]."""
        ends = (end if isinstance(end, str) else int64(end) for end in (start, end))
        return self.add("Slice", x, *ends, int64(3))

    def rolled_columns(self, x: str, at: int | str) -> str:
        """A picture cut in two between its columns, `at` its latter part, and put together the other way round."""
        return self.add("Concat", self.columns(x, at), self.columns(x, 0, at), axis=3)


class CompiledGraph:
    """A graph in a session of its own, with `outputs` of those shapes. Raises ProviderError and ComputationError."""

    def __init__(self, graph: Graph, outputs: Mapping[str, Sequence[int]], machine: Machine) -> None:
        self._outputs = tuple(outputs)
        try:
            self._session = open_session(graph.model(outputs), machine, spins=False)
        except ProviderError:
            raise
        except Exception as error:  # onnxruntime's failures have no common base
            raise computation_error(error) from error

    def bind(self, inputs: Mapping[str, Tensor], *outputs: Tensor) -> BoundSession:
        """Bound to the outputs, in their order; inputs may be fed later. Raises ComputationError."""
        return BoundSession(self._session, inputs, dict(zip(self._outputs, outputs, strict=True)))


def int64(*values: int) -> NDArray[Any]:
    """Whole numbers for a graph, int64 [values]."""
    return np.array(values, np.int64)
