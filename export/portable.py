"""The portable form of the gradient's operators: comparison, selection, slices and concatenations.

It runs well wherever these few kinds of operators do: CUDA, TensorRT, OpenVINO, any CPU.
"""

from __future__ import annotations

from onnx import TensorProto

from .nodes import Nodes, Window

NAME = "portable"


def masked(nodes: Nodes, dy: str, y: str) -> str:
    """dy where y, which is never negative, is positive; else 0."""
    zero = nodes.zero(y)
    return nodes.add("Where", nodes.add("Greater", y, zero), dy, zero)


def spread(nodes: Nodes, value: str, shape: str) -> str:
    """A [batch, channels, 1, 1] value repeated over a shape."""
    return nodes.add("Expand", value, nodes.add("Cast", shape, to=TensorProto.INT64))


def channel_means(nodes: Nodes, x: str) -> str:
    """[batch, channels] of NCHW."""
    return nodes.add("ReduceMean", x, axes=[2, 3], keepdims=0)


def max_pool_gradient(nodes: Nodes, window: Window, x: str, rows: str, y: str, dy: str) -> str:
    """The gradient at x of a VALID maximum y; `rows` are the maxima along the rows of x, y those down `rows`.

    It goes to the first maximum of each window in reading order, as TensorFlow's does: down the rows first, then along
    them. In each of the two steps what the windows have to give passes their pixels in order; one that equals the
    maximum takes what is left, and the last takes the rest.
    """
    (height, width), (down, right) = window.kernel, window.strides
    drows = _step(nodes, 2, height, down, rows, y, dy)
    return _step(nodes, 3, width, right, x, rows, drows)


def _step(nodes: Nodes, axis: int, window: int, stride: int, x: str, y: str, dy: str) -> str:
    """The gradient at x, where y are the maxima of windows along one axis of x."""
    reach, rest = window_reach(window, stride), dy
    cells: list[list[str]] = [[] for _ in range(stride)]  # what the pixels at one place in every stride get
    for tap in range(window):
        share = rest
        if tap + 1 < window:
            equal = nodes.add("Equal", _tap(nodes, axis, tap, stride, x, y), y)
            share = nodes.add("Where", equal, rest, nodes.zero(dy))
            rest = nodes.add("Sub", rest, share)
        pads = [0] * 8
        pads[axis], pads[axis + 4] = tap // stride, reach - tap // stride
        cells[tap % stride].append(nodes.add("Pad", share, nodes.integers(*pads)))
    untouched = nodes.add("Mul", cells[0][0], nodes.zero(dy))  # where windows leave pixels out
    sums = [nodes.sum(*parts) if parts else untouched for parts in cells]
    joined = nodes.add(
        "Concat", *(nodes.add("Unsqueeze", part, nodes.integers(axis + 1)) for part in sums), axis=axis + 1
    )
    sizes = [nodes.integers(-1) if other == axis else nodes.length(y, other) for other in range(4)]
    whole = nodes.add("Reshape", joined, nodes.add("Concat", *sizes, axis=0))
    return nodes.add("Slice", whole, nodes.integers(0), nodes.length(x, axis), nodes.integers(axis))


def _tap(nodes: Nodes, axis: int, tap: int, stride: int, x: str, y: str) -> str:
    """Of every window along an axis, the pixel at one place."""
    span = nodes.add("Mul", nodes.length(y, axis), nodes.integers(stride))
    end = nodes.add("Add", span, nodes.integers(tap + 1 - stride))
    return nodes.add("Slice", x, nodes.integers(tap), end, nodes.integers(axis), nodes.integers(stride))


def window_reach(window: int, stride: int) -> int:
    """How many more cells of `stride` pixels the windows along an axis touch than there are windows."""
    return -(-(window - 1) // stride)
