"""The folded forward graph: a Keras backbone as a short list of plain operators.

Every BatchNormalization is folded into the convolution before it, and the scale of a residual into the convolution
that makes it, so what is left is convolutions, ReLUs, poolings, concatenations and sums.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.arrays import Size
from .errors import UnknownLayerError, UnsupportedLayerError

IMAGE = "image"


@dataclass(frozen=True)
class Operator:
    """One node of the forward graph; `inputs` are names of nodes, or `image`."""

    name: str
    inputs: tuple[str, ...]

    def size(self, size: Size) -> Size:
        """Height and width of the output for an input of that height and width."""
        return size


@dataclass(frozen=True)
class Window(Operator):
    """An operator that slides a window of `window` pixels by `strides`, with SAME padding or VALID."""

    window: Size
    strides: Size
    same: bool

    def size(self, size: Size) -> Size:
        """Height and width of the output; below 1 where the input is too small."""
        if self.same:
            return Size(*(-(-side // stride) for side, stride in zip(size, self.strides, strict=True)))
        sides = zip(size, self.window, self.strides, strict=True)
        return Size(*((side - window) // stride + 1 for side, window, stride in sides))

    @property
    def padding(self) -> str:
        """The padding's name in TensorFlow."""
        return "SAME" if self.same else "VALID"


@dataclass(frozen=True)
class Origin:
    """The Keras layers that a convolution was folded from: the convolution's name, the epsilon of the normalization
    behind it, where there is one, and the factor that both were scaled by after that."""

    layer: str
    epsilon: float | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Convolution(Window):
    """A convolution with bias. `kernel` is float32 HWIO, `bias` float32 [O]."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    origin: Origin

    @property
    def parameters(self) -> int:
        """Number of weights, biases included."""
        return int(self.kernel.size + self.bias.size)

    def scaled(self, factor: NDArray[np.float64] | float) -> Convolution:
        """The convolution with its output multiplied by a factor per channel, or one for all."""
        return replace(
            self,
            kernel=(self.kernel.astype(np.float64) * factor).astype(np.float32),
            bias=(self.bias.astype(np.float64) * factor).astype(np.float32),
        )


@dataclass(frozen=True)
class Relu(Operator):
    """max(x, 0); its gradient is masked here, or by a `Mask` behind it."""

    masks: bool = True


@dataclass(frozen=True)
class Mask(Operator):
    """x, which is never negative, as it is; its gradient is 0 where x is."""


@dataclass(frozen=True)
class MaxPool(Window):
    """Maximum over a window."""


@dataclass(frozen=True)
class AveragePool(Window):
    """Mean over a window; with SAME padding over its pixels inside the picture only."""


@dataclass(frozen=True)
class Concat(Operator):
    """Concatenation along the channels."""


@dataclass(frozen=True)
class Sum(Operator):
    """Element-wise sum."""


@dataclass(frozen=True)
class Forward:
    """A folded backbone: operators in an order in which they can be run, and facts of each node's output."""

    operators: tuple[Operator, ...]
    channels: dict[str, int]
    folded: dict[str, str]  # Keras layers that are gone, or not offered -> the node that took them over

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers on offer, first to last: every node but the convolutions."""
        return tuple(op.name for op in self.operators if not isinstance(op, Convolution))

    @property
    def parameters(self) -> int:
        """Number of weights of all convolutions."""
        return sum(op.parameters for op in self.operators if isinstance(op, Convolution))

    def cut(self, layers: tuple[str, ...]) -> Forward:
        """The part of the graph that these layers need. Raises UnknownLayerError."""
        for layer in layers:
            self._require(layer)
        wanted = set(layers)
        kept: list[Operator] = []
        for op in reversed(self.operators):
            if op.name in wanted:
                wanted.update(op.inputs)
                kept.append(op)
        return replace(self, operators=tuple(reversed(kept)))

    def sizes(self, size: Size) -> dict[str, Size]:
        """Height and width of every node's output for a picture of that height and width."""
        sizes = {IMAGE: size}
        for op in self.operators:
            sizes[op.name] = op.size(sizes[op.inputs[0]])
        return sizes

    def smallest_size(self, layers: tuple[str, ...] = (), border: int = 0) -> int:
        """The least height and width at which every node has a pixel, and these layers have one inside a border."""
        side = 1
        while any(
            min(size) < (2 * border + 1 if name in layers else 1) for name, size in self.sizes(Size(side, side)).items()
        ):
            side += 1
        return side

    def stride(self, layer: str) -> int:
        """Pixels of the picture from one pixel of the layer to the next."""
        strides = {IMAGE: 1}
        for op in self.operators:
            step = op.strides[0] if isinstance(op, Window) else 1
            strides[op.name] = strides[op.inputs[0]] * step
        return strides[layer]

    def _require(self, layer: str) -> None:
        if layer in self.layers:
            return
        if layer in self.folded:
            behind = self._offered_behind(self.folded[layer])
            advice = f"ask for {behind}, the activation behind it" if behind else "choose a layer before it"
            raise UnknownLayerError(f"{layer} is folded away in the export: {advice}")
        near = difflib.get_close_matches(layer, self.layers, n=3, cutoff=0.4)
        hint = f"the nearest names are {', '.join(near)}" if near else "no name is near"
        raise UnknownLayerError(f"unknown layer {layer!r}: {hint}; the command `layers` lists all")

    def _offered_behind(self, node: str) -> str | None:
        for op in self.operators:
            if node in op.inputs or node == op.name:
                if not isinstance(op, Convolution):
                    return op.name
                node = op.name
        return None


