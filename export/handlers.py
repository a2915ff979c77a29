"""tf2onnx handlers for the operators whose stock conversion is missing, wrong or slow; all NCHW.

Each is (function, arguments) as `custom_op_handlers` of tf2onnx takes them: the handlers hold for one conversion and
register nothing in the process. Kernels are OIHW in the bundle and transposed to TensorFlow's HWIO in the trace; the
handlers reach through that transposition to the kernel as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from tf2onnx import utils

Context = Any
Node = Any


def _convolution(ctx: Context, node: Node, name: str, args: Any) -> None:
    """Conv2D, with or without a bias, as Conv."""
    x, transposed, *bias = node.input
    kernel = _stored(ctx, transposed)
    window = _Window(ctx.get_shape(kernel)[2:], node)
    _replace(
        ctx,
        node,
        "Conv",
        [x, kernel, *bias],
        kernel_shape=window.kernel,
        strides=window.strides,
        pads=window.pads,
    )


def _convolution_gradient(ctx: Context, node: Node, name: str, args: Any) -> None:
    """Conv2DBackpropInput(input_sizes, kernel, dy).

    With stride 1 it is a convolution of dy with the kernel flipped and its channels swapped, 1.3-2 times as fast as
    ConvTranspose on a CPU; the flip is a Slice and a Transpose of the same initializer, folded when a session loads.
    With a larger stride, ConvTranspose comes out short by the rows that no window reached; they get zeros.
    """
    input_sizes, transposed, dy = node.input
    kernel = _stored(ctx, transposed)
    window = _Window(ctx.get_shape(kernel)[2:], node)
    if window.strides == [1, 1]:
        flipped = _op(ctx, "Slice", [kernel, *_int64s(ctx, [-1, -1], [-(2**31), -(2**31)], [2, 3], [-1, -1])])
        swapped = _op(ctx, "Transpose", [flipped], perm=[1, 0, 2, 3])
        reach = [k - 1 - p for k, p in zip(window.kernel * 2, window.pads, strict=True)]
        _replace(ctx, node, "Conv", [dy, swapped], kernel_shape=window.kernel, pads=reach)
        return
    assert window.pads == [0, 0, 0, 0], "forward.fold refuses padded strided convolutions"
    full = _op(ctx, "ConvTranspose", [dy, kernel], kernel_shape=window.kernel, strides=window.strides)
    target = _op(ctx, "Cast", [input_sizes], to=TensorProto.INT64)
    missing = _op(ctx, "Sub", [target, _op(ctx, "Shape", [full])])
    ends = _op(ctx, "Mul", [missing, *_int64s(ctx, [0, 0, 1, 1])])  # batch and channels are right already
    pads = _op(ctx, "Concat", [*_int64s(ctx, [0, 0, 0, 0]), ends], axis=0)
    _replace(ctx, node, "Pad", [full, pads])


def _stored(ctx: Context, transposed: str) -> str:
    """The OIHW kernel behind its transposition to HWIO."""
    transposition = ctx.get_node_by_output(transposed)
    assert transposition.type == "Transpose", transposition.summary
    kernel: str = transposition.input[0]
    return kernel


def _relu_gradient(ctx: Context, node: Node, name: str, args: Any) -> None:
    """ReluGrad(dy, y): dy where y is positive."""
    dy, y = node.input
    zero = _scalar(ctx, 0, np.float32)
    _replace(ctx, node, "Where", [_op(ctx, "Greater", [y, zero]), dy, zero])


def _max_pool_gradient(ctx: Context, node: Node, name: str, args: Any) -> None:
    """MaxPoolGrad(x, y, dy): dy is added up at the index of each window's first maximum."""
    x, y, dy = node.input
    window = _Window(node.get_attr_value("ksize")[2:], node)
    # The forward MaxPool is replaced by one that gives the indices too.
    pooled = ctx.make_node(
        "MaxPool", [x], output_count=2, attr={"kernel_shape": window.kernel, "strides": window.strides}
    )
    ctx.replace_all_inputs(y, pooled.output[0])
    flat = _int64s(ctx, [-1])
    shape = _op(ctx, "Shape", [x])
    elements = _op(ctx, "ReduceProd", [shape], keepdims=1)
    zeros = _op(ctx, "ConstantOfShape", [elements])
    indices = _op(ctx, "Reshape", [pooled.output[1], *flat])
    updates = _op(ctx, "Reshape", [dy, *flat])
    scattered = _op(ctx, "ScatterElements", [zeros, indices, updates], axis=0, reduction="add")
    _replace(ctx, node, "Reshape", [scattered, shape])


