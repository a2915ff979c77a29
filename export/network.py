"""A Keras model as one list of calls: nested models are inlined, and a shared layer has a call for each use.

Both sides of an export read this list: the folding, and the reference that runs it with Keras's own layers. The latter
works for pictures of any size, whatever size the model was built for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
from keras.src.applications.imagenet_utils import correct_pad

from ..models.contract import LOGITS
from .forward import IMAGE

# What a classifier does with its scores.
_LAST_ACTIVATIONS = ("softmax", "sigmoid")


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a Keras layer or operation.

    `name` is that of the layer, unless another call has it. `inputs` are the names of the calls whose outputs it reads.
    `node` is Keras's record of the call, in which `tensors` stand for the inputs.
    """

    name: str
    layer: Any
    node: Any
    inputs: tuple[str, ...]

    @property
    def tensors(self) -> list[Any]:
        """Keras's symbolic inputs, one for each name in `inputs`."""
        tensors: list[Any] = self.node.input_tensors
        return tensors

    @property
    def channels(self) -> int:
        """The number of channels of the output."""
        return int(self.node.outputs[0].shape[-1])

    @property
    def kind(self) -> str:
        """The name of the layer's class."""
        return type(self.layer).__name__

    @property
    def constants(self) -> tuple[Any, ...]:
        """The positional arguments that are no outputs of other calls."""
        return tuple(argument for argument in self.node.arguments.args if not _has_tensors(argument))

    @property
    def is_reversed(self) -> bool:
        """Whether a constant comes before the output of another call, as in 1 - x."""
        return bool(self.node.arguments.args) and not _has_tensors(self.node.arguments.args[0])

    def run(self, values: Iterable[Any]) -> Any:
        """Calls the layer as in inference, with these values of its inputs."""
        found = {id(tensor): value for tensor, value in zip(self.tensors, values, strict=True)}
        args, kwargs = self.node.arguments.fill_in(found)
        if getattr(self.layer, "_call_has_training_arg", False):
            kwargs = {**kwargs, "training": False}
        return self.layer(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class Network:
    """The calls of a Keras model, in an order in which they can be run."""

    calls: tuple[Call, ...]

    @classmethod
    def of(cls, model: Any) -> Network:
        """Lists the calls of a functional or sequential Keras model with one input.

        If its output is that of a classifier, the classes' scores in front of its softmax are a call `logits`.
        """
        listing = _Listing()
        (output, *_) = listing.add(model, [IMAGE])
        listing.add_scores(output)
        return cls(tuple(listing.calls))

    def call(self, name: str) -> Call:
        """Returns the call of a name. Raises StopIteration."""
        return next(call for call in self.calls if call.name == name)

    @cached_property
    def readers(self) -> Mapping[str, tuple[Call, ...]]:
        """Maps each call, and the input, to the calls that read it; twice if they read it twice.

        The outputs of a layer with several have names of their own.
        """
        found: dict[str, list[Call]] = {name: [] for name in (IMAGE, *(call.name for call in self.calls))}
        for call in self.calls:
            for name in call.inputs:
                found.setdefault(name, []).append(call)
        return {name: tuple(calls) for name, calls in found.items()}

    def run(self, image: Any, names: Iterable[str]) -> list[Any]:
        """Computes the outputs of calls for images, NHWC, as in inference."""
        names = list(names)
        needed, values = self._needed(names), {IMAGE: image}
        for call in self.calls:
            if call.name in needed:
                inputs = [values[name] for name in call.inputs]
                kernel = self.same_padding_of(call)
                values[call.name] = _padded(inputs[0], kernel) if kernel else call.run(inputs)
        return [values[name] for name in names]

    def same_padding_of(self, call: Call) -> tuple[int, int] | None:
        """Returns the kernel of the convolution in front of which a call pads a picture, if it pads as SAME does.

        MobileNet and EfficientNet pad in a layer of its own, by Keras's `correct_pad`, which depends on whether the
        height and the width are even. A model that was built for even or for unknown sizes stores the padding for even
        ones only.
        """
        if call.kind != "ZeroPadding2D" or len(self.readers[call.name]) != 1:
            return None
        (reader,) = self.readers[call.name]
        layer = reader.layer
        if (
            reader.kind not in ("Conv2D", "DepthwiseConv2D")
            or layer.padding != "valid"
            or tuple(layer.strides) != (2, 2)
        ):
            return None
        down, right = layer.kernel_size
        for_even_sizes = ((down // 2 - 1, down // 2), (right // 2 - 1, right // 2))
        is_odd = down % 2 == right % 2 == 1 and tuple(layer.dilation_rate) == (1, 1)
        return (down, right) if is_odd and call.layer.padding == for_even_sizes else None

    def _needed(self, names: list[str]) -> set[str]:
        needed = set(names)
        for call in reversed(self.calls):
            if call.name in needed:
                needed.update(call.inputs)
        return needed


def _padded(x: Any, kernel: tuple[int, int]) -> Any:
    return keras.ops.pad(x, ((0, 0), *correct_pad(x, kernel), (0, 0)))


def functional(model: Any) -> Any:
    """Returns the graph of a functional or sequential model, or None for a model of another kind."""
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if hasattr(model, "_nodes_by_depth") else None


class _Listing:
    """Lists the calls of a model and of the models in it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._names = {IMAGE}

    def add(self, model: Any, inputs: list[str]) -> list[str]:
        """Adds the calls of a model that reads `inputs`; returns the names of its outputs."""
        graph = functional(model)
        names = {id(tensor): name for tensor, name in zip(graph.inputs, inputs, strict=True)}
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if not node.is_input:
                    reads = [names[id(tensor)] for tensor in node.input_tensors]
                    outputs = self._add_node(node, reads)
                    names |= {id(tensor): name for tensor, name in zip(node.outputs, outputs, strict=True)}
        return [names[id(tensor)] for tensor in graph.outputs]

    def _add_node(self, node: Any, reads: list[str]) -> list[str]:
        if functional(node.operation) is not None:
            return self.add(node.operation, reads)
        name = self._unused(node.operation.name)
        self.calls.append(Call(name, node.operation, node, tuple(reads)))
        # A layer with several outputs cannot be exported, so that nobody reads the others.
        return [name, *(f"{name}[{number}]" for number in range(1, len(node.outputs)))]

    def add_scores(self, output: str) -> None:
        """Adds a call `logits` if the output of the network is that of a dense layer, or a softmax of it."""
        by_name = {call.name: call for call in self.calls}
        call = by_name.get(output)
        if call and call.kind in ("Softmax", "Activation") and _activation_of(call.layer) in _LAST_ACTIVATIONS:
            call = by_name.get(call.inputs[0])
        if call is None or call.kind != "Dense" or LOGITS in by_name:
            return
        layer = call.layer
        dense = keras.layers.Dense(layer.units, use_bias=layer.use_bias, name=f"{call.name}_scores")
        scores = keras.layers.Identity(name=LOGITS)(dense(*call.tensors))
        dense.set_weights(layer.get_weights())
        (name,) = self._add_node(dense._inbound_nodes[0], list(call.inputs))
        self._add_node(scores._keras_history.operation._inbound_nodes[0], [name])

    def _unused(self, name: str) -> str:
        """Returns a name that no call has, and takes it: `name`, or else `name/2`, `name/3` …"""
        found, number = name, 1
        while found in self._names:
            number += 1
            found = f"{name}/{number}"
        self._names.add(found)
        return found


def _activation_of(layer: Any) -> str:
    """Returns the name of an activation layer's function."""
    return "softmax" if type(layer).__name__ == "Softmax" else str(layer.activation.__name__)


def _has_tensors(argument: Any) -> bool:
    parts = argument if isinstance(argument, list | tuple) else [argument]
    return any(isinstance(part, keras.KerasTensor) for part in parts)
