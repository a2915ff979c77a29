"""The folded forward graph: a Keras backbone as a short list of plain operators.

Every BatchNormalization is folded into the convolution before it, and the scale of a residual into the convolution that
computes it. A dense layer on the picture's mean becomes a 1x1 convolution. Only convolutions, ReLUs, poolings,
concatenations, sums and means remain.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.arrays import Floats, Size
from ..models.backbones import UNCHANGED, Preprocessing
from ..models.contract import LOGITS
from .errors import UnknownLayerError, UnsupportedLayerError

IMAGE = "image"


@dataclass(frozen=True)
class Operator:
    """A node of the forward graph; `inputs` are the names of nodes, or `image`."""

    name: str
    inputs: tuple[str, ...]

    def size(self, size: Size) -> Size:
        """Returns the size of the output for an input of that size."""
        return size


@dataclass(frozen=True)
class Scale(Operator):
    """The network's preprocessing: image * scale + offset."""

    scale: float
    offset: float


@dataclass(frozen=True)
class WindowOperator(Operator):
    """An operator on sliding windows: `window` and `strides` are in pixels, `same` is SAME padding instead of VALID."""

    window: Size
    strides: Size
    same: bool

    def size(self, size: Size) -> Size:
        """Returns the size of the output; below 1 if the input is too small."""
        if self.same:
            return Size(*(-(-side // stride) for side, stride in zip(size, self.strides, strict=True)))
        sides = zip(size, self.window, self.strides, strict=True)
        return Size(*((side - window) // stride + 1 for side, window, stride in sides))

    @property
    def padding(self) -> str:
        """TensorFlow's name of the padding."""
        return "SAME" if self.same else "VALID"


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
class ReluMask(Operator):
    """The identity of ReLU outputs; its gradient is masked as that of a ReLU: it is 0 where x is 0."""


@dataclass(frozen=True)
class MaxPool(WindowOperator):
    """The maximum over each window."""


@dataclass(frozen=True)
class AveragePool(WindowOperator):
    """The mean over the pixels of each window; padding does not count."""


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


@dataclass(frozen=True)
class Forward:
    """A folded backbone.

    `operators` are in an order in which they can be run. `channels` maps each node to the number of its channels.
    `folded` maps the Keras layers that are no longer available to the nodes that they were folded into.
    """

    operators: tuple[Operator, ...]
    channels: dict[str, int]
    folded: dict[str, str]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the available layers, first to last: all nodes except convolutions and the preprocessing."""
        return tuple(op.name for op in self.operators if not isinstance(op, Convolution | Scale))

    @property
    def parameters(self) -> int:
        """The number of weights of all convolutions."""
        return sum(op.parameters for op in self.operators if isinstance(op, Convolution))

    def cut(self, layers: tuple[str, ...]) -> Forward:
        """Returns the part of the graph that these layers need. Raises UnknownLayerError."""
        for layer in layers:
            self._require_layer(layer)
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
            sizes[op.name] = op.size(sizes[op.inputs[0]])
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
        """Returns the distance of a layer's pixels, in pixels of the image."""
        strides = {IMAGE: 1}
        for op in self.operators:
            step = op.strides[0] if isinstance(op, WindowOperator) else 1
            strides[op.name] = strides[op.inputs[0]] * step
        return strides[layer]

    def is_global(self, layer: str) -> bool:
        """Whether a layer lies behind an operation on the whole picture."""
        found: set[str] = set()
        for op in self.operators:
            if isinstance(op, GlobalMean) or found & set(op.inputs):
                found.add(op.name)
        return layer in found

    def _require_layer(self, layer: str) -> None:
        if layer in self.layers:
            return
        if layer in self.folded:
            behind = self._available_behind(self.folded[layer])
            advice = f"choose {behind}, the activation behind it" if behind else "choose a layer before it"
            raise UnknownLayerError(f"{layer} is folded away in the export: {advice}")
        if layer == LOGITS:
            raise UnknownLayerError(
                f"there is no layer {LOGITS}: this network is exported without its classifier; lite0 has one"
            )
        near = difflib.get_close_matches(layer, self.layers, n=3, cutoff=0.4)
        hint = f"similar names are {', '.join(near)}" if near else "no name is similar"
        raise UnknownLayerError(f"unknown layer {layer!r}: {hint}; the command `layers` lists all")

    def _available_behind(self, node: str) -> str | None:
        """Returns the first available layer that is the node or reads it, directly or through convolutions."""
        for op in self.operators:
            if node in op.inputs or node == op.name:
                if not isinstance(op, Convolution):
                    return op.name
                node = op.name
        return None


def fold(model: Any, preprocessing: Preprocessing = UNCHANGED) -> Forward:
    """Folds a Keras functional model, behind its preprocessing, into a forward graph. Raises UnsupportedLayerError."""
    folding = _Folding(Counter(name for layer in model.operations for name in _input_names(layer)), preprocessing)
    for layer in model.operations:
        folding.add(layer)
    return Forward(tuple(folding.operators.values()), folding.channels, folding.folded)


class _Folding:
    """Visits the layers of a Keras model in order and collects the operators that they fold into."""

    def __init__(self, consumers: Counter[str], preprocessing: Preprocessing) -> None:
        self.consumers = consumers  # Keras layer -> the number of inputs that read it
        self.preprocessing = preprocessing
        self.operators: dict[str, Operator] = {}
        self.channels: dict[str, int] = {IMAGE: 3}
        self.node_of: dict[str, str] = {}  # Keras layer -> the node that holds its output
        self.folded: dict[str, str] = {}

    def add(self, layer: Any) -> None:
        """Adds the operators of a Keras layer. Raises UnsupportedLayerError."""
        kind = type(layer).__name__
        visit = getattr(self, f"_{kind}", None)
        if visit is None:
            raise _unsupported(layer, f"is a {kind}")
        if len(layer._inbound_nodes) > 1 or getattr(layer, "data_format", None) == "channels_first":
            raise _unsupported(layer, "is used twice or has its channels first")
        self.node_of[layer.name] = visit(layer, *(self.node_of[name] for name in _input_names(layer)))

    def _put(self, op: Operator, channels: int) -> str:
        """Appends an operator and returns its name."""
        self.operators[op.name] = op
        self.channels[op.name] = channels
        return op.name

    def _convolution_before(self, layer: Any, node: str) -> Convolution:
        """Returns the convolution that a layer folds into. Raises UnsupportedLayerError."""
        op = self.operators.get(node)
        shared = self.consumers[_input_names(layer)[-1]] > 1
        if not isinstance(op, Convolution) or shared:
            raise _unsupported(layer, f"is a {type(layer).__name__} that does not follow a convolution of its own")
        return op

    def _InputLayer(self, layer: Any) -> str:  # noqa: N802 - named after Keras's class, like the methods below
        if self.preprocessing == UNCHANGED:
            return IMAGE
        return self._put(Scale("preprocessing", (IMAGE,), self.preprocessing.scale, self.preprocessing.offset), 3)

    def _Conv2D(self, layer: Any, x: str) -> str:  # noqa: N802
        return self._convolution(layer, x, np.asarray(layer.kernel, np.float32), layer.groups)

    def _DepthwiseConv2D(self, layer: Any, x: str) -> str:  # noqa: N802
        kernel = np.asarray(layer.kernel, np.float32)  # [height, width, channels, multiplier]
        return self._convolution(layer, x, kernel.reshape(*kernel.shape[:2], 1, -1), kernel.shape[2])

    def _Dense(self, layer: Any, x: str) -> str:  # noqa: N802
        if not isinstance(self.operators.get(x), GlobalMean):
            raise _unsupported(layer, "is a Dense that does not follow the mean over the picture")
        kernel = np.asarray(layer.kernel, np.float32)[None, None]
        return self._convolution(layer, x, kernel, 1)

    def _convolution(self, layer: Any, x: str, kernel: Floats, groups: int) -> str:
        """Adds a layer that is a convolution, with its activation. `kernel` is HWIO."""
        if tuple(getattr(layer, "dilation_rate", (1, 1))) != (1, 1):
            raise _unsupported(layer, "is dilated")
        channels = kernel.shape[3]
        bias = np.asarray(layer.bias, np.float32) if layer.use_bias else np.zeros(channels, np.float32)
        activation = _ACTIVATIONS[_activation(layer)]
        name = f"{layer.name}_convolution" if activation else layer.name
        strides, same = tuple(getattr(layer, "strides", (1, 1))), getattr(layer, "padding", "valid") == "same"
        window: dict[str, Any] = {"window": kernel.shape[:2], "strides": strides, "same": same}
        origin = Origin(layer.name)
        self._put(Convolution(name, (x,), **window, kernel=kernel, bias=bias, origin=origin, groups=groups), channels)
        if activation:
            return self._put(activation(layer.name, (name,)), channels)
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
        activation = _ACTIVATIONS[_activation(layer)]
        if activation is None:
            self.folded[layer.name] = x
            return x
        return self._put(activation(layer.name, (x,)), self.channels[x])

    def _ReLU(self, layer: Any, x: str) -> str:  # noqa: N802
        if layer.max_value not in (None, 6) or layer.negative_slope or layer.threshold:
            raise _unsupported(layer, "is neither a plain ReLU nor a ReLU6")
        activation = Relu if layer.max_value is None else Relu6
        return self._put(activation(layer.name, (x,)), self.channels[x])

    def _Identity(self, layer: Any, x: str) -> str:  # noqa: N802
        return self._put(Identity(layer.name, (x,)), self.channels[x])

    def _GlobalAveragePooling2D(self, layer: Any, x: str) -> str:  # noqa: N802
        return self._put(GlobalMean(layer.name, (x,)), self.channels[x])

    def _MaxPooling2D(self, layer: Any, x: str) -> str:  # noqa: N802
        if layer.padding != "valid":
            raise _unsupported(layer, "is a padded max-pooling")
        return self._put(MaxPool(layer.name, (x,), **_pool_window(layer)), self.channels[x])

    def _AveragePooling2D(self, layer: Any, x: str) -> str:  # noqa: N802
        window = _pool_window(layer)
        if window["strides"] != (1, 1) or not window["same"] or any(side % 2 == 0 for side in window["window"]):
            raise _unsupported(layer, "averages with padding VALID, an even window or a stride")
        return self._put(AveragePool(layer.name, (x,), **window), self.channels[x])

    def _Concatenate(self, layer: Any, *inputs: str) -> str:  # noqa: N802
        if layer.axis not in (-1, 3):
            raise _unsupported(layer, "concatenates other axes than channels")
        return self._put(Concat(layer.name, inputs), sum(self.channels[x] for x in inputs))

    def _Add(self, layer: Any, *inputs: str) -> str:  # noqa: N802
        if len({self.channels[x] for x in inputs}) > 1:
            raise _unsupported(layer, "adds different numbers of channels")
        return self._put(Sum(layer.name, inputs), self.channels[inputs[0]])

    def _CustomScaleLayer(self, layer: Any, x: str, residual: str) -> str:  # noqa: N802
        scaled = self._convolution_before(layer, residual).scaled(layer.scale)
        self.operators[residual] = replace(scaled, origin=replace(scaled.origin, scale=float(layer.scale)))
        return self._put(Sum(layer.name, (x, residual)), self.channels[x])


def _unsupported(layer: Any, reason: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(f"layer {layer.name} {reason}, which onnxdream cannot export: choose another backbone")


def _input_names(layer: Any) -> list[str]:
    """Returns the names of the layers whose outputs a Keras layer reads."""
    if not layer._inbound_nodes:
        return []
    return [tensor._keras_history.operation.name for tensor in layer._inbound_nodes[0].input_tensors]


_ACTIVATIONS: dict[str, type[Operator] | None] = {"relu": Relu, "relu6": Relu6, "linear": None}


def _activation(layer: Any) -> str:
    """Returns the name of an activation in `_ACTIVATIONS`. Raises UnsupportedLayerError for others."""
    name: str = layer.activation.__name__
    if name not in _ACTIVATIONS:
        raise _unsupported(layer, f"has the activation {name}")
    return name


def _pool_window(layer: Any) -> dict[str, Any]:
    """Returns the arguments of a WindowOperator for a Keras pooling."""
    return {
        "window": tuple(layer.pool_size),
        "strides": tuple(layer.strides),
        "same": layer.padding == "same",
    }
