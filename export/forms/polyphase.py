"""The gradient of a max-pooling, computed on the polyphase components of its input.

A polyphase component, or phase, holds the pixels whose index has the same remainder modulo the stride (Vaidyanathan
1993, "Multirate Systems and Filter Banks"). Depthwise convolutions, which providers run well in their own layouts,
extract and align the pixels of each window: they subsample, shift and pad in one pass. ONNX's Slice and Pad would copy
instead, and copy slowly with a step. The phases are interleaved at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .nodes import Nodes, WindowAttributes
from .portable import window_overhang


@dataclass(frozen=True)
class DepthwiseSpec:
    """A depthwise convolution along one axis: its weights, its stride, and how many zeros pad the input at each end.

    With `same`, the padding is TensorFlow's SAME instead.
    """

    weights: tuple[float, ...] = (1.0,)
    stride: int = 1
    pad_before: int = 0
    pad_after: int = 0
    same: bool = False


def depthwise(
    nodes: Nodes,
    x: str,
    channels: int,
    vertical: DepthwiseSpec = DepthwiseSpec(),
    horizontal: DepthwiseSpec = DepthwiseSpec(),
    *,
    bias: float = 0.0,
) -> str:
    """Adds a convolution of each channel of x, NCHW, with the same separable kernel and bias."""
    kernel = np.outer(vertical.weights, horizontal.weights)
    single = nodes.add("Reshape", nodes.numbers(kernel.ravel().tolist()), nodes.integers(1, 1, *kernel.shape))
    pads = [vertical.pad_before, horizontal.pad_before, vertical.pad_after, horizontal.pad_after]
    return nodes.add(
        "Conv",
        x,
        nodes.add("Expand", single, nodes.integers(channels, 1, 1, 1)),
        *([nodes.add("Expand", nodes.number(bias), nodes.integers(channels))] if bias else []),
        group=channels,
        kernel_shape=list(kernel.shape),
        strides=[vertical.stride, horizontal.stride],
        **({"auto_pad": "SAME_UPPER"} if vertical.same else {"pads": pads}),
    )


def interleaved_pixels(
    nodes: Nodes, phases: Sequence[str], channels: int, strides: Sequence[int], firsts: str, size: str, width: str
) -> str:
    """Adds an image, NCHW, from its phases, ordered by the row's and then by the column's phase.

    The image's first pixel has the position `firsts`, int64 [2], and `size` is its height and width, int64 [2]. The
    element q of phase p has the position q * stride + p, and a row of a phase has `width` elements, int64 [1]. With the
    channels last, a pixel is contiguous and is copied as a whole.
    """
    joined = nodes.add("Concat", *phases, axis=1) if len(phases) > 1 else phases[0]
    last = nodes.add("Transpose", joined, perm=[0, 2, 3, 1])
    pixels = nodes.add("Reshape", last, nodes.integers(0, -1, channels))
    count = nodes.integers(len(phases))
    row = nodes.add("Mul", width, count)
    rows, columns = (
        _gather_indices(nodes, firsts, size, axis, strides[axis], element_step, phase_step)
        for axis, element_step, phase_step in ((0, row, nodes.integer(strides[1])), (1, count, nodes.integer(1)))
    )
    indices = nodes.add("Add", nodes.add("Unsqueeze", rows, nodes.integers(1)), columns)
    return nodes.add("Transpose", nodes.add("Gather", pixels, indices, axis=1), perm=[0, 3, 1, 2])


def _gather_indices(
    nodes: Nodes, firsts: str, size: str, axis: int, stride: int, element_step: str, phase_step: str
) -> str:
    """Adds the index of each pixel along an axis in an array of phases, int64 [length].

    The index grows by `element_step` from one element of a phase to the next and by `phase_step` from one phase to the
    next.
    """
    first, length = (nodes.add("Gather", of_axes, nodes.integer(axis)) for of_axes in (firsts, size))
    pixels = nodes.add("Range", first, nodes.add("Add", first, length), nodes.integer(1))
    elements = nodes.add("Div", pixels, nodes.integer(stride))
    phases = nodes.add("Mod", pixels, nodes.integer(stride))
    return nodes.add("Add", nodes.add("Mul", elements, element_step), nodes.add("Mul", phases, phase_step))


@dataclass(frozen=True)
class PoolAxis:
    """The windows of a max-pooling along one axis of its input: their length and their stride, in pixels.

    A phase has one element for each window and `overhang` more at each end. Thus every pixel has an element in a phase,
    and a convolution reaches any pixel of a window through the zeros that pad its input. Weights of 0 could do the
    same, but take as long as other weights.
    """

    window: int
    stride: int

    @property
    def overhang(self) -> int:
        """The number of additional elements at each end of a phase."""
        return window_overhang(self.window, self.stride)

    def window_spec(self, weight: float = 1.0) -> DepthwiseSpec:
        """Returns the convolution that brings a tensor with one value per window to the length of a phase."""
        return DepthwiseSpec((weight,), pad_before=self.overhang, pad_after=self.overhang)

    def tap_spec(self, tap: int, *weights: float) -> DepthwiseSpec:
        """Returns the convolution that combines pixels number `tap`, `tap` + 1 … of each window of the input."""
        span = self.overhang * self.stride
        return DepthwiseSpec(weights, self.stride, span - tap, span + tap + len(weights) - self.window)


# Tensors and their factors, to be added up.
Terms = list[tuple[str, float]]


class MaxPoolGradient(ABC):
    """The gradient of a VALID max-pooling that `portable.max_pool_gradient` describes.

    All tensors between the inputs and the result have the length of a phase along both axes. Subclasses define how the
    pixels of a window share its gradient.
    """

    def __init__(self, nodes: Nodes, window: WindowAttributes, channels: int) -> None:
        self.nodes, self.channels = nodes, channels
        self._down, self._right = (PoolAxis(*pair) for pair in zip(window.kernel, window.strides, strict=True))

    def build(self, x: str, row_maxima: str, y: str, dy: str) -> str:
        """Adds the gradient at x, NCHW; the arguments are those of `portable.max_pool_gradient`."""
        across = self._right.window_spec()
        aligned = self.filtered(dy, self._down, self._down.window_spec(), across)
        row_gradients = self._one_axis_gradient(self._down, across, row_maxima, y, aligned)
        phases = []
        for phase, row_gradient in enumerate(row_gradients):
            across = self._down.tap_spec(phase, 1.0)
            phases += self._one_axis_gradient(self._right, across, x, row_maxima, row_gradient)
        return self._interleaved(phases, x)

    @abstractmethod
    def split_gradient(self, axis: PoolAxis, across: DepthwiseSpec, x: str, y: str, dy: str) -> list[Terms]:
        """Splits the gradient of the windows along an axis of x: returns the share of each pixel of a window.

        y are the maxima of the windows. x and y must be filtered by `across` along the other axis, dy has the length of
        a phase already.
        """

    def filtered(self, x: str, axis: PoolAxis, along: DepthwiseSpec, across: DepthwiseSpec) -> str:
        """Adds a depthwise convolution of x, with one specification along `axis` and one along the other axis."""
        vertical, horizontal = (along, across) if axis is self._down else (across, along)
        return depthwise(self.nodes, x, self.channels, vertical, horizontal)

    def _one_axis_gradient(self, axis: PoolAxis, across: DepthwiseSpec, x: str, y: str, dy: str) -> list[str]:
        """Adds the gradient at x, given the gradient dy of the maxima y along an axis; one tensor for each phase."""
        phases: list[list[str]] = [[] for _ in range(axis.stride)]
        for tap, terms in enumerate(self.split_gradient(axis, across, x, y, dy)):
            shift, phase = divmod(tap, axis.stride)
            phases[phase] += [self._shifted(axis, shift, factor, term) for term, factor in terms]
        return [self.nodes.sum(*terms) if terms else self._shifted(axis, 0, 0.0, dy) for terms in phases]

    def _shifted(self, axis: PoolAxis, shift: int, factor: float, x: str) -> str:
        """Adds x times a factor, shifted by `shift` elements towards the end of an axis."""
        if (shift, factor) == (0, 1.0):
            return x
        return self.filtered(x, axis, DepthwiseSpec((factor, *[0.0] * shift), pad_before=shift), DepthwiseSpec())

    def _interleaved(self, phases: list[str], x: str) -> str:
        """Interleaves the phases, ordered by the row's and then by the column's phase, to the shape of x."""
        axes = (self._down, self._right)
        firsts = self.nodes.integers(*(axis.overhang * axis.stride for axis in axes))
        size = self.nodes.add("Slice", self.nodes.add("Shape", x), self.nodes.integers(2), self.nodes.integers(4))
        strides, width = [axis.stride for axis in axes], self.nodes.length(phases[0], 3)
        return interleaved_pixels(self.nodes, phases, self.channels, strides, firsts, size, width)
