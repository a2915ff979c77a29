"""Functions of each value and their slopes, traced in TensorFlow.

The slopes follow TensorFlow's gradients, also where a function has a kink.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import tensorflow as tf

Tensor = Any
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, arXiv:1706.02515
_GELU_FACTOR, _GELU_CUBIC = math.sqrt(2 / math.pi), 0.044715  # Hendrycks and Gimpel 2016, arXiv:1606.08415


@dataclass(frozen=True)
class Function:
    """A function of each value: `value(x, parameters…)` returns y, and `slope(x, y, parameters…)` its derivative."""

    value: Callable[..., Tensor]
    slope: Callable[..., Tensor]


def _like(x: Tensor, number: float) -> Tensor:
    """Returns a scalar of the type of x."""
    return tf.constant(number, x.dtype)


def _where(condition: Tensor, x: Tensor, one: float, other: float = 0.0) -> Tensor:
    return tf.where(condition, _like(x, one), _like(x, other))


def _clipped_relu(x: Tensor, slope: float, threshold: float, maximum: float) -> Tensor:
    above = x if math.isinf(maximum) else tf.minimum(x, _like(x, maximum))
    return tf.where(x > _like(x, threshold), above, (x - _like(x, threshold)) * _like(x, slope))


def _clipped_relu_slope(x: Tensor, y: Tensor, slope: float, threshold: float, maximum: float) -> Tensor:
    passed = x > _like(x, threshold)
    if not math.isinf(maximum):
        passed = tf.logical_and(passed, x <= _like(x, maximum))
    return _where(passed, x, 1.0) + _where(x < _like(x, threshold), x, slope)


def _elu(x: Tensor, alpha: float) -> Tensor:
    return tf.nn.elu(x) if alpha == 1 else tf.where(x > 0, x, tf.nn.elu(x) * _like(x, alpha))


def _hard_sigmoid(x: Tensor) -> Tensor:
    return tf.nn.relu6(x + _like(x, 3)) * _like(x, 1 / 6)


def _hard_sigmoid_slope(x: Tensor) -> Tensor:
    return _where(tf.logical_and(x > _like(x, -3), x < _like(x, 3)), x, 1 / 6)


def _mish_slope(x: Tensor, y: Tensor) -> Tensor:
    t = tf.tanh(tf.nn.softplus(x))
    return t + x * (_like(x, 1) - t * t) * tf.sigmoid(x)


def _swish_slope(x: Tensor, y: Tensor) -> Tensor:
    s = tf.sigmoid(x)
    return s + y * (_like(x, 1) - s)


def _normal_distribution(x: Tensor) -> Tensor:
    """Returns the probability that a standard normal variable is at most x."""
    return (tf.math.erf(x * _like(x, math.sqrt(0.5))) + _like(x, 1)) * _like(x, 0.5)


def _gelu_slope(x: Tensor, y: Tensor) -> Tensor:
    density = tf.exp(x * x * _like(x, -0.5)) * _like(x, 1 / math.sqrt(2 * math.pi))
    return _normal_distribution(x) + x * density


def _gelu_tanh(x: Tensor) -> Tensor:
    return tf.tanh(x * (x * x * _like(x, _GELU_CUBIC) + _like(x, 1)) * _like(x, _GELU_FACTOR))


def _gelu_tanh_slope(x: Tensor, y: Tensor) -> Tensor:
    t, one = _gelu_tanh(x), _like(x, 1)
    inner = (x * x * _like(x, 3 * _GELU_CUBIC) + one) * _like(x, _GELU_FACTOR)
    return (t + one + x * (one - t * t) * inner) * _like(x, 0.5)


def _softsign_slope(x: Tensor, y: Tensor) -> Tensor:
    root = tf.abs(x) + _like(x, 1)
    return _like(x, 1) / (root * root)


FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "clipped_relu": Function(_clipped_relu, _clipped_relu_slope),
        "elu": Function(_elu, lambda x, y, alpha: tf.where(x > 0, _like(x, 1), y + _like(x, alpha))),
        "exponential": Function(tf.exp, lambda x, y: y),
        "gelu": Function(lambda x: x * _normal_distribution(x), _gelu_slope),
        "gelu_tanh": Function(lambda x: x * (_gelu_tanh(x) + _like(x, 1)) * _like(x, 0.5), _gelu_tanh_slope),
        "hard_sigmoid": Function(_hard_sigmoid, lambda x, y: _hard_sigmoid_slope(x)),
        "hard_swish": Function(
            lambda x: x * _hard_sigmoid(x), lambda x, y: _hard_sigmoid(x) + x * _hard_sigmoid_slope(x)
        ),
        "leaky_relu": Function(
            lambda x, alpha: tf.nn.leaky_relu(x, alpha), lambda x, y, alpha: _where(x > 0, x, 1.0, alpha)
        ),
        "mish": Function(lambda x: x * tf.tanh(tf.nn.softplus(x)), _mish_slope),
        "selu": Function(
            tf.nn.selu,
            lambda x, y: tf.where(y < 0, y + _like(x, _SELU_SCALE * _SELU_ALPHA), _like(x, _SELU_SCALE)),
        ),
        "sigmoid": Function(tf.sigmoid, lambda x, y: y * (_like(x, 1) - y)),
        "softplus": Function(tf.nn.softplus, lambda x, y: tf.sigmoid(x)),
        "softsign": Function(tf.nn.softsign, _softsign_slope),
        "swish": Function(lambda x: x * tf.sigmoid(x), _swish_slope),
        "tanh": Function(tf.tanh, lambda x, y: _like(x, 1) - y * y),
    }
)
