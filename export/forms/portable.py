"""The portable form of the gradient's operators: comparison, selection, slices and concatenations.

It runs well wherever these few kinds of operators do: CUDA, TensorRT, OpenVINO, any CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .nodes import Nodes, Window

NAME = "portable"
# Whether the gradient of a strided convolution of few channels is one convolution and DepthToSpace.
BY_PLACE = True


def convolution(nodes: Nodes, x: str, kernel: str, channels: int, **attributes: Any) -> str:
    """A convolution with a kernel OIHW of that many outputs."""
    return nodes.add("Conv", x, kernel, **attributes)


def masked(nodes: Nodes, dy: str, y: str) -> str:
    """dy where y, which is never negative, is positive; else 0."""
    zero = nodes.zero(y)
    return nodes.add("Where", nodes.add("Greater", y, zero), nodes.narrowest(dy), zero)


def total(nodes: Nodes, terms: Sequence[str]) -> str:
    """Their sum."""
    return nodes.sum(*map(nodes.narrowest, terms))


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
    reach = window_reach(window, stride)
    cells: list[list[str]] = [[] for _ in range(stride)]  # what the pixels at one place in every stride get
    taps = [_tap(nodes, axis, tap, stride, x, y) for tap in range(window - 1)]
    for tap, share in enumerate(shares(nodes, taps, y, dy)):
        pads = [0] * 8
        pads[axis], pads[axis + 4] = tap // stride, reach - tap // stride
        cells[tap % stride].append(nodes.add("Pad", share, nodes.integers(*pads)))
    untouched = nodes.add("Mul", cells[0][0], nodes.zero(dy))  # where windows leave pixels out
    sums = [nodes.sum(*parts) if parts else untouched for parts in cells]
    whole = _woven_rows(nodes, sums, y) if axis == 2 else _woven_columns(nodes, sums, nodes.channels(x))
    return nodes.add("Slice", whole, nodes.integers(0), nodes.length(x, axis), nodes.integers(axis))


def shares(nodes: Nodes, taps: Sequence[str], y: str, dy: str) -> list[str]:
    """What each pixel of the windows gets of dy; `taps` are their pixels in order, but the last, and y the maxima."""
    rest, taken = dy, []
    for tap in taps:
        taken.append(nodes.add("Where", nodes.add("Equal", tap, y), rest, nodes.zero(dy)))
        rest = nodes.add("Sub", rest, taken[-1])
    return [*taken, rest]


def _woven_rows(nodes: Nodes, cells: list[str], y: str) -> str:
    """Puts the rows kept apart next to each other."""
    joined = nodes.add("Concat", *(nodes.add("Unsqueeze", cell, nodes.integers(3)) for cell in cells), axis=3)
    sizes = nodes.integers(0), nodes.integers(0), nodes.integers(-1), nodes.length(y, 3)
    return nodes.add("Reshape", joined, nodes.add("Concat", *sizes, axis=0))


def _woven_columns(nodes: Nodes, cells: list[str], channels: int) -> str:
    """Puts the columns kept apart next to each other: with channels last they are channels one behind the other.

    To join them along the last axis, one value from each in turn, takes OpenVINO a sixth of a whole step.
    """
    joined = nodes.add("Concat", *cells, axis=1) if len(cells) > 1 else cells[0]
    last = nodes.add("Transpose", joined, perm=[0, 2, 3, 1])
    woven = nodes.add("Reshape", last, nodes.integers(0, 0, -1, channels))
    return nodes.add("Transpose", woven, perm=[0, 3, 1, 2])


def _tap(nodes: Nodes, axis: int, tap: int, stride: int, x: str, y: str) -> str:
    """Of every window along an axis, the pixel at one place."""
    span = nodes.add("Mul", nodes.length(y, axis), nodes.integers(stride))
    end = nodes.add("Add", span, nodes.integers(tap + 1 - stride))
    return nodes.add("Slice", x, nodes.integers(tap), end, nodes.integers(axis), nodes.integers(stride))


def window_reach(window: int, stride: int) -> int:
    """How many more cells of `stride` pixels the windows along an axis touch than there are windows."""
    return -(-(window - 1) // stride)
