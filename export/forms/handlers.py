"""tf2onnx handlers for the operators whose stock conversion is missing, wrong or slow; all NCHW.

They go to tf2onnx as `custom_op_handlers`: so they hold for one conversion and register nothing in the process.
Kernels are OIHW in the bundle and transposed to TensorFlow's HWIO in the trace; the
handlers reach through that transposition to the kernel as it is stored. Where the forms of the graph differ, a handler
calls the form that it was made for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from onnx import TensorProto

from . import blocked, channels_last, portable
from .nodes import Context, Node, Nodes, Window
from .portable import window_reach


class Form(Protocol):
    """A module that expresses what differs between the forms of the graph; `portable` says what each function does."""

    NAME: str
    BY_PLACE: bool

    def convolution(self, nodes: Nodes, x: str, kernel: str, channels: int, **attributes: Any) -> str: ...

    def masked(self, nodes: Nodes, dy: str, y: str) -> str: ...

    def total(self, nodes: Nodes, terms: Sequence[str]) -> str: ...

    def channel_means(self, nodes: Nodes, x: str) -> str: ...

    def max_pool_gradient(self, nodes: Nodes, window: Window, x: str, rows: str, y: str, dy: str) -> str: ...


PORTABLE: Form = portable
FORMS: tuple[Form, ...] = (PORTABLE, blocked, channels_last)
# The image's three; with many, the zeros of `_put_by_place` cost more than it saves.
_FEW_CHANNELS = 4

Handler = Callable[[Nodes, Node, Form], None]


def handlers(form: Form) -> dict[str, tuple[Callable[[Context, Node, str, Any], None], list[Any]]]:
    """TensorFlow's operators -> their conversion to that form, as tf2onnx takes it."""
    return {kind: (_bound(handler, form), []) for kind, handler in _HANDLERS.items()}


def _bound(handler: Handler, form: Form) -> Callable[[Context, Node, str, Any], None]:
    return lambda ctx, node, name, args: handler(Nodes(ctx), node, form)


def _convolution(nodes: Nodes, node: Node, form: Form) -> None:
    """Conv2D, with or without a bias, as Conv."""
    x, transposed, *bias = node.input
    kernel = _stored(nodes.ctx, transposed)
    window = Window(nodes.ctx.get_shape(kernel)[2:], node)
    nodes.put(node, "Conv", x, kernel, *bias, kernel_shape=window.kernel, strides=window.strides, pads=window.pads)


def _convolution_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """Conv2DBackpropInput(input_sizes, kernel, dy)."""
    input_sizes, transposed, dy = node.input
    kernel = _stored(nodes.ctx, transposed)
    window = Window(nodes.ctx.get_shape(kernel)[2:], node)
    if window.strides == [1, 1]:
        _put_flipped(nodes, node, window, kernel, dy, form)
        return
    assert window.pads == [0, 0, 0, 0], "forward.fold refuses padded strided convolutions"
    size = nodes.add("Cast", input_sizes, to=TensorProto.INT64)
    few = nodes.channels(kernel) <= _FEW_CHANNELS and window.strides[0] == window.strides[1]
    (_put_by_place if few and form.BY_PLACE else _put_transposed)(nodes, node, window, kernel, dy, size)


def _put_flipped(nodes: Nodes, node: Node, window: Window, kernel: str, dy: str, form: Form) -> None:
    """With stride 1 the gradient is a convolution of dy with the kernel flipped and its channels swapped.

    That is 1.3-2 times as fast as ConvTranspose on a CPU; what is done to the kernel is folded when a session loads.
    """
    swapped = nodes.add("Transpose", _flipped(nodes, kernel), perm=[1, 0, 2, 3])
    reach = [k - 1 - p for k, p in zip(window.kernel * 2, window.pads, strict=True)]
    gradient = form.convolution(nodes, dy, swapped, nodes.channels(kernel), kernel_shape=window.kernel, pads=reach)
    nodes.put(node, "Identity", gradient)


def _put_transposed(nodes: Nodes, node: Node, window: Window, kernel: str, dy: str, size: str) -> None:
    """ConvTranspose, which comes out short by the rows that no window reached; they get zeros."""
    full = nodes.add("ConvTranspose", dy, kernel, kernel_shape=window.kernel, strides=window.strides)
    missing = nodes.add("Sub", size, nodes.add("Shape", full))
    ends = nodes.add("Mul", missing, nodes.integers(0, 0, 1, 1))  # batch and channels are right already
    nodes.put(node, "Pad", full, nodes.add("Concat", nodes.integers(0, 0, 0, 0), ends, axis=0))


