"""ONNX graphs that compute on images in a device's memory: building one, and running it in a session.

A step is one graph rather than several, so that onnxruntime can plan its memory as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ProviderError
from ..provider.machine import Machine
from ..provider.onnx_graph import Graph
from ..provider.session import computation_error, open_session
from ..provider.tensors import BoundSession, Tensor

_END = np.iinfo(np.int64).max


class ImageGraph(Graph):
    """A graph on images, float32 [1, 3, height, width]. A number is float32 [1], which broadcasts.

    Methods add operators and return the name of their output. Means are first taken along rows, so that float32 is
    exact enough for images of any size.
    """

    def mean(self, x: str) -> str:
        """Adds the mean of all values of an image, float32 [1, 1, 1, 1]."""
        rows = self.add("ReduceMean", x, axes=[3], keepdims=1)
        return self.add("ReduceMean", rows, axes=[1, 2], keepdims=1)

    def root_mean_square(self, x: str) -> str:
        """Adds the root mean square of all values of an image, float32 [1, 1, 1, 1]."""
        return self.add("Sqrt", self.mean(self.add("Mul", x, x)))

    def slice_columns(self, x: str, start: int | str, end: int | str = _END) -> str:
        """Adds the columns `start:end` of an image; each is a number, negative from the end, or an input int64 [1]."""
        ends = (end if isinstance(end, str) else int64_array(end) for end in (start, end))
        return self.add("Slice", x, *ends, int64_array(3))

    def roll_columns_left(self, x: str, count: int | str) -> str:
        """Adds an image rolled left by `count` columns: a number, or an input int64 [1]; negative to the right."""
        return self.add("Concat", self.slice_columns(x, count), self.slice_columns(x, 0, count), axis=3)


class CompiledGraph:
    """A graph in a session of its own; `outputs` are the shapes of its float32 outputs by name.

    Raises ProviderError and ComputationError.
    """

    def __init__(self, graph: Graph, outputs: Mapping[str, Sequence[int]], machine: Machine) -> None:
        self._outputs = tuple(outputs)
        try:
            self._session = open_session(graph.model(outputs), machine, spins=False)
        except ProviderError:
            raise
        except Exception as error:  # onnxruntime's failures have no common base
            raise computation_error(error) from error

    def bind(self, inputs: Mapping[str, Tensor], *outputs: Tensor) -> BoundSession:
        """Binds the graph to inputs by name and to outputs in order. Other inputs may be fed later.

        Raises ComputationError.
        """
        return BoundSession(self._session, inputs, dict(zip(self._outputs, outputs, strict=True)))


def int64_array(*values: int) -> NDArray[np.int64]:
    """Returns the values as an array for a graph, int64 [values]."""
    return np.array(values, np.int64)
