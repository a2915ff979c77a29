"""tf2onnx handlers for the operators whose own conversion by tf2onnx is missing, wrong or slow; all tensors are NCHW.

They are passed to tf2onnx as `custom_op_handlers`, so they apply to one conversion and register nothing in the process.
Kernels are stored OIHW in the bundle and transposed to TensorFlow's HWIO in the trace; the handlers use the stored
kernel, behind that transposition. Where the forms of the graph differ, a handler calls functions of its form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from onnx import TensorProto

from . import blocked, channels_last, portable
from .nodes import Context, Node, Nodes, WindowAttributes
from .portable import window_overhang


class Form(Protocol):
    """A module with the functions that differ between the forms of the graph; `portable` documents them."""

    NAME: str
    SUBPIXEL_GRADIENT: bool

    def convolution(self, nodes: Nodes, x: str, kernel: str, channels: int, **attributes: Any) -> str: ...

    def relu_gradient(self, nodes: Nodes, dy: str, y: str) -> str: ...

    def add_n(self, nodes: Nodes, terms: Sequence[str]) -> str: ...

    def channel_means(self, nodes: Nodes, x: str) -> str: ...

    def max_pool_gradient(
        self, nodes: Nodes, window: WindowAttributes, x: str, row_maxima: str, y: str, dy: str
    ) -> str: ...


PORTABLE: Form = portable
FORMS: tuple[Form, ...] = (PORTABLE, blocked, channels_last)
# The image has three channels; with many, the zeros in `_subpixel_gradient` cost more than it saves.
_MAX_SUBPIXEL_CHANNELS = 4

Handler = Callable[[Nodes, Node, Form], None]


def handlers(form: Form) -> dict[str, tuple[Callable[[Context, Node, str, Any], None], list[Any]]]:
    """Returns tf2onnx's `custom_op_handlers` for a form: TensorFlow operator -> (handler, its arguments)."""
    return {kind: (_bound(handler, form), []) for kind, handler in _HANDLERS.items()}


def _bound(handler: Handler, form: Form) -> Callable[[Context, Node, str, Any], None]:
    return lambda ctx, node, name, args: handler(Nodes(ctx), node, form)


