"""Identities of the forward graph that leave less work to its gradient, whatever it runs on."""

from __future__ import annotations

from dataclasses import replace

from .forward import AveragePool, Convolution, Forward, MaxPool, Operator, Relu


def rewritten(forward: Forward, layers: tuple[str, ...]) -> Forward:
    """The same function with fewer pixels to mask and fewer channels to average; `layers` keep their names.

    - A ReLU goes behind the maximum that reads it: max(relu(x)) = relu(max(x)), and a quarter of the mask is left.
    - A 1x1 convolution goes before the mean that it reads: both are linear, a mean of a constant bias is the bias, and
      an Inception block averages 32 to 192 channels instead of 192 to 2048.
    """
    graph = _Graph(forward, layers)
    for op in forward.operators:
        if isinstance(op, MaxPool):
            graph.swap(op, Relu)
        elif isinstance(op, Convolution) and op.window == op.strides == (1, 1):
            graph.swap(op, AveragePool)
    return replace(forward, operators=tuple(graph.operators), channels=graph.channels)


class _Graph:
    def __init__(self, forward: Forward, layers: tuple[str, ...]) -> None:
        self.operators = list(forward.operators)
        self.channels = dict(forward.channels)
        self._layers = layers

    def swap(self, op: Operator, kind: type[Operator]) -> None:
        """Puts `op` before the operator that it reads, where that is of this kind and nobody else needs it."""
        before = next((found for found in self.operators if found.name == op.inputs[0]), None)
        if not isinstance(before, kind) or before.name in self._layers or self._readers(before) > 1:
            return
        first = replace(op, name=f"{op.name}_first", inputs=before.inputs)
        then = replace(before, name=op.name, inputs=(first.name,))
        self.channels[first.name] = self.channels[op.name]
        self.operators.remove(before)
        place = self.operators.index(op)
        self.operators[place : place + 1] = [first, then]

    def _readers(self, op: Operator) -> int:
        return sum(found.inputs.count(op.name) for found in self.operators)
