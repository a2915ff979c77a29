"""Rewriting of the forward graph to an equivalent one whose gradient is faster on every provider."""

from __future__ import annotations

from dataclasses import replace

from .forward import AveragePool, Concat, Convolution, Forward, MaxPool, Operator, Relu, ReluMask


def rewritten(forward: Forward, layers: tuple[str, ...]) -> Forward:
    """Returns an equivalent graph with fewer pixels to mask and fewer channels to average; `layers` keep their names.

    - A ReLU moves behind the max-pooling that reads it: max(relu(x)) = relu(max(x)), and the mask has only a quarter of
      the pixels.
    - A 1x1 convolution moves before the average pooling that it reads: both are linear, and the mean of a constant bias
      is the bias. An Inception block then averages 32 to 192 channels instead of 192 to 2048.
    - If all inputs of a concatenation are ReLUs, their gradients are masked together, before they are split.
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
    """The operators of a forward graph while they are rewritten."""

    def __init__(self, forward: Forward, layers: tuple[str, ...]) -> None:
        self.operators = list(forward.operators)
        self.channels = dict(forward.channels)
        self._layers = layers

    def swap(self, op: Operator, kind: type[Operator]) -> None:
        """Moves `op` before the operator that it reads, if that is of this kind and has no other consumer."""
        before = next(iter(self._inputs_of(op)), None)
        if not isinstance(before, kind) or not self._is_private(before):
            return
        self.operators.remove(before)
        self._split(op, replace(op, inputs=before.inputs), before)

    def gather_masks(self, op: Concat) -> None:
        """Masks the gradient of a concatenation instead of those of its inputs, if all of them are ReLUs."""
        relus = [found for found in self._inputs_of(op) if isinstance(found, Relu) and self._is_private(found)]
        if len(relus) < len(op.inputs):
            return
        for relu in relus:
            self.operators[self.operators.index(relu)] = replace(relu, masks=False)
        self._split(op, op, ReluMask(op.name, ()))

    def _split(self, op: Operator, first: Operator, then: Operator) -> None:
        """Replaces an operator by two, one behind the other; the second gets its name."""
        name = f"{op.name}_first"
        while name in self.channels:  # a layer may be called so
            name += "_"
        first = replace(first, name=name)
        self.channels[first.name] = self.channels[op.name]
        index = self.operators.index(op)
        self.operators[index : index + 1] = [first, replace(then, name=op.name, inputs=(first.name,))]

    def _inputs_of(self, op: Operator) -> list[Operator]:
        return [found for found in self.operators if found.name in op.inputs]

    def _is_private(self, op: Operator) -> bool:
        """Whether an operator is read exactly once and is not a requested layer."""
        return op.name not in self._layers and sum(found.inputs.count(op.name) for found in self.operators) == 1
