"""The portable form of the gradient's operators: comparison, selection, slices and concatenations.

It is fast wherever these few kinds of operators are: on CUDA, TensorRT, OpenVINO and any CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .nodes import Nodes, WindowAttributes

NAME = "portable"
# Whether the gradient of a strided convolution with few channels is a convolution and DepthToSpace.
SUBPIXEL_GRADIENT = True
# Whether the gradient of a strided depthwise convolution is computed in phases instead of by ConvTranspose.
PHASES = False


def convolution(nodes: Nodes, x: str, kernel: str, channels: int, **attributes: Any) -> str:
    """Adds a convolution with an OIHW kernel that has `channels` outputs."""
    return nodes.add("Conv", x, kernel, **attributes)


def relu_gradient(nodes: Nodes, dy: str, y: str) -> str:
    """Adds the gradient of a ReLU with the output y, which is never negative: dy where y > 0, else 0."""
    zero = nodes.zero(y)
    return nodes.add("Where", nodes.add("Greater", y, zero), nodes.unexpanded(dy), zero)


def relu6_gradient(nodes: Nodes, dy: str, y: str) -> str:
    """Adds the gradient of a ReLU6 with the output y, which is from 0 to 6: dy where 0 < y < 6, else 0."""
    zero = nodes.zero(y)
    six = nodes.cast_like(y, nodes.number(6))
    inside = nodes.add("And", nodes.add("Greater", y, zero), nodes.add("Less", y, six))
    return nodes.add("Where", inside, nodes.unexpanded(dy), zero)


def add_n(nodes: Nodes, terms: Sequence[str]) -> str:
    """Adds the sum of several tensors, each of which may be the result of an Expand."""
    return nodes.sum(*map(nodes.unexpanded, terms))


def channel_means(nodes: Nodes, x: str) -> str:
    """Adds the mean of each channel: NCHW -> [batch, channels]."""
    return nodes.add("ReduceMean", x, axes=[2, 3], keepdims=0)


def max_pool_gradient(nodes: Nodes, window: WindowAttributes, x: str, row_maxima: str, y: str, dy: str) -> str:
    """Adds the gradient at x of a VALID max-pooling y = maximum over windows of x; all tensors are NCHW.

    The pooling is separable: `row_maxima` are the maxima over windows along the rows of x, and y those over windows
    down the columns of `row_maxima`. Its gradient first goes back from y to `row_maxima`, then to x. In each step the
    gradient of a window goes to its first pixel that equals the maximum. So the first maximum in reading order, row by
    row, gets all of it, as in TensorFlow's gradient.
    """
    (height, width), (down, right) = window.kernel, window.strides
    row_gradient = _one_axis_gradient(nodes, 2, height, down, row_maxima, y, dy)
    return _one_axis_gradient(nodes, 3, width, right, x, row_maxima, row_gradient)


def _one_axis_gradient(nodes: Nodes, axis: int, window: int, stride: int, x: str, y: str, dy: str) -> str:
    """Adds the gradient at x, where y are the maxima of windows along one axis of x."""
    overhang = window_overhang(window, stride)
    # The gradient of the pixels in phase 0, 1 … of the stride, as terms to be added up.
    phases: list[list[str]] = [[] for _ in range(stride)]
    taps = [_tap(nodes, axis, tap, stride, x, y) for tap in range(window - 1)]
    for tap, share in enumerate(split_gradient(nodes, taps, y, dy)):
        pads = [0] * 8
        pads[axis], pads[axis + 4] = tap // stride, overhang - tap // stride
        phases[tap % stride].append(nodes.add("Pad", share, nodes.integers(*pads)))
    zeros = nodes.add("Mul", phases[0][0], nodes.zero(dy))  # for pixels between the windows, if stride > window
    sums = [nodes.sum(*terms) if terms else zeros for terms in phases]
    whole = _interleave_rows(nodes, sums, y) if axis == 2 else _interleave_columns(nodes, sums, nodes.channels(x))
    return nodes.add("Slice", whole, nodes.integers(0), nodes.length(x, axis), nodes.integers(axis))


def split_gradient(nodes: Nodes, taps: Sequence[str], y: str, dy: str) -> list[str]:
    """Splits the gradient dy of windows among their pixels: the first pixel that equals the maximum y gets all of it.

    `taps` are the first, second … pixels of all windows, without the last ones, each shaped like y. Returns one tensor
    for each pixel of a window, the last one included.
    """
    rest, taken = dy, []
    for tap in taps:
        taken.append(nodes.add("Where", nodes.add("Equal", tap, y), rest, nodes.zero(dy)))
        rest = nodes.add("Sub", rest, taken[-1])
    return [*taken, rest]


def _interleave_rows(nodes: Nodes, phases: list[str], y: str) -> str:
    """Interleaves the rows of the phases, NCHW each."""
    joined = nodes.add("Concat", *(nodes.add("Unsqueeze", phase, nodes.integers(3)) for phase in phases), axis=3)
    sizes = nodes.integers(0), nodes.integers(0), nodes.integers(-1), nodes.length(y, 3)
    return nodes.add("Reshape", joined, nodes.add("Concat", *sizes, axis=0))


def _interleave_columns(nodes: Nodes, phases: list[str], channels: int) -> str:
    """Interleaves the columns of the phases, NCHW each, by a reshape with the channels last.

    Concatenating single values along the last axis instead takes OpenVINO a sixth of a whole step.
    """
    joined = nodes.add("Concat", *phases, axis=1) if len(phases) > 1 else phases[0]
    last = nodes.add("Transpose", joined, perm=[0, 2, 3, 1])
    interleaved = nodes.add("Reshape", last, nodes.integers(0, 0, -1, channels))
    return nodes.add("Transpose", interleaved, perm=[0, 3, 1, 2])


def _tap(nodes: Nodes, axis: int, tap: int, stride: int, x: str, y: str) -> str:
    """Adds a slice of x with the pixel number `tap` of every window along an axis, shaped like y."""
    span = nodes.add("Mul", nodes.length(y, axis), nodes.integers(stride))
    end = nodes.add("Add", span, nodes.integers(tap + 1 - stride))
    return nodes.add("Slice", x, nodes.integers(tap), end, nodes.integers(axis), nodes.integers(stride))


def window_overhang(window: int, stride: int) -> int:
    """Returns how many strides a window extends beyond its first pixel, rounded up.

    n windows along an axis touch pixels in n + overhang strides.
    """
    return -(-(window - 1) // stride)