def _convolution(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts Conv2D(x, kernel), with or without a bias, to Conv."""
    x, transposed, *bias = node.input
    kernel = _stored_kernel(nodes.ctx, transposed)
    window = WindowAttributes(nodes.ctx.get_shape(kernel)[2:], node)
    nodes.replace(node, "Conv", x, kernel, *bias, kernel_shape=window.kernel, strides=window.strides, pads=window.pads)


def _convolution_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts Conv2DBackpropInput(input_sizes, kernel, dy)."""
    input_sizes, transposed, dy = node.input
    kernel = _stored_kernel(nodes.ctx, transposed)
    window = WindowAttributes(nodes.ctx.get_shape(kernel)[2:], node)
    if window.strides == [1, 1]:
        _flipped_convolution(nodes, node, window, kernel, dy, form)
        return
    assert window.pads == [0, 0, 0, 0], "forward.fold refuses padded strided convolutions"
    size = nodes.add("Cast", input_sizes, to=TensorProto.INT64)
    is_square = window.strides[0] == window.strides[1]
    if form.SUBPIXEL_GRADIENT and is_square and nodes.channels(kernel) <= _MAX_SUBPIXEL_CHANNELS:
        _subpixel_gradient(nodes, node, window, kernel, dy, size)
    else:
        _transposed_convolution(nodes, node, window, kernel, dy, size)


def _flipped_convolution(nodes: Nodes, node: Node, window: WindowAttributes, kernel: str, dy: str, form: Form) -> None:
    """Converts a gradient with stride 1 to a convolution of dy with the flipped kernel, its channels swapped.

    This is 1.3 to 2 times as fast as ConvTranspose on a CPU. onnxruntime flips the kernel once, when a session loads.
    """
    swapped = nodes.add("Transpose", _flipped(nodes, kernel), perm=[1, 0, 2, 3])
    pads = [k - 1 - p for k, p in zip(window.kernel * 2, window.pads, strict=True)]
    gradient = form.convolution(nodes, dy, swapped, nodes.channels(kernel), kernel_shape=window.kernel, pads=pads)
    nodes.replace(node, "Identity", gradient)


def _transposed_convolution(
    nodes: Nodes, node: Node, window: WindowAttributes, kernel: str, dy: str, size: str
) -> None:
    """Converts a gradient to ConvTranspose and pads the result with zeros for the rows and columns no window covered.

    `size` is the shape of the input, int64 [4].
    """
    full = nodes.add("ConvTranspose", dy, kernel, kernel_shape=window.kernel, strides=window.strides)
    missing = nodes.add("Sub", size, nodes.add("Shape", full))
    ends = nodes.add("Mul", missing, nodes.integers(0, 0, 1, 1))  # batch and channels need no padding
    nodes.replace(node, "Pad", full, nodes.add("Concat", nodes.integers(0, 0, 0, 0), ends, axis=0))


def _subpixel_gradient(nodes: Nodes, node: Node, window: WindowAttributes, kernel: str, dy: str, size: str) -> None:
    """Converts a gradient to a sub-pixel convolution: Conv and DepthToSpace (Shi et al. 2016, arXiv:1609.05158).

    The gradients of the input pixels in one phase, that is, with the same remainder modulo the stride, depend on one
    subset of the kernel only. A convolution of dy with all these subsets has the phases as its channels, and
    DepthToSpace interleaves them. The kernel is padded with zeros to a multiple of the stride, which costs little if
    there are few channels. `size` is the shape of the input, int64 [4].
    """
    outputs, channels = nodes.ctx.get_shape(kernel)[:2]
    stride = window.strides[0]
    down, right = (window_overhang(side, stride) + 1 for side in window.kernel)
    zeros = down * stride - window.kernel[0], right * stride - window.kernel[1]
    padded = nodes.add("Pad", kernel, nodes.integers(0, 0, 0, 0, 0, 0, *zeros))
    split = nodes.add("Reshape", padded, nodes.integers(outputs, channels, down, stride, right, stride))
    phases_first = nodes.add("Transpose", split, perm=[3, 5, 1, 0, 2, 4])
    phase_kernel = nodes.add("Reshape", phases_first, nodes.integers(stride**2 * channels, outputs, down, right))
    pads = [down - 1, right - 1] * 2
    phases = nodes.add("Conv", dy, _flipped(nodes, phase_kernel), kernel_shape=[down, right], pads=pads)
    whole = nodes.add("DepthToSpace", phases, blocksize=stride)
    sides = nodes.add("Slice", size, nodes.integers(2), nodes.integers(4))
    nodes.replace(node, "Slice", whole, nodes.integers(0, 0), sides, nodes.integers(2, 3))


def _flipped(nodes: Nodes, kernel: str) -> str:
    """Adds a kernel, OIHW, flipped vertically and horizontally."""
    backwards = nodes.integers(-1, -1), nodes.integers(-(2**31), -(2**31)), nodes.integers(2, 3), nodes.integers(-1, -1)
    return nodes.add("Slice", kernel, *backwards)


def _stored_kernel(ctx: Context, transposed: str) -> str:
    """Returns the OIHW kernel whose transposition to HWIO is `transposed`."""
    transposition = ctx.get_node_by_output(transposed)
    assert transposition.type == "Transpose", transposition.summary
    kernel: str = transposition.input[0]
    return kernel


def _relu_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts ReluGrad(dy, y): dy where y > 0, else 0."""
    dy, y = node.input
    nodes.replace(node, "Identity", form.relu_gradient(nodes, dy, y))


def _max_pool_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts MaxPoolGrad(x, y, dy) of a VALID max-pooling."""
    x, y, dy = node.input
    window = WindowAttributes(node.get_attr_value("ksize")[2:], node)
    (height, width), (down, right) = window.kernel, window.strides
    # The forward MaxPool is replaced by one along the rows and one down the columns, whose gradients are simple.
    row_maxima = nodes.add("MaxPool", x, kernel_shape=[1, width], strides=[1, right])
    pooled = nodes.add("MaxPool", row_maxima, kernel_shape=[height, 1], strides=[down, 1])
    nodes.ctx.replace_all_inputs(y, pooled)
    nodes.replace(node, "Identity", form.max_pool_gradient(nodes, window, x, row_maxima, pooled, dy))


def _average_pool_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts AvgPoolGrad(shape, dy) of a SAME average pooling with stride 1.

    The gradient at a pixel is a sum over the window around it: of dy, divided by the number of pixels that each window
    of the pooling averaged. This number is computed from the image's size, not by pooling ones, which OpenVINO gets
    wrong in bfloat16.
    """
    shape, dy = node.input
    window = WindowAttributes(node.get_attr_value("ksize")[2:], node)
    counts = [_window_counts(nodes, shape, axis, side) for axis, side in zip((2, 3), window.kernel, strict=True)]
    rows = nodes.add("Unsqueeze", counts[0], nodes.integers(1))
    area = nodes.number(window.kernel[0] * window.kernel[1])
    factor = nodes.add("Div", area, nodes.add("Mul", rows, counts[1]))
    weighted = nodes.add("Mul", dy, nodes.cast_like(dy, factor))
    nodes.replace(node, "AveragePool", weighted, kernel_shape=window.kernel, pads=window.pads, count_include_pad=1)


def _window_counts(nodes: Nodes, shape: str, axis: int, side: int) -> str:
    """Adds the number of pixels of an odd window that lie inside the image, at each position along an axis.

    `shape` is the image's shape [4], `side` the window's length. Returns float32 [length of the axis].
    """
    length = nodes.add("Cast", nodes.add("Gather", shape, nodes.integer(axis)), to=TensorProto.INT64)
    one, half = nodes.integer(1), nodes.integer(side // 2)
    before = nodes.add("Range", nodes.integer(0), length, one)
    after = nodes.add("Sub", nodes.add("Sub", length, one), before)
    inside = [nodes.add("Min", distance, half) for distance in (before, after)]
    count = nodes.add("Add", nodes.add("Add", *inside), one)
    return nodes.add("Cast", count, to=TensorProto.FLOAT)


def _add_n(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts AddN(terms…)."""
    nodes.replace(node, "Identity", form.add_n(nodes, node.input))


def _broadcast(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts BroadcastTo(value, shape), which repeats a value over pixels."""
    value, shape = node.input
    nodes.replace(node, "Expand", value, nodes.add("Cast", shape, to=TensorProto.INT64))


def _mean(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts Mean(x, axes) over pixels."""
    nodes.replace(node, "Identity", form.channel_means(nodes, node.input[0]))


_HANDLERS: dict[str, Handler] = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _convolution_gradient,
    "ReluGrad": _relu_gradient,
    "MaxPoolGrad": _max_pool_gradient,
    "AvgPoolGrad": _average_pool_gradient,
    "AddN": _add_n,
    "BroadcastTo": _broadcast,
    "Mean": _mean,
}
