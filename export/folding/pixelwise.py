"""The folding of layers that work pixel by pixel: normalizations, scales, and those that do nothing in inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..forward import ChannelNorm, Identity
from ..network import Call
from .visits import Folding, Vector, folds, unsupported

# Layers that pass their input on in inference.
_IDENTITIES = (
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "SpatialDropout2D",
    "StochasticDepth",
)


@folds("Identity")
def _identity(folding: Folding, call: Call, x: str) -> str:
    return folding.put(Identity(call.name, (x,)), folding.channels[x])


@folds(*_IDENTITIES)
def _nothing(folding: Folding, call: Call, x: str) -> str:
    return folding.pass_on(call, x)


@folds("Flatten", "Reshape")
def _reshape(folding: Folding, call: Call, x: str) -> str:
    """Reshaping a single pixel changes nothing: it stays an image of one pixel."""
    if folding.has_pixels(x) or call.node.outputs[0].shape[-1] != folding.channels[x]:
        raise unsupported(call, f"is a {call.kind}, which fits one size of picture only")
    return folding.pass_on(call, x)


@folds("BatchNormalization")
def _batch_normalization(folding: Folding, call: Call, x: str) -> str:
    layer = call.layer
    _require_channels(call, layer.axis)
    mean, variance = (np.asarray(w, np.float64) for w in (layer.moving_mean, layer.moving_variance))
    gamma = np.asarray(layer.gamma, np.float64) if layer.scale else 1.0
    beta = np.asarray(layer.beta, np.float64) if layer.center else 0.0
    factor = gamma / np.sqrt(variance + layer.epsilon)
    epsilon = float(layer.epsilon)
    return _affine(folding, call, x, factor, beta - mean * factor, epsilon=epsilon)


@folds("LayerNormalization")
def _layer_normalization(folding: Folding, call: Call, x: str) -> str:
    layer = call.layer
    axes = list(layer.axis) if isinstance(layer.axis, list | tuple) else [layer.axis]
    if len(axes) != 1 or layer.rms_scaling:
        raise unsupported(call, "normalizes other axes than the channels, or by the mean square")
    _require_channels(call, axes[0])
    normalized = folding.put(ChannelNorm(f"{call.name}_normalized", (x,), float(layer.epsilon)), folding.channels[x])
    gamma = np.asarray(layer.gamma, np.float64) if layer.scale else 1.0
    beta = np.asarray(layer.beta, np.float64) if layer.center else 0.0
    return _affine(folding, call, normalized, gamma, beta)


@folds("Normalization")
def _normalization(folding: Folding, call: Call, x: str) -> str:
    layer = call.layer
    mean, variance = (np.asarray(w, np.float64).ravel() for w in (layer.mean, layer.variance))
    if layer.invert or mean.size not in (1, folding.channels[x]):
        raise unsupported(call, "normalizes other axes than the channels, or backwards")
    factor = 1 / np.maximum(np.sqrt(variance), 1e-7)
    return _affine(folding, call, x, factor, -mean * factor)


@folds("Rescaling")
def _rescaling(folding: Folding, call: Call, x: str) -> str:
    factor, offset = (_vector(folding, call, x, value) for value in (call.layer.scale, call.layer.offset))
    return _affine(folding, call, x, factor, offset)


@folds("LayerScale")
def _layer_scale(folding: Folding, call: Call, x: str) -> str:
    return _affine(folding, call, x, np.asarray(call.layer.gamma, np.float64), 0.0)


def with_constant(folding: Folding, call: Call, x: str) -> str:
    """Adds an operation of a node and a constant: x + c, x - c, c - x, x * c or x / c."""
    (constant,) = call.constants
    value = _vector(folding, call, x, constant)
    if call.kind == "Add":
        return _affine(folding, call, x, 1.0, value)
    if call.kind == "Subtract":
        return _affine(folding, call, x, -1.0 if call.is_reversed else 1.0, value if call.is_reversed else -value)
    if call.kind == "Multiply":
        return _affine(folding, call, x, value, 0.0)
    if call.is_reversed:
        raise unsupported(call, "divides by a picture")
    return _affine(folding, call, x, 1 / value, 0.0)


def _affine(
    folding: Folding, call: Call, x: str, factor: Vector | float, offset: Vector | float, epsilon: float | None = None
) -> str:
    return folding.pass_on(call, folding.affine(call.name, x, factor, offset, epsilon=epsilon))


def _vector(folding: Folding, call: Call, x: str, value: Any) -> Vector:
    """Returns a constant as float64 [1] or [channels of x]."""
    array = np.asarray(value, np.float64)
    if array.size not in (1, array.shape[-1] if array.ndim else 1) or array.size not in (1, folding.channels[x]):
        raise unsupported(call, "computes with a constant that differs from pixel to pixel")
    return array.ravel()


def _require_channels(call: Call, axis: Any) -> None:
    rank = len(call.tensors[0].shape)
    axis = axis[0] if isinstance(axis, list | tuple) else axis
    if axis not in (-1, rank - 1):
        raise unsupported(call, "normalizes another axis than the channels")
