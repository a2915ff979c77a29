"""Adding ONNX nodes to a graph that tf2onnx converts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from tf2onnx import utils

Context = Any
Node = Any


class Nodes:
    """Adds nodes, each known by the name of its output."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        output: str = self.ctx.make_node(op_type, list(inputs), attr=attributes).output[0]
        return output

    def sum(self, *terms: str) -> str:
        """Their sum as additions of two, which onnxruntime's CPU provider fuses with convolutions before them."""
        total, *others = terms
        for other in others:
            total = self.add("Add", total, other)
        return total

    def narrowest(self, x: str) -> str:
        """What an Expand repeats to make x, for an operator that repeats it by itself; else x."""
        node = self.ctx.get_node_by_output(x)
        while node and node.type == "Identity":
            node = self.ctx.get_node_by_output(node.input[0])
        return str(node.input[0]) if node and node.type == "Expand" else x

    def put(self, node: Node, op_type: str, *inputs: str, **attributes: Any) -> None:
        """A node in the place of a TensorFlow node, its output's name, shape and type kept."""
        output = node.output[0]
        shape, dtype = self.ctx.get_shape(output), self.ctx.get_dtype(output)
        self.ctx.remove_node(node.name)
        self.ctx.make_node(
            op_type, list(inputs), attr=attributes, name=node.name, outputs=[output], shapes=[shape], dtypes=[dtype]
        )

    def integers(self, *values: int) -> str:
        """A constant int64 vector."""
        return self._constant(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """A constant int64 scalar."""
        return self._constant(np.array(value, np.int64))

    def number(self, value: float) -> str:
        """A constant float32 scalar."""
        return self._constant(np.array(value, np.float32))

    def zero(self, x: str) -> str:
        """A constant scalar 0 of the type of x."""
        return self._constant(np.array(0, helper.tensor_dtype_to_np_dtype(self.ctx.get_dtype(x))))

    def in_type_of(self, x: str, value: str) -> str:
        """A float32 value in the type of x."""
        dtype = self.ctx.get_dtype(x)
        return value if dtype == TensorProto.FLOAT else self.add("Cast", value, to=dtype)

    def numbers(self, values: Sequence[float]) -> str:
        """A constant float32 vector."""
        return self._constant(np.array(values, np.float32))

    def length(self, x: str, axis: int) -> str:
        """int64 [1]: the size of an axis."""
        return self.add("Gather", self.add("Shape", x), self.integers(axis))

    def channels(self, x: str) -> int:
        """The known number of channels of an NCHW tensor."""
        return int(self.ctx.get_shape(x)[1])

    def _constant(self, value: np.ndarray) -> str:
        name: str = self.ctx.make_const(utils.make_name("constant"), value).output[0]
        return name


class Window:
    """Kernel size, strides and ONNX pads of a convolution or a pooling node; its padding is symmetric."""

    def __init__(self, kernel: Sequence[int], node: Node) -> None:
        self.kernel: list[int] = list(kernel)
        self.strides: list[int] = list(node.get_attr_value("strides"))[2:]
        same = node.get_attr_value("padding") in (b"SAME", "SAME")
        self.pads = [(k - 1) // 2 if same else 0 for k in self.kernel] * 2