def _average_pool_gradient(ctx: Context, node: Node, name: str, args: Any) -> None:
    """AvgPoolGrad(shape, dy) of a SAME mean with stride 1.

    The sum over a window of dy divided by the number of pixels that its own window held. The count is built from the
    sizes, not as a pooling of ones, which OpenVINO gets wrong in bfloat16.
    """
    shape, dy = node.input
    window = _Window(node.get_attr_value("ksize")[2:], node)
    counts = [_window_counts(ctx, shape, axis, side) for axis, side in zip((2, 3), window.kernel, strict=True)]
    rows = _op(ctx, "Unsqueeze", [counts[0], *_int64s(ctx, [1])])
    area = float(window.kernel[0] * window.kernel[1])
    share = _op(ctx, "Div", [_scalar(ctx, area, np.float32), _op(ctx, "Mul", [rows, counts[1]])])
    spread = _op(ctx, "Mul", [dy, share])
    _replace(ctx, node, "AveragePool", [spread], kernel_shape=window.kernel, pads=window.pads, count_include_pad=1)


def _window_counts(ctx: Context, shape: str, axis: int, side: int) -> str:
    """float32 [length]: how many pixels of an odd window lie inside the picture, for each place along an axis."""
    length = _op(ctx, "Gather", [shape, _scalar(ctx, axis, np.int64)])
    length = _op(ctx, "Cast", [length], to=TensorProto.INT64)
    one, reach = _scalar(ctx, 1, np.int64), _scalar(ctx, side // 2, np.int64)
    before = _op(ctx, "Range", [_scalar(ctx, 0, np.int64), length, one])
    after = _op(ctx, "Sub", [_op(ctx, "Sub", [length, one]), before])
    inside = [_op(ctx, "Min", [distance, reach]) for distance in (before, after)]
    count = _op(ctx, "Add", [_op(ctx, "Add", inside), one])
    return _op(ctx, "Cast", [count], to=TensorProto.FLOAT)


class _Window:
    """Kernel size, strides and ONNX pads of a convolution or a pooling node; its padding is symmetric."""

    def __init__(self, kernel: list[int], node: Node) -> None:
        self.kernel = list(kernel)
        self.strides = list(node.get_attr_value("strides"))[2:]
        same = node.get_attr_value("padding") in (b"SAME", "SAME")
        self.pads = [(k - 1) // 2 if same else 0 for k in self.kernel] * 2


def _replace(ctx: Context, node: Node, op_type: str, inputs: list[str], **attributes: Any) -> None:
    """Puts an ONNX node in the place of a TensorFlow node, its output's name, shape and type kept."""
    output = node.output[0]
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    ctx.remove_node(node.name)
    ctx.make_node(op_type, inputs, attr=attributes, name=node.name, outputs=[output], shapes=[shape], dtypes=[dtype])


def _op(ctx: Context, op_type: str, inputs: list[str], **attributes: Any) -> str:
    output: str = ctx.make_node(op_type, inputs, attr=attributes).output[0]
    return output


def _int64s(ctx: Context, *vectors: list[int]) -> list[str]:
    return [_constant(ctx, np.array(values, np.int64)) for values in vectors]


def _scalar(ctx: Context, value: float, dtype: type) -> str:
    return _constant(ctx, np.array(value, dtype))


def _constant(ctx: Context, value: np.ndarray) -> str:
    name: str = ctx.make_const(utils.make_name("constant"), value).output[0]
    return name


HANDLERS: dict[str, tuple[Callable[[Context, Node, str, Any], None], list[Any]]] = {
    "Conv2D": (_convolution, []),
    "Conv2DBackpropInput": (_convolution_gradient, []),
    "ReluGrad": (_relu_gradient, []),
    "MaxPoolGrad": (_max_pool_gradient, []),
    "AvgPoolGrad": (_average_pool_gradient, []),
}
