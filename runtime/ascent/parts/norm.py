"""Division of the gradient by its norm, so that the length of a step does not depend on that of the gradient.

The norms are the standard deviation (`std`, TensorFlow's tutorial), the root mean square (`l2`; unlike a plain L2 norm,
it gives a step size the same meaning at every picture size), the mean absolute value (`mean-abs`, Caffe's deepdream),
and 1 (`none`).
"""

from __future__ import annotations

import numpy as np

from ....models.arrays import Image
from ...settings.settings import GradientNorm, Settings
from .part import Part, UpdateContext, UpdateGraph

# TensorFlow's tutorial divides by std + 1e-8.
_EPSILON = 1e-8
# Values that are reduced at once, so that a norm needs little memory.
_BLOCK = 2**20


def _is_wanted(settings: Settings) -> bool:
    return settings.gradient_norm != "none"


def _by_numpy(direction: Image, context: UpdateContext) -> Image:
    direction *= np.float32(1 / norm(direction, context.settings.gradient_norm))
    return direction


def norm(gradient: Image, kind: GradientNorm) -> float:
    """Returns the norm of a gradient, which is never 0. `kind` is any norm but `none`."""
    flat = gradient.reshape(-1)
    blocks = [flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK)]
    if kind == "mean-abs":
        return sum(float(np.abs(block).sum(dtype=np.float64)) for block in blocks) / flat.size + _EPSILON
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / flat.size if kind == "std" else 0.0
    squares = sum(float(np.square(block - np.float32(mean)).sum(dtype=np.float64)) for block in blocks)
    return float(np.sqrt(squares / flat.size)) + _EPSILON


def _as_graph(direction: str, graph: UpdateGraph) -> str:
    kind = graph.settings.gradient_norm
    if kind == "mean-abs":
        strength = graph.mean(graph.add("Abs", direction))
    elif kind == "std":  # in two passes
        strength = graph.root_mean_square(graph.add("Sub", direction, graph.mean(direction)))
    else:
        strength = graph.root_mean_square(direction)
    return graph.add("Div", direction, graph.add("Add", strength, _EPSILON))


NORM = Part("norm", _is_wanted, _by_numpy, _as_graph)
