"""The folded forward graph: a Keras network as a short list of plain operators.

`folding` makes it. Whatever multiplies or shifts each channel is a part of a convolution, and dense layers are 1x1
convolutions.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..models.arrays import Floats, Size
from ..models.contract import LOGITS
from .errors import UnknownLayerError, UnsupportedLayerError

IMAGE = "image"
# Rows and columns around a picture: top, bottom, left and right.
Margins = tuple[int, int, int, int]


@dataclass(frozen=True)
class Operator:
    """A node of the forward graph; `inputs` are the names of nodes, or `image`."""

    name: str
    inputs: tuple[str, ...]

    def size(self, size: Size) -> Size:
        """Returns the size of the output for an input of that size."""
        return size

    def stride(self, stride: Fraction) -> Fraction:
        """Returns the distance of the output's pixels, in pixels of the image, for that of the input's."""
        return stride


@dataclass(frozen=True)
class Scale(Operator):
    """The network's preprocessing: image * scale + offset."""

    scale: float
    offset: float


@dataclass(frozen=True)
class WindowOperator(Operator):
    """An operator on sliding windows: `window` and `strides` are in pixels, `same` is SAME padding instead of VALID.

    `dilation` is the distance of a window's pixels. `margins` are rows and columns of zeros around the input, besides:
    top, bottom, left and right.
    """

    window: Size
    strides: Size
    same: bool
    dilation: Size = field(default=Size(1, 1), kw_only=True)
    margins: Margins = field(default=(0, 0, 0, 0), kw_only=True)

    def size(self, size: Size) -> Size:
        """Returns the size of the output; below 1 if the input is too small."""
        if self.same:
            return Size(*(-(-side // stride) for side, stride in zip(size, self.strides, strict=True)))
        sides = zip(_enlarged(size, self.margins), self.window, self.strides, self.dilation, strict=True)
        return Size(*((side - (window - 1) * apart - 1) // stride + 1 for side, window, stride, apart in sides))

    def stride(self, stride: Fraction) -> Fraction:
        """Returns the distance of the windows, in pixels of the image."""
        return stride * self.strides[0]

    @property
    def padding(self) -> str:
        """TensorFlow's name of the padding, without the margins."""
        return "SAME" if self.same else "VALID"


def _enlarged(size: Size, margins: Margins) -> Size:
    top, bottom, left, right = margins
    return Size(size.height + top + bottom, size.width + left + right)


@dataclass(frozen=True)
class Origin:
    """The Keras layers that a convolution was folded from.

    `layer` is the name of the convolution, `epsilon` belongs to the BatchNormalization behind it, if there is one, and
    `scale` is the factor that was folded into both afterwards.
    """

    layer: str
    epsilon: float | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Convolution(WindowOperator):
    """A convolution with bias. `kernel` is float32 HWIO, `bias` float32 [O].

    Each of `groups` equal groups of output channels reads one group of input channels, which are the kernel's I.
    """

    kernel: Floats
    bias: Floats
    origin: Origin
    groups: int = 1

    @property
    def parameters(self) -> int:
        """The number of weights, including biases."""
        return int(self.kernel.size + self.bias.size)

    def scaled(self, factor: NDArray[np.float64] | float) -> Convolution:
        """Returns the convolution with its output multiplied by a factor: one for all channels, or float64 [O]."""
        return replace(
            self,
            kernel=(self.kernel.astype(np.float64) * factor).astype(np.float32),
            bias=(self.bias.astype(np.float64) * factor).astype(np.float32),
        )


@dataclass(frozen=True)
class Relu(Operator):
    """max(x, 0); `masks` is whether its own gradient is masked, instead of that of a `ReluMask` behind it."""

    masks: bool = True


@dataclass(frozen=True)
class Relu6(Operator):
    """min(max(x, 0), 6)."""


@dataclass(frozen=True)
class Activation(Operator):
    """A function of each value: one of `activations.FUNCTIONS`, with its parameters."""

    function: str
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True)
class ReluMask(Operator):
    """The identity of ReLU outputs; its gradient is masked as that of a ReLU: it is 0 where x is 0."""


@dataclass(frozen=True)
class MaxPool(WindowOperator):
    """The maximum over each window."""


@dataclass(frozen=True)
class AveragePool(WindowOperator):
    """The mean over the pixels of each window; padding does not count."""


@dataclass(frozen=True)
class Pad(Operator):
    """Rows and columns of zeros around the input: `margins` are top, bottom, left and right."""

    margins: Margins

    def size(self, size: Size) -> Size:
        """Returns the size with the margins."""
        return _enlarged(size, self.margins)


@dataclass(frozen=True)
class Upsample(Operator):
    """Each pixel `factor` times in each direction."""

    factor: Size

    def size(self, size: Size) -> Size:
        """Returns the enlarged size."""
        return Size(*(side * factor for side, factor in zip(size, self.factor, strict=True)))

    def stride(self, stride: Fraction) -> Fraction:
        """Returns the distance of the new pixels, in pixels of the image."""
        return stride / self.factor[0]


@dataclass(frozen=True)
class ChannelNorm(Operator):
    """Each pixel's channels, less their mean and divided by the root of their variance plus `epsilon`.

    The layer normalization of Ba et al. 2016 (arXiv:1607.06450, eq. 3) over the channels, without gain and bias.
    """

    epsilon: float


@dataclass(frozen=True)
class Product(Operator):
    """Elementwise product of two inputs.

    `points` tells which of them have a single pixel, which multiplies all pixels of the other.
    """

    points: tuple[bool, bool]


@dataclass(frozen=True)
class Concat(Operator):
    """Concatenation of the inputs' channels."""


@dataclass(frozen=True)
class Sum(Operator):
    """Elementwise sum of the inputs."""


@dataclass(frozen=True)
class Identity(Operator):
    """The input: a name for a layer whose own node was folded away, such as a normalization."""


@dataclass(frozen=True)
class GlobalMean(Operator):
    """The mean of each channel over the whole picture, as one pixel."""

    def size(self, size: Size) -> Size:
        """Returns the size of a single pixel."""
        return Size(1, 1) if min(size) >= 1 else size

    def stride(self, stride: Fraction) -> Fraction:
        """Returns 0: there is one value for the whole picture."""
        return Fraction(0)


@dataclass(frozen=True)
class Forward:
    """A folded network.

    `operators` are in an order in which they can be run. `channels` maps each node to the number of its channels.
    `keras_layers` are the names of the network's layers. `folded` maps those that have no node of their own to the
    nodes that they were folded into. `refused` maps those that cannot be exported, and all behind them, to the reason.
    """

    operators: tuple[Operator, ...]
    channels: Mapping[str, int]
    keras_layers: frozenset[str]
    folded: Mapping[str, str]
    refused: Mapping[str, str]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the available layers, first to last: those with a node of their own that is no convolution."""
        names = (op.name for op in self.operators if not isinstance(op, Convolution))
        return tuple(name for name in names if name in self.keras_layers)

    @property
    def parameters(self) -> int:
        """The number of weights of all convolutions."""
        return sum(op.parameters for op in self.operators if isinstance(op, Convolution))

    def cut(self, layers: tuple[str, ...], sets: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> Forward:
        """Returns the part of the graph that these layers need; `sets` are the layer sets that may have been meant.

        Raises UnknownLayerError and UnsupportedLayerError.
        """
        for layer in layers:
            self._require_layer(layer, sets)
        wanted = set(layers)
        kept: list[Operator] = []
        for op in reversed(self.operators):
            if op.name in wanted:
                wanted.update(op.inputs)
                kept.append(op)
        return replace(self, operators=tuple(reversed(kept)))

    def sizes(self, size: Size) -> dict[str, Size]:
        """Returns the size of each node's output for an image of that size."""
        sizes = {IMAGE: size}
        for op in self.operators:
            # Where a single pixel and a picture meet, the result is as large as the picture.
            sizes[op.name] = op.size(max(sizes[name] for name in op.inputs))
        return sizes

    def smallest_size(self, layers: tuple[str, ...] = (), border: int = 0) -> int:
        """Returns the minimum height and width, in pixels, of the image.

        At this size every node has at least one pixel, and each of `layers` has one inside its border.
        """
        side = 1
        while any(
            min(size) < (2 * border + 1 if name in layers else 1) for name, size in self.sizes(Size(side, side)).items()
        ):
            side += 1
        return side

    def stride(self, layer: str) -> int:
        """Returns the distance of a layer's pixels, in pixels of the image; 0 if it has one for the whole picture."""
        strides = {IMAGE: Fraction(1)}
        for op in self.operators:
            strides[op.name] = op.stride(max(strides[name] for name in op.inputs))
        return math.ceil(strides[layer])

    def is_global(self, layer: str) -> bool:
        """Whether a layer lies behind an operation on the whole picture."""
        found: set[str] = set()
        for op in self.operators:
            if isinstance(op, GlobalMean) or found & set(op.inputs):
                found.add(op.name)
        return layer in found

    def _require_layer(self, layer: str, sets: Mapping[str, tuple[str, ...]]) -> None:
        if layer in self.layers:
            return
        if layer in self.refused:
            raise UnsupportedLayerError(self.refused[layer])
        if layer in self.folded:
            behind = self._available_behind(self.folded[layer])
            advice = f"choose {behind}, the activation behind it" if behind else "choose a layer before it"
            raise UnknownLayerError(f"{layer} is folded away in the export: {advice}")
        if layer == LOGITS:
            raise UnknownLayerError(
                f"there is no layer {LOGITS}: this network is exported without its classifier; lite0 has one"
            )
        if layer in sets:
            raise UnknownLayerError(
                f"{layer} is a layer set, which stands alone: name its layers instead, {','.join(sets[layer])}"
            )
        near = difflib.get_close_matches(layer, [*sets, *self.layers], n=3, cutoff=0.4)
        hint = f"similar names are {', '.join(near)}" if near else "no name is similar"
        advice = "the command `layers` lists all"
        if any("," in name for name in near):
            advice = "rename it in the model, since a comma separates layers"
        raise UnknownLayerError(f"unknown layer {layer!r}: {hint}; {advice}")

    def _available_behind(self, node: str) -> str | None:
        """Returns the first available layer that is the node or reads it, directly or through convolutions."""
        for op in self.operators:
            if node in op.inputs or node == op.name:
                if not isinstance(op, Convolution):
                    return op.name
                node = op.name
        return None