def fold(model: Any) -> Forward:
    """The folded forward graph of a Keras functional model. Raises UnsupportedLayerError."""
    folding = _Folding(Counter(name for layer in model.operations for name in _input_names(layer)))
    for layer in model.operations:
        folding.add(layer)
    return Forward(tuple(folding.operators.values()), folding.channels, folding.folded)


class _Folding:
    """Walks the layers of a Keras model in order and gathers the operators that they fold into."""

    def __init__(self, readers: Counter[str]) -> None:
        self.readers = readers  # how many inputs each Keras layer feeds
        self.operators: dict[str, Operator] = {}
        self.channels: dict[str, int] = {IMAGE: 3}
        self.node_of: dict[str, str] = {}  # Keras layer -> the node that holds its output
        self.folded: dict[str, str] = {}

    def add(self, layer: Any) -> None:
        kind = type(layer).__name__
        visit = getattr(self, f"_{kind}", None)
        if visit is None:
            raise UnsupportedLayerError(
                f"layer {layer.name} is a {kind}, which onnxdream cannot export: choose another backbone"
            )
        if len(layer._inbound_nodes) > 1 or getattr(layer, "data_format", None) == "channels_first":
            raise UnsupportedLayerError(
                f"layer {layer.name} is used twice or has its channels first, which onnxdream cannot export"
            )
        self.node_of[layer.name] = visit(layer, *(self.node_of[name] for name in _input_names(layer)))

    def _put(self, op: Operator, channels: int) -> str:
        self.operators[op.name] = op
        self.channels[op.name] = channels
        return op.name

    def _convolution_before(self, layer: Any, node: str) -> Convolution:
        op = self.operators.get(node)
        shared = self.readers[_input_names(layer)[-1]] > 1
        if not isinstance(op, Convolution) or shared:
            raise UnsupportedLayerError(
                f"layer {layer.name} ({type(layer).__name__}) does not follow a convolution of its own, "
                "which onnxdream cannot export: choose another backbone"
            )
        return op

    def _InputLayer(self, layer: Any) -> str:  # noqa: N802 - named after Keras's class, as all below
        return IMAGE

    def _Conv2D(self, layer: Any, x: str) -> str:  # noqa: N802
        if layer.groups != 1 or tuple(layer.dilation_rate) != (1, 1):
            raise UnsupportedLayerError(f"layer {layer.name} is grouped or dilated, which onnxdream cannot export")
        kernel = np.asarray(layer.kernel, np.float32)
        bias = np.asarray(layer.bias, np.float32) if layer.use_bias else np.zeros(kernel.shape[3], np.float32)
        activated = _activation(layer) == "relu"
        name = f"{layer.name}_convolution" if activated else layer.name
        if layer.padding == "same" and (tuple(layer.strides) != (1, 1) or any(k % 2 == 0 for k in kernel.shape[:2])):
            raise UnsupportedLayerError(
                f"layer {layer.name} pads an even kernel or a strided one, which onnxdream cannot export"
            )
        window = {"window": kernel.shape[:2], "strides": tuple(layer.strides), "same": layer.padding == "same"}
        convolution = Convolution(name, (x,), **window, kernel=kernel, bias=bias, origin=Origin(layer.name))
        self._put(convolution, kernel.shape[3])
        if activated:
            return self._put(Relu(layer.name, (name,)), kernel.shape[3])
        self.folded[layer.name] = name
        return name

    def _BatchNormalization(self, layer: Any, x: str) -> str:  # noqa: N802
        convolution = self._convolution_before(layer, x)
        mean, variance = (np.asarray(w, np.float64) for w in (layer.moving_mean, layer.moving_variance))
        gamma = np.asarray(layer.gamma, np.float64) if layer.scale else 1.0
        beta = np.asarray(layer.beta, np.float64) if layer.center else 0.0
        factor = gamma / np.sqrt(variance + layer.epsilon)
        bias = (convolution.bias.astype(np.float64) - mean) * factor + beta
        origin = replace(convolution.origin, epsilon=float(layer.epsilon))
        self.operators[x] = replace(convolution.scaled(factor), bias=bias.astype(np.float32), origin=origin)
        self.folded[layer.name] = x
        return x

    def _Activation(self, layer: Any, x: str) -> str:  # noqa: N802
        if _activation(layer) == "linear":
            self.folded[layer.name] = x
            return x
        return self._put(Relu(layer.name, (x,)), self.channels[x])

    def _ReLU(self, layer: Any, x: str) -> str:  # noqa: N802
        if layer.max_value is not None or layer.negative_slope or layer.threshold:
            raise UnsupportedLayerError(f"layer {layer.name} is no plain ReLU, which onnxdream cannot export")
        return self._put(Relu(layer.name, (x,)), self.channels[x])

    def _MaxPooling2D(self, layer: Any, x: str) -> str:  # noqa: N802
        if layer.padding != "valid":
            raise UnsupportedLayerError(f"layer {layer.name} pads its maxima, which onnxdream cannot export")
        return self._put(MaxPool(layer.name, (x,), **_pool_window(layer)), self.channels[x])

    def _AveragePooling2D(self, layer: Any, x: str) -> str:  # noqa: N802
        window = _pool_window(layer)
        if window["strides"] != (1, 1) or not window["same"] or any(side % 2 == 0 for side in window["window"]):
            raise UnsupportedLayerError(
                f"layer {layer.name} is no SAME mean over an odd window with stride 1, which onnxdream cannot export"
            )
        return self._put(AveragePool(layer.name, (x,), **window), self.channels[x])

    def _Concatenate(self, layer: Any, *inputs: str) -> str:  # noqa: N802
        if layer.axis not in (-1, 3):
            raise UnsupportedLayerError(f"layer {layer.name} joins no channels, which onnxdream cannot export")
        return self._put(Concat(layer.name, inputs), sum(self.channels[x] for x in inputs))

    def _Add(self, layer: Any, *inputs: str) -> str:  # noqa: N802
        if len({self.channels[x] for x in inputs}) > 1:
            raise UnsupportedLayerError(f"layer {layer.name} repeats channels, which onnxdream cannot export")
        return self._put(Sum(layer.name, inputs), self.channels[inputs[0]])

    def _CustomScaleLayer(self, layer: Any, x: str, residual: str) -> str:  # noqa: N802
        scaled = self._convolution_before(layer, residual).scaled(layer.scale)
        self.operators[residual] = replace(scaled, origin=replace(scaled.origin, scale=float(layer.scale)))
        return self._put(Sum(layer.name, (x, residual)), self.channels[x])


def _input_names(layer: Any) -> list[str]:
    if not layer._inbound_nodes:
        return []
    return [tensor._keras_history.operation.name for tensor in layer._inbound_nodes[0].input_tensors]


def _activation(layer: Any) -> str:
    name: str = layer.activation.__name__
    if name not in ("relu", "linear"):
        raise UnsupportedLayerError(f"layer {layer.name} ends in {name}, which onnxdream cannot export")
    return name


def _pool_window(layer: Any) -> dict[str, Any]:
    return {
        "window": tuple(layer.pool_size),
        "strides": tuple(layer.strides),
        "same": layer.padding == "same",
    }
