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
from .phases import Phases, can_split
from .portable import window_overhang


class Form(Protocol):
    """A module with the functions that differ between the forms of the graph; `portable` documents them."""

    NAME: str
    SUBPIXEL_GRADIENT: bool
    PHASES: bool

    def convolution(self, nodes: Nodes, x: str, kernel: str, channels: int, **attributes: Any) -> str: ...

    def relu_gradient(self, nodes: Nodes, dy: str, y: str) -> str: ...

    def relu6_gradient(self, nodes: Nodes, dy: str, y: str) -> str: ...

    def add_n(self, nodes: Nodes, terms: Sequence[str]) -> str: ...

    def channel_means(self, nodes: Nodes, x: str) -> str: ...

    def max_pool_gradient(
        self, nodes: Nodes, window: WindowAttributes, x: str, row_maxima: str, y: str, dy: str
    ) -> str: ...


PORTABLE: Form = portable
FORMS: tuple[Form, ...] = (PORTABLE, blocked, channels_last)
# The values that pad a maximum: less than any activation, and small enough that the blocked form can scale them.
_LEAST, _LEAST_HALF = -(2.0**26), -65504.0
# The image has three channels; with many, the zeros in `_subpixel_gradient` cost more than it saves.
_MAX_SUBPIXEL_CHANNELS = 4

Handler = Callable[[Nodes, Node, Form], None]


def handlers(
    form: Form, has_tiny_values: bool
) -> dict[str, tuple[Callable[[Context, Node, str, Any], None], list[Any]]]:
    """Returns tf2onnx's `custom_op_handlers` for a form: TensorFlow operator -> (handler, its arguments).

    `has_tiny_values` is that of `Nodes`.
    """
    phases: dict[str, Any] = {}

    def bound(handler: Handler) -> Callable[[Context, Node, str, Any], None]:
        return lambda ctx, node, name, args: handler(Nodes(ctx, phases, has_tiny_values), node, form)

    return {kind: (bound(handler), []) for kind, handler in _HANDLERS.items()}


