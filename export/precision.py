"""What a bundle computes in between the picture and the losses: float32, or float16 with slopes scaled to fit it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .forward import Convolution, Operator
from .operators import evaluate

Tensor = Any


@dataclass(frozen=True)
class Precision:
    """The type that convolutions compute in and store their weights in, and that of the operators between them.

    The tensors of the contract, the means of channels, the losses and their slopes are float32 in every precision.
    """

    name: str
    convolutions: tf.DType
    others: tf.DType

    @property
    def is_full(self) -> bool:
        """Whether all of it is float32."""
        return bool(self.convolutions == self.others == tf.float32)

    def evaluate(self, op: Operator, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
        """Adds the operator to the trace, in its own type, and returns its output in the type of the others."""
        own = self.convolutions if isinstance(op, Convolution) else self.others
        return tf.cast(evaluate(op, [tf.cast(x, own) for x in inputs], weights), self.others)

    def gradient(
        self, tape: tf.GradientTape, layers: list[Tensor], image: Tensor, output_gradients: list[Tensor]
    ) -> Tensor:
        """The gradient at the image, where `slopes` are those of the loss at the layers, all NCHW float32.

        A slope is a weight divided by the number of a layer's activations, which float16 would flush to zero. So what
        goes down through float16 is divided by the steepest slope of its picture, and the gradient, in float32 again,
        multiplied by it: the largest is then 1 for every size, objective and weight.
        """
        if self.is_full:
            return tape.gradient(layers, image, output_gradients=output_gradients)
        loss_scale = _loss_scale(output_gradients)
        return (
            tape.gradient(layers, image, output_gradients=[slope / loss_scale for slope in output_gradients])
            * loss_scale
        )


def _loss_scale(output_gradients: list[Tensor]) -> Tensor:
    """[batch, 1, 1, 1]: the largest absolute value of all layers' slopes, never 0."""
    peaks = [tf.reduce_max(tf.abs(slope), axis=[1, 2, 3], keepdims=True) for slope in output_gradients]
    return tf.maximum(tf.reduce_max(tf.stack(peaks), axis=0), np.finfo(np.float32).tiny)


FP32 = Precision("fp32", tf.float32, tf.float32)
PRECISIONS = {
    precision.name: precision
    for precision in (FP32, Precision("fp16", tf.float16, tf.float16), Precision("mixed", tf.float16, tf.float32))
}