def _put_by_place(nodes: Nodes, node: Node, window: Window, kernel: str, dy: str, size: str) -> None:
    """The pixels at one place in a stride see one part of the kernel: a convolution of dy with all these parts has them
    as its channels, and DepthToSpace puts them where they belong.

    Where a kernel is no multiple of its stride, zeros fill it up, which costs little where channels are few.
    """
    outputs, channels = nodes.ctx.get_shape(kernel)[:2]
    stride = window.strides[0]
    down, right = (window_reach(side, stride) + 1 for side in window.kernel)
    zeros = down * stride - window.kernel[0], right * stride - window.kernel[1]
    filled = nodes.add("Pad", kernel, nodes.integers(0, 0, 0, 0, 0, 0, *zeros))
    apart = nodes.add("Reshape", filled, nodes.integers(outputs, channels, down, stride, right, stride))
    sorted_parts = nodes.add("Transpose", apart, perm=[3, 5, 1, 0, 2, 4])
    parts = nodes.add("Reshape", sorted_parts, nodes.integers(stride**2 * channels, outputs, down, right))
    pads = [down - 1, right - 1] * 2
    cells = nodes.add("Conv", dy, _flipped(nodes, parts), kernel_shape=[down, right], pads=pads)
    whole = nodes.add("DepthToSpace", cells, blocksize=stride)
    sides = nodes.add("Slice", size, nodes.integers(2), nodes.integers(4))
    nodes.put(node, "Slice", whole, nodes.integers(0, 0), sides, nodes.integers(2, 3))


def _flipped(nodes: Nodes, kernel: str) -> str:
    """The kernel upside down and mirrored."""
    backwards = nodes.integers(-1, -1), nodes.integers(-(2**31), -(2**31)), nodes.integers(2, 3), nodes.integers(-1, -1)
    return nodes.add("Slice", kernel, *backwards)


def _stored(ctx: Context, transposed: str) -> str:
    """The OIHW kernel behind its transposition to HWIO."""
    transposition = ctx.get_node_by_output(transposed)
    assert transposition.type == "Transpose", transposition.summary
    kernel: str = transposition.input[0]
    return kernel


def _relu_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """ReluGrad(dy, y): dy where y is positive."""
    dy, y = node.input
    nodes.put(node, "Identity", form.masked(nodes, dy, y))


def _max_pool_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """MaxPoolGrad(x, y, dy) of a VALID maximum."""
    x, y, dy = node.input
    window = Window(node.get_attr_value("ksize")[2:], node)
    (height, width), (down, right) = window.kernel, window.strides
    # The forward MaxPool is replaced by one along the rows and one down them, whose gradients are simple.
    rows = nodes.add("MaxPool", x, kernel_shape=[1, width], strides=[1, right])
    pooled = nodes.add("MaxPool", rows, kernel_shape=[height, 1], strides=[down, 1])
    nodes.ctx.replace_all_inputs(y, pooled)
    nodes.put(node, "Identity", form.max_pool_gradient(nodes, window, x, rows, pooled, dy))


def _average_pool_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """AvgPoolGrad(shape, dy) of a SAME mean with stride 1.

    The sum over a window of dy divided by the number of pixels that its own window held. The count is built from the
    sizes, not as a pooling of ones, which OpenVINO gets wrong in bfloat16.
    """
    shape, dy = node.input
    window = Window(node.get_attr_value("ksize")[2:], node)
    counts = [_window_counts(nodes, shape, axis, side) for axis, side in zip((2, 3), window.kernel, strict=True)]
    rows = nodes.add("Unsqueeze", counts[0], nodes.integers(1))
    area = nodes.number(window.kernel[0] * window.kernel[1])
    share = nodes.add("Div", area, nodes.add("Mul", rows, counts[1]))
    spread = nodes.add("Mul", dy, nodes.in_type_of(dy, share))
    nodes.put(node, "AveragePool", spread, kernel_shape=window.kernel, pads=window.pads, count_include_pad=1)


def _window_counts(nodes: Nodes, shape: str, axis: int, side: int) -> str:
    """float32 [length]: how many pixels of an odd window lie inside the picture, for each place along an axis."""
    length = nodes.add("Cast", nodes.add("Gather", shape, nodes.integer(axis)), to=TensorProto.INT64)
    one, reach = nodes.integer(1), nodes.integer(side // 2)
    before = nodes.add("Range", nodes.integer(0), length, one)
    after = nodes.add("Sub", nodes.add("Sub", length, one), before)
    inside = [nodes.add("Min", distance, reach) for distance in (before, after)]
    count = nodes.add("Add", nodes.add("Add", *inside), one)
    return nodes.add("Cast", count, to=TensorProto.FLOAT)


def _total(nodes: Nodes, node: Node, form: Form) -> None:
    """AddN."""
    nodes.put(node, "Identity", form.total(nodes, node.input))


def _spread(nodes: Nodes, node: Node, form: Form) -> None:
    """BroadcastTo(value, shape) over pixels."""
    value, shape = node.input
    nodes.put(node, "Expand", value, nodes.add("Cast", shape, to=TensorProto.INT64))


def _mean(nodes: Nodes, node: Node, form: Form) -> None:
    """Mean(x, axes) over pixels."""
    nodes.put(node, "Identity", form.channel_means(nodes, node.input[0]))


_HANDLERS: dict[str, Handler] = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _convolution_gradient,
    "ReluGrad": _relu_gradient,
    "MaxPoolGrad": _max_pool_gradient,
    "AvgPoolGrad": _average_pool_gradient,
    "AddN": _total,
    "BroadcastTo": _spread,
    "Mean": _mean,
}