def _convolution(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts Conv2D(x, kernel), with or without a bias, to Conv."""
    x, transposed, *bias = node.input
    kernel = _stored_kernel(nodes.ctx, transposed)
    window = WindowAttributes(nodes.ctx.get_shape(kernel)[2:], node)
    nodes.replace(node, "Conv", x, kernel, *bias, group=_groups(nodes, x, kernel), **window.onnx)


def _convolution_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts Conv2DBackpropInput(input_sizes, kernel, dy)."""
    input_sizes, transposed, dy = node.input
    kernel = _stored_kernel(nodes.ctx, transposed)
    window = WindowAttributes(nodes.ctx.get_shape(kernel)[2:], node)
    groups = _groups(nodes, node.output[0], kernel)
    if not window.is_strided:
        nodes.replace(node, "Identity", _flipped_convolution(nodes, window, kernel, groups, dy, form))
        return
    size = nodes.add(
        "Slice", nodes.add("Cast", input_sizes, to=TensorProto.INT64), nodes.integers(2), nodes.integers(4)
    )
    first = _pixels_before(nodes, window, size) if window.same else nodes.integers(*window.margins[:2])
    is_depthwise = groups == nodes.channels(node.output[0]) == nodes.channels(dy)
    if form.PHASES and window.same and is_depthwise and can_split(window):
        phases = Phases.of_gradient(nodes, window, kernel, dy, first, size)
        nodes.replace(node, "Identity", phases.interleaved(nodes))
        return
    last = nodes.add("Add", first, size) if window.same or any(window.margins) else size
    is_square = window.strides[0] == window.strides[1]
    if form.SUBPIXEL_GRADIENT and is_square and groups == 1 and nodes.channels(kernel) <= _MAX_SUBPIXEL_CHANNELS:
        whole = _subpixel_gradient(nodes, window, kernel, dy)
    else:
        whole = _transposed_convolution(nodes, window, kernel, groups, dy, last)
    nodes.replace(node, "Slice", whole, first, last, nodes.integers(2, 3))


def _groups(nodes: Nodes, x: str, kernel: str) -> int:
    """Returns the number of groups of a convolution of x with a kernel, OIHW."""
    return nodes.channels(x) // nodes.channels(kernel)


def _flipped_convolution(nodes: Nodes, window: WindowAttributes, kernel: str, groups: int, dy: str, form: Form) -> str:
    """Adds a gradient with stride 1: a convolution of dy with the flipped kernel, its channels swapped.

    This is 1.3 to 2 times as fast as ConvTranspose on a CPU. onnxruntime flips the kernel once, when a session loads.
    """
    pads = [span - 1 - pad for span, pad in zip(window.spans * 2, window.pads, strict=True)]
    outputs, inputs = nodes.ctx.get_shape(kernel)[:2]
    swapped = _flipped(nodes, kernel)
    if groups == 1:
        swapped = nodes.add("Transpose", swapped, perm=[1, 0, 2, 3])
    elif inputs > 1 or outputs > groups:
        per_group = nodes.add("Reshape", swapped, nodes.integers(groups, -1, inputs, *window.kernel))
        transposed = nodes.add("Transpose", per_group, perm=[0, 2, 1, 3, 4])
        swapped = nodes.add("Reshape", transposed, nodes.integers(groups * inputs, -1, *window.kernel))
    attributes = {"kernel_shape": window.kernel, **window.dilated, "pads": pads, "group": groups}
    return form.convolution(nodes, dy, swapped, groups * inputs, **attributes)


def _transposed_convolution(
    nodes: Nodes, window: WindowAttributes, kernel: str, groups: int, dy: str, size: str
) -> str:
    """Adds a gradient as ConvTranspose, with zeros behind it for the rows and columns that no window covered.

    `size` is the height and width of the input with the padding before it, int64 [2].
    """
    full = nodes.add("ConvTranspose", dy, kernel, kernel_shape=window.kernel, strides=window.strides, group=groups)
    if window.same and not window.leaves_gaps:
        return full
    missing = nodes.add("Sub", size, nodes.add("Slice", nodes.add("Shape", full), nodes.integers(2), nodes.integers(4)))
    ends = nodes.add("Max", missing, nodes.integers(0))
    return nodes.add("Pad", full, nodes.add("Concat", nodes.integers(*[0] * 6), ends, axis=0))


def _pixels_before(nodes: Nodes, window: WindowAttributes, size: str) -> str:
    """Adds how many rows and columns SAME padding puts before an image of a size, int64 [2].

    Half of the padding, rounded down.
    """
    return nodes.add("Div", _padding(nodes, window, size), nodes.integers(2))


def _padding(nodes: Nodes, window: WindowAttributes, size: str) -> str:
    """Adds how many rows and columns SAME padding adds to an image of a size, int64 [2].

    TensorFlow pads with (windows - 1) * stride + kernel - length pixels, or none.
    """
    strides = nodes.integers(*window.strides)
    starts = nodes.add("Mul", nodes.add("Div", nodes.add("Sub", size, nodes.integers(1)), strides), strides)
    total = nodes.add("Sub", nodes.add("Add", starts, nodes.integers(*window.kernel)), size)
    return nodes.add("Max", total, nodes.integers(0))


def _subpixel_gradient(nodes: Nodes, window: WindowAttributes, kernel: str, dy: str) -> str:
    """Adds a gradient as a sub-pixel convolution: Conv and DepthToSpace (Shi et al. 2016, arXiv:1609.05158).

    The gradients of the input pixels in one phase, that is, with the same remainder modulo the stride, depend on one
    subset of the kernel only. A convolution of dy with all these subsets has the phases as its channels, and
    DepthToSpace interleaves them. The kernel is padded with zeros to a multiple of the stride, which costs little if
    there are few channels.
    """
    outputs, channels = nodes.ctx.get_shape(kernel)[:2]
    stride = window.strides[0]
    down, right = (window_overhang(side, stride) + 1 for side in window.kernel)
    zeros = down * stride - window.kernel[0], right * stride - window.kernel[1]
    padded = _padded_kernel(nodes, kernel, zeros)
    split = nodes.add("Reshape", padded, nodes.integers(outputs, channels, down, stride, right, stride))
    phases_first = nodes.add("Transpose", split, perm=[3, 5, 1, 0, 2, 4])
    phase_kernel = nodes.add("Reshape", phases_first, nodes.integers(stride**2 * channels, outputs, down, right))
    pads = [down - 1, right - 1] * 2
    phases = nodes.add("Conv", dy, _flipped(nodes, phase_kernel), kernel_shape=[down, right], pads=pads)
    return nodes.add("DepthToSpace", phases, blocksize=stride)


def _padded_kernel(nodes: Nodes, kernel: str, zeros: tuple[int, int]) -> str:
    """Adds a kernel, OIHW, with rows of zeros below it and columns of zeros to its right.

    onnxruntime has no Pad for float16 on the CPU, where it folds constants, so a GPU would pad at every step.
    """
    padded, shape = kernel, list(nodes.ctx.get_shape(kernel))
    for axis, count in enumerate(zeros, 2):
        if count:
            rest = nodes.add("Expand", nodes.zero(kernel), nodes.integers(*shape[:axis], count, *shape[axis + 1 :]))
            padded = nodes.add("Concat", padded, rest, axis=axis)
            shape[axis] += count
    return padded


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


def _relu6(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts Relu6(x) to Clip, which onnxruntime fuses with the convolution before it."""
    x = node.input[0]
    nodes.replace(node, "Clip", x, *(nodes.cast_like(x, nodes.number(limit)) for limit in (0, 6)))


def _relu6_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts Relu6Grad(dy, y): dy where 0 < y < 6, else 0."""
    dy, y = node.input
    nodes.replace(node, "Identity", form.relu6_gradient(nodes, dy, y))


def _max_pool_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts MaxPoolGrad(x, y, dy)."""
    x, y, dy = node.input
    window = WindowAttributes(node.get_attr_value("ksize")[2:], node)
    (height, width), (down, right) = window.kernel, window.strides
    size = nodes.add("Slice", nodes.add("Shape", x), nodes.integers(2), nodes.integers(4))
    first = _pixels_before(nodes, window, size) if window.same else None
    if first:
        x = _padded(nodes, window, x, first, size)
    # The forward MaxPool is replaced by one along the rows and one down the columns, whose gradients are simple.
    row_maxima = nodes.add("MaxPool", x, kernel_shape=[1, width], strides=[1, right])
    pooled = nodes.add("MaxPool", row_maxima, kernel_shape=[height, 1], strides=[down, 1])
    nodes.ctx.replace_all_inputs(y, pooled)
    whole = form.max_pool_gradient(nodes, window, x, row_maxima, pooled, dy)
    if first:
        whole = nodes.add("Slice", whole, first, nodes.add("Add", first, size), nodes.integers(2, 3))
    nodes.replace(node, "Identity", whole)


def _padded(nodes: Nodes, window: WindowAttributes, x: str, first: str, size: str) -> str:
    """Adds x with SAME padding that no maximum takes; `first` are the rows and columns in front, int64 [2]."""
    after = nodes.add("Sub", _padding(nodes, window, size), first)
    zeros = nodes.integers(0, 0)
    least = nodes.cast_like(x, nodes.number(_LEAST if nodes.ctx.get_dtype(x) == TensorProto.FLOAT else _LEAST_HALF))
    padded = nodes.add("Pad", x, nodes.add("Concat", zeros, first, zeros, after, axis=0), least)
    nodes.ctx.set_shape(padded, [-1, nodes.channels(x), -1, -1])
    return padded


def _average_pool(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts AvgPool(x), in which padding does not count."""
    x = node.input[0]
    window = WindowAttributes(node.get_attr_value("ksize")[2:], node)
    if not (window.same and window.leaves_gaps):
        nodes.replace(node, "AveragePool", x, **window.onnx)
        return
    # Where windows leave gaps, onnxruntime's AveragePool takes the padding of SAME for negative.
    size = nodes.add("Slice", nodes.add("Shape", x), nodes.integers(2), nodes.integers(4))
    channels = nodes.channels(x)
    means = nodes.add("Conv", x, _mean_kernel(nodes, window, x, channels), group=channels, **window.onnx)
    factor = _padding_factor(nodes, window, size, _pixels_before(nodes, window, size))
    nodes.replace(node, "Mul", means, nodes.cast_like(x, factor))


def _average_pool_gradient(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts AvgPoolGrad(shape, dy).

    The gradient at a pixel is a sum over the windows that it lies in: of dy, divided by the number of pixels that each
    window averaged. This number is computed from the image's size, not by pooling ones, which OpenVINO gets wrong in
    bfloat16.
    """
    shape, dy = node.input
    window = WindowAttributes(node.get_attr_value("ksize")[2:], node)
    size = nodes.add("Slice", nodes.add("Cast", shape, to=TensorProto.INT64), nodes.integers(2), nodes.integers(4))
    first = _pixels_before(nodes, window, size) if window.same else nodes.integers(0, 0)
    if window.same:
        dy = nodes.add("Mul", dy, nodes.cast_like(dy, _padding_factor(nodes, window, size, first)))
    if window.same and not window.is_strided and all(side % 2 for side in window.kernel):
        nodes.replace(node, "AveragePool", dy, kernel_shape=window.kernel, pads=window.pads, count_include_pad=1)
        return
    channels = nodes.channels(node.output[0])
    whole = _transposed_convolution(nodes, window, _mean_kernel(nodes, window, dy, channels), channels, dy, size)
    nodes.replace(node, "Slice", whole, first, nodes.add("Add", first, size), nodes.integers(2, 3))


def _mean_kernel(nodes: Nodes, window: WindowAttributes, x: str, channels: int) -> str:
    """Adds the depthwise kernel of a mean over windows, of the type of x: [channels, 1, height, width]."""
    share = nodes.cast_like(x, nodes.number(1 / (window.kernel[0] * window.kernel[1])))
    return nodes.add("Expand", share, nodes.integers(channels, 1, *window.kernel))


def _padding_factor(nodes: Nodes, window: WindowAttributes, size: str, first: str) -> str:
    """Adds by how much a window's pixels outnumber those of them that lie inside the image, float32 [rows, columns]."""
    rows, columns = (_window_counts(nodes, window, size, first, axis) for axis in (0, 1))
    area = nodes.number(window.kernel[0] * window.kernel[1])
    return nodes.add("Div", area, nodes.add("Mul", nodes.add("Unsqueeze", rows, nodes.integers(1)), columns))


def _window_counts(nodes: Nodes, window: WindowAttributes, size: str, first: str, axis: int) -> str:
    """Adds the number of pixels inside the image of each window along an axis, float32 [windows].

    `size` is the image's height and width, and `first` the number of pixels of padding before them, both int64 [2].
    """
    stride, side = nodes.integer(window.strides[axis]), nodes.integer(window.kernel[axis])
    length, before = (nodes.add("Gather", of_axes, nodes.integer(axis)) for of_axes in (size, first))
    zero = nodes.integer(0)
    starts = nodes.add("Sub", nodes.add("Range", zero, length, stride), before)
    ends = nodes.add("Min", nodes.add("Add", starts, side), length)
    count = nodes.add("Sub", ends, nodes.add("Max", starts, zero))
    return nodes.add("Cast", count, to=TensorProto.FLOAT)


def _pad(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts PadV2(x, margins, zero); tf2onnx's own conversion gives float16 a zero of another type."""
    margins = nodes.ctx.get_node_by_output(node.input[1]).get_tensor_value(as_list=False)
    nodes.replace(node, "Pad", node.input[0], nodes.integers(*margins.T.ravel().tolist()))


def _add_n(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts AddN(terms…)."""
    nodes.replace(node, "Identity", form.add_n(nodes, node.input))


def _broadcast(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts BroadcastTo(value, shape), which repeats a value over pixels."""
    value, shape = node.input
    nodes.replace(node, "Expand", value, nodes.add("Cast", shape, to=TensorProto.INT64))


def _mean(nodes: Nodes, node: Node, form: Form) -> None:
    """Converts Mean(x, axes) over channels, or over pixels, whose axes it may keep."""
    if nodes.ctx.get_node_by_output(node.input[1]).get_tensor_value(as_list=False).ravel().tolist() == [1]:
        nodes.replace(node, "ReduceMean", node.input[0], axes=[1], keepdims=1)
    elif node.get_attr_value("keep_dims"):
        nodes.replace(node, "GlobalAveragePool", node.input[0])
    else:
        nodes.replace(node, "Identity", form.channel_means(nodes, node.input[0]))


_HANDLERS: dict[str, Handler] = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _convolution_gradient,
    "ReluGrad": _relu_gradient,
    "Relu6": _relu6,
    "Relu6Grad": _relu6_gradient,
    "MaxPoolGrad": _max_pool_gradient,
    "AvgPool": _average_pool,
    "AvgPoolGrad": _average_pool_gradient,
    "PadV2": _pad,
    "AddN": _add_n,
    "BroadcastTo": _broadcast,
    "Mean": _mean,
}
