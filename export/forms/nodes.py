"""Adding ONNX nodes to a graph while tf2onnx converts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from tf2onnx import utils

Context = Any
Node = Any


class Nodes:
    """Adds nodes to tf2onnx's graph. Tensors are passed by name; methods that add a node return its output.

    `phases` remembers the phases that tensors are interleaved from (`phases.Phases`), by the tensors' names. It is
    shared by all handlers of one conversion. `has_tiny_values` is whether activations may be so small that they would
    be lost in a sum with numbers around 1.
    """

    def __init__(self, ctx: Context, phases: dict[str, Any], has_tiny_values: bool) -> None:
        self.ctx = ctx
        self.phases = phases
        self.has_tiny_values = has_tiny_values

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output."""
        output: str = self.ctx.make_node(op_type, list(inputs), attr=attributes).output[0]
        return output

    def sum(self, *terms: str) -> str:
        """Adds a sum as a chain of Add, which onnxruntime's CPU provider fuses with the convolutions before them."""
        total, *others = terms
        for other in others:
            total = self.add("Add", total, other)
        return total

    def unexpanded(self, x: str) -> str:
        """Returns the input of the Expand that x is the output of, for an operator that broadcasts; otherwise x."""
        node = self.ctx.get_node_by_output(self.source(x))
        return str(node.input[0]) if node and node.type == "Expand" else x

    def source(self, x: str) -> str:
        """Returns the tensor that x is, behind any number of Identity nodes."""
        node = self.ctx.get_node_by_output(x)
        while node and node.type == "Identity":
            x = node.input[0]
            node = self.ctx.get_node_by_output(x)
        return x

    def replace(self, node: Node, op_type: str, *inputs: str, **attributes: Any) -> None:
        """Replaces a TensorFlow node by an ONNX node; the output's name, shape and type stay."""
        output = node.output[0]
        shape, dtype = self.ctx.get_shape(output), self.ctx.get_dtype(output)
        self.ctx.remove_node(node.name)
        self.ctx.make_node(
            op_type, list(inputs), attr=attributes, name=node.name, outputs=[output], shapes=[shape], dtypes=[dtype]
        )

    def integers(self, *values: int) -> str:
        """Adds a constant, int64 [values]."""
        return self._constant(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """Adds a constant int64 scalar."""
        return self._constant(np.array(value, np.int64))

    def number(self, value: float) -> str:
        """Adds a constant float32 scalar."""
        return self._constant(np.array(value, np.float32))

    def zero(self, x: str) -> str:
        """Adds a constant scalar 0 of the type of x."""
        return self._constant(np.zeros((), helper.tensor_dtype_to_np_dtype(self.ctx.get_dtype(x))))

    def cast_like(self, x: str, value: str) -> str:
        """Casts a float32 tensor to the type of x, if that differs."""
        dtype = self.ctx.get_dtype(x)
        return value if dtype == TensorProto.FLOAT else self.add("Cast", value, to=dtype)

    def numbers(self, values: Sequence[float]) -> str:
        """Adds a constant, float32 [values]."""
        return self._constant(np.array(values, np.float32))

    def length(self, x: str, axis: int) -> str:
        """Adds the length of an axis of x, int64 [1]."""
        return self.add("Gather", self.add("Shape", x), self.integers(axis))

    def channels(self, x: str) -> int:
        """Returns the number of channels of an NCHW tensor, which is known when the graph is converted."""
        return int(self.ctx.get_shape(x)[1])

    def _constant(self, value: np.ndarray) -> str:
        name: str = self.ctx.make_const(utils.make_name("constant"), value).output[0]
        return name


class WindowAttributes:
    """The kernel size, strides, dilations and padding of a convolution or pooling node, in pixels.

    `kernel`, `strides` and `dilations` are [vertical, horizontal]. `same` is whether the padding is TensorFlow's SAME,
    which pads with one more pixel at the bottom and at the right where it pads with an odd number of pixels. `margins`
    is other padding: [top, left, bottom, right].
    """

    def __init__(self, kernel: Sequence[int], node: Node) -> None:
        self.kernel: list[int] = list(kernel)
        self.strides: list[int] = list(node.get_attr_value("strides"))[2:]
        self.dilations: list[int] = list(node.get_attr_value("dilations") or [1] * 4)[2:]
        self.same = node.get_attr_value("padding") in (b"SAME", "SAME")
        top, bottom, left, right = list(node.get_attr_value("explicit_paddings") or [])[4:] or [0] * 4
        self.margins: list[int] = [top, left, bottom, right]

    @property
    def is_strided(self) -> bool:
        """Whether there are windows at some pixels only."""
        return self.strides != [1, 1]

    @property
    def spans(self) -> list[int]:
        """How many rows and columns a window extends over."""
        return [(side - 1) * apart + 1 for side, apart in zip(self.kernel, self.dilations, strict=True)]

    @property
    def leaves_gaps(self) -> bool:
        """Whether there are pixels between the windows, in none of them."""
        return any(side < stride for side, stride in zip(self.kernel, self.strides, strict=True))

    @property
    def pads(self) -> list[int]:
        """ONNX's pads [top, left, bottom, right]; with a stride, SAME pads depend on the size of the image."""
        assert not (self.same and self.is_strided)
        if not self.same:
            return self.margins
        totals = [span - 1 for span in self.spans]
        return [total // 2 for total in totals] + [total - total // 2 for total in totals]

    @property
    def onnx(self) -> dict[str, Any]:
        """The attributes of an ONNX node."""
        padding = {"auto_pad": "SAME_UPPER"} if self.same and self.is_strided else {"pads": self.pads}
        return {"kernel_shape": self.kernel, "strides": self.strides, **self.dilated, **padding}

    @property
    def dilated(self) -> dict[str, Any]:
        """The attribute of the dilations, if there are any."""
        return {"dilations": self.dilations} if self.dilations != [1, 1] else {}
