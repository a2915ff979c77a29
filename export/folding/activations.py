"""The folding of activations, as layers, as operations, and as a part of other layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...models.contract import LOGITS
from ..forward import Activation, Operator, Relu, Relu6, Sum
from ..network import Call
from .visits import Folding, folds, unsupported

# Keras's name of an activation -> its name in `activations.FUNCTIONS` and the parameters that it has by default.
_FUNCTIONS: dict[str, tuple[str, tuple[float, ...]]] = {
    "elu": ("elu", (1.0,)),
    "exponential": ("exponential", ()),
    "gelu": ("gelu", ()),
    "hard_sigmoid": ("hard_sigmoid", ()),
    "hard_silu": ("hard_swish", ()),
    "leaky_relu": ("leaky_relu", (0.2,)),
    "mish": ("mish", ()),
    "selu": ("selu", ()),
    "sigmoid": ("sigmoid", ()),
    "silu": ("swish", ()),
    "softplus": ("softplus", ()),
    "softsign": ("softsign", ()),
    "tanh": ("tanh", ()),
}
# The classes of Keras's operations without parameters -> Keras's name of the activation.
_OPERATIONS = {
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "Relu": "relu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
_SCORES = f"choose {LOGITS}, the scores in front of it, if the network has them, or another layer"


def is_linear(layer: Any) -> bool:
    """Whether a layer has no activation."""
    return _name(layer.activation) == "linear"


def activated(folding: Folding, call: Call, x: str) -> str:
    """Adds the activation that is a part of a call's layer, under the layer's name."""
    activation = call.layer.activation
    put = _LAYERS.get(type(activation).__name__)  # a layer may be another's activation
    return put(folding, call, x, activation) if put else _put(folding, _operator(call, x, _name(activation)), x)


@folds("Activation")
def _activation(folding: Folding, call: Call, x: str) -> str:
    return folding.pass_on(call, x) if is_linear(call.layer) else activated(folding, call, x)


@folds(*_OPERATIONS)
def _operation(folding: Folding, call: Call, x: str) -> str:
    return _put(folding, _operator(call, x, _OPERATIONS[call.kind]), x)


@folds("Gelu")
def _gelu(folding: Folding, call: Call, x: str) -> str:
    function = "gelu_tanh" if call.layer.approximate else "gelu"
    return _put(folding, Activation(call.name, (x,), function), x)


@folds("ReLU", "LeakyReLU", "ELU", "PReLU")
def _layer(folding: Folding, call: Call, x: str) -> str:
    return _LAYERS[call.kind](folding, call, x, call.layer)


@folds("Softmax")
def _softmax(folding: Folding, call: Call, x: str) -> str:
    raise unsupported(call, "is a softmax", _SCORES)


def _relu(folding: Folding, call: Call, x: str, layer: Any) -> str:
    slope, threshold = float(layer.negative_slope), float(layer.threshold)
    if slope and not threshold and layer.max_value is None:
        return _put(folding, Activation(call.name, (x,), "leaky_relu", (slope,)), x)
    if slope or threshold or layer.max_value not in (None, 6):
        maximum = np.inf if layer.max_value is None else float(layer.max_value)
        return _put(folding, Activation(call.name, (x,), "clipped_relu", (slope, threshold, maximum)), x)
    return _put(folding, (Relu if layer.max_value is None else Relu6)(call.name, (x,)), x)


def _leaky_relu(folding: Folding, call: Call, x: str, layer: Any) -> str:
    return _put(folding, Activation(call.name, (x,), "leaky_relu", (float(layer.negative_slope),)), x)


def _elu(folding: Folding, call: Call, x: str, layer: Any) -> str:
    return _put(folding, Activation(call.name, (x,), "elu", (float(layer.alpha),)), x)


def _prelu(folding: Folding, call: Call, x: str, layer: Any) -> str:
    """Adds relu(x) - alpha * relu(-x), as Keras computes it (He et al. 2015, arXiv:1502.01852, eq. 1)."""
    if not layer.built:
        raise unsupported(call, "has the activation PReLU, whose slopes Keras does not save")
    alpha = np.asarray(layer.alpha, np.float32)
    if alpha.size != alpha.shape[-1]:
        raise unsupported(call, "has a slope for each pixel, which fits one size of picture only")
    slopes, name = np.broadcast_to(alpha.ravel(), folding.channels[x]).astype(np.float64), call.name
    zeros = np.zeros_like(slopes)
    positive = _put(folding, Relu(f"{name}_positive", (x,)), x)
    negated = folding.depthwise(f"{name}_negated", x, zeros - 1, zeros)
    negative = _put(folding, Relu(f"{name}_negative", (negated,)), x)
    weighted = folding.depthwise(f"{name}_weighted", negative, -slopes, zeros)
    return _put(folding, Sum(name, (positive, weighted)), x)


_LAYERS = {"ReLU": _relu, "LeakyReLU": _leaky_relu, "ELU": _elu, "PReLU": _prelu}


def _operator(call: Call, x: str, name: str) -> Operator:
    """Returns the operator of an activation with Keras's name."""
    if name == "relu":
        return Relu(call.name, (x,))
    if name == "relu6":
        return Relu6(call.name, (x,))
    if name in _FUNCTIONS:
        return Activation(call.name, (x,), *_FUNCTIONS[name])
    if name == "softmax":
        raise unsupported(call, "is a softmax", _SCORES)
    raise unsupported(call, f"has the activation {name}")


def _name(activation: Any) -> str:
    """Returns Keras's name of an activation."""
    return str(getattr(activation, "__name__", type(activation).__name__))


def _put(folding: Folding, op: Operator, x: str) -> str:
    """Appends an operator that keeps the number of channels of its input."""
    return folding.put(op, folding.channels[x])
