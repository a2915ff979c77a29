"""What the folding of every kind of layer shares: the graph so far, and the table of visits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Size
from ...models.preprocessing import UNCHANGED, Preprocessing
from ..errors import UnsupportedLayerError
from ..forward import IMAGE, Convolution, Forward, GlobalMean, Operator, Origin, Scale
from ..network import Call, Network

# The folding, a call and the nodes that it reads -> the node that holds its output.
Visit = Callable[..., str]
# The name of a layer's class -> what folds it.
VISITS: dict[str, Visit] = {}
POINT = Size(1, 1)
# A layer may join only what fits at each of these sides: all remainders of a network whose pixels are 32 apart.
_SIDES = range(1024, 1056)

Vector = NDArray[np.float64]


def folds(*kinds: str) -> Callable[[Visit], Visit]:
    """Registers the function that folds calls of layers with these classes."""

    def register(visit: Visit) -> Visit:
        VISITS.update(dict.fromkeys(kinds, visit))
        return visit

    return register


def unsupported(call: Call, reason: str, advice: str = "choose a layer in front of it") -> UnsupportedLayerError:
    """Returns the error for a call that cannot be exported."""
    return UnsupportedLayerError(f"layer {call.name} {reason}, which onnxdream cannot export: {advice}")


class Folding:
    """Visits the calls of a network in order and collects the operators that they fold into."""

    def __init__(self, network: Network, preprocessing: Preprocessing) -> None:
        self.network = network
        self.operators: dict[str, Operator] = {}
        self.channels: dict[str, int] = {IMAGE: 3}
        self.folded: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._names = frozenset(call.name for call in network.calls)
        self._visited: Call | None = None
        self._points: set[str] = set()  # the nodes with one pixel for the whole picture
        self._sizes = {IMAGE: [Size(side, side) for side in _SIDES]}  # node -> its sizes in pictures of these sides
        self._node_of = {IMAGE: self._preprocessed(preprocessing)}  # call -> the node that holds its output

    @property
    def forward(self) -> Forward:
        """The graph of all calls that have been added."""
        return Forward(tuple(self.operators.values()), self.channels, self._names, self.folded, self.refused)

    def add(self, call: Call) -> None:
        """Adds the operators of a call. If it cannot be exported, the reason is noted for it and all calls behind."""
        layers = (name.partition("[")[0] for name in call.inputs)  # without the number of one of several outputs
        reason = next((self.refused[name] for name in layers if name in self.refused), None)
        self._visited = call
        try:
            if reason is None:
                self._node_of[call.name] = self._visit(call)
        except UnsupportedLayerError as error:
            reason = str(error)
        if reason is not None:
            self.refused[call.name] = reason

    def _visit(self, call: Call) -> str:
        visit = VISITS.get(call.kind)
        if visit is None:
            raise unsupported(call, f"is a {call.kind}")
        if any(name not in self._node_of for name in call.inputs):
            raise unsupported(call, "reads a layer with several outputs")
        if getattr(call.layer, "data_format", None) == "channels_first":
            raise unsupported(call, "has its channels first")
        return visit(self, call, *(self._node_of[name] for name in call.inputs))

    def put(self, op: Operator, channels: int) -> str:
        """Appends an operator and returns its name: underscores follow one that another layer or operator has."""
        name, own = op.name, self._visited and self._visited.name
        while name in self.operators or (name in self._names and name != own):
            name += "_"
        # Where a single pixel and a picture meet, the result is as large as the picture.
        sizes = [op.size(max(sizes)) for sizes in zip(*(self._sizes[x] for x in op.inputs), strict=True)]
        if isinstance(op, GlobalMean) or all(x in self._points for x in op.inputs):
            if self._visited and max(sizes) > POINT:
                raise unsupported(self._visited, "enlarges a single pixel")
            self._points.add(name)
        self.operators[name], self.channels[name], self._sizes[name] = replace(op, name=name), channels, sizes
        return name

    def pass_on(self, call: Call, x: str) -> str:
        """Makes a call another name of its input."""
        self.folded[call.name] = x
        return x

    def has_pixels(self, x: str) -> bool:
        """Whether a node has more than one pixel for the whole picture."""
        return x not in self._points

    def require_same_size(self, call: Call, inputs: Sequence[str]) -> None:
        """Raises UnsupportedLayerError unless the nodes with pixels that a call joins are always equally large."""
        nodes = [self._sizes[x] for x in inputs if self.has_pixels(x)]
        for side, *sizes in zip(_SIDES, *nodes, strict=True):
            if len(set(sizes)) > 1:
                joined = " and ".join(f"{size.width}x{size.height}" for size in dict.fromkeys(sizes))
                raise unsupported(call, f"joins {joined} values where a picture has {side}x{side} pixels")

    def is_private(self, x: str) -> bool:
        """Whether a single call computes with a node; calls that only pass it on do not count."""
        names = [name for name, node in self._node_of.items() if node == x]
        return sum(len(self.network.readers[name]) for name in names) - (len(names) - 1) == 1

    def affine(
        self,
        name: str,
        x: str,
        factor: Vector | float,
        offset: Vector | float = 0.0,
        *,
        epsilon: float | None = None,
        scale: float = 1.0,
    ) -> str:
        """Adds x * factor + offset, with one number or one for each channel, and returns the node that holds it.

        The convolution that computes x takes it up. Where there is none, or others read it too, a depthwise convolution
        called `name` computes it. `epsilon` and `scale` are those of `Origin`, which tell where the numbers come from.
        """
        channels = self.channels[x]
        factor, offset = (np.broadcast_to(np.asarray(value, np.float64), channels) for value in (factor, offset))
        op = self.operators.get(x)
        if not isinstance(op, Convolution) or not self.is_private(x):
            return self.depthwise(name, x, factor, offset)
        bias = (op.bias.astype(np.float64) * factor + offset).astype(np.float32)
        epsilon = op.origin.epsilon if epsilon is None else epsilon
        origin = replace(op.origin, epsilon=epsilon, scale=op.origin.scale * scale)
        self.operators[x] = replace(op.scaled(factor), bias=bias, origin=origin)
        return x

    def depthwise(self, name: str, x: str, factor: Vector, offset: Vector) -> str:
        """Adds x * factor + offset, [C] each, as a 1x1 depthwise convolution."""
        kernel, bias = factor.astype(np.float32)[None, None, None], offset.astype(np.float32)
        return self.put(Convolution(name, (x,), POINT, POINT, False, kernel, bias, Origin(name), len(bias)), len(bias))

    def _preprocessed(self, preprocessing: Preprocessing) -> str:
        """Adds what turns an image into the network's input: nothing, a scale, or a 1x1 convolution of its colours."""
        if preprocessing == UNCHANGED:
            return IMAGE
        name = "preprocessing"
        if preprocessing.is_uniform:
            return self.put(Scale(name, (IMAGE,), preprocessing.scale[0], preprocessing.offset[0]), 3)
        kernel, bias = np.diag(preprocessing.scale), np.array(preprocessing.offset)
        if preprocessing.is_bgr:
            kernel, bias = kernel[:, ::-1], bias[::-1]
        kernel, bias = kernel[None, None].astype(np.float32), bias.astype(np.float32)
        convolution = Convolution(name, (IMAGE,), POINT, POINT, False, kernel, bias, Origin(name))
        return self.put(convolution, 3)
