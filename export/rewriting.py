"""Identities of the forward graph that leave less work to its gradient, whatever it runs on."""

from __future__ import annotations

from dataclasses import replace

from .forward import AveragePool, Concat, Convolution, Forward, Mask, MaxPool, Operator, Relu


def rewritten(forward: Forward, layers: tuple[str, ...]) -> Forward:
    """The same function with fewer pixels to mask and fewer channels to average; `layers` keep their names.

    - A ReLU goes behind the maximum that reads it: max(relu(x)) = relu(max(x)), and a quarter of the mask is left.
    - A 1x1 convolution goes before the mean that it reads: both are linear, a mean of a constant bias is the bias, and
      an Inception block averages 32 to 192 channels instead of 192 to 2048.
    - Where only ReLUs are concatenated, their gradients are masked at once, before they are taken apart.
    """
    graph = _Graph(forward, layers)
    for op in forward.operators:
        if isinstance(op, MaxPool):
            graph.swap(op, Relu)
        elif isinstance(op, Convolution) and op.window == op.strides == (1, 1):
            graph.swap(op, AveragePool)
        elif isinstance(op, Concat):
            graph.gather_masks(op)
    return replace(forward, operators=tuple(graph.operators), channels=graph.channels)


class _Graph:
    def __init__(self, forward: Forward, layers: tuple[str, ...]) -> None:
        self.operators = list(forward.operators)
        self.channels = dict(forward.channels)
        self._layers = layers

    def swap(self, op: Operator, kind: type[Operator]) -> None:
        """Puts `op` before the operator that it reads, where that is of this kind and nobody else needs it."""
        before = next(iter(self._read_by(op)), None)
        if not isinstance(before, kind) or not self._is_private(before):
            return
        self.operators.remove(before)
        self._split(op, replace(op, inputs=before.inputs), before)

    def gather_masks(self, op: Concat) -> None:
        """Masks the gradient of a concatenation instead of those of its ReLUs, where it has nothing else."""
        relus = [found for found in self._read_by(op) if isinstance(found, Relu) and self._is_private(found)]
        if len(relus) < len(op.inputs):
            return
        for relu in relus:
            self.operators[self.operators.index(relu)] = replace(relu, masks=False)
        self._split(op, op, Mask(op.name, ()))

    def _split(self, op: Operator, first: Operator, then: Operator) -> None:
        """Puts two operators, one behind the other, in the place of one."""
        first = replace(first, name=f"{op.name}_first")
        self.channels[first.name] = self.channels[op.name]
        place = self.operators.index(op)
        self.operators[place : place + 1] = [first, replace(then, name=op.name, inputs=(first.name,))]

    def _read_by(self, op: Operator) -> list[Operator]:
        return [found for found in self.operators if found.name in op.inputs]

    def _is_private(self, op: Operator) -> bool:
        """Whether it is read once, and no layer that is asked for."""
        return op.name not in self._layers and sum(found.inputs.count(op.name) for found in self.operators) == 1
