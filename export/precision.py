"""The precision in which a bundle computes: float32, or float16 with a loss scale that fits the gradients into it."""

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
    """The type of the convolutions and their weights, and the type of the other operators.

    The tensors of the contract, the channels' means, the losses and their gradients at the layers (the output
    gradients) are float32 in every precision.
    """

    name: str
    convolutions: tf.DType
    others: tf.DType

    @property
    def is_full(self) -> bool:
        """Whether everything is float32."""
        return bool(self.convolutions == self.others == tf.float32)

    def evaluate(self, op: Operator, inputs: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
        """Adds an operator to the trace in its own type; returns its output, NCHW, in the type of the others."""
        own = self.convolutions if isinstance(op, Convolution) else self.others
        return tf.cast(evaluate(op, [tf.cast(x, own) for x in inputs], weights), self.others)

    def gradient(
        self, tape: tf.GradientTape, layers: list[Tensor], image: Tensor, output_gradients: list[Tensor]
    ) -> Tensor:
        """Returns the gradient at the image; `output_gradients` are those of the loss at the layers, all NCHW float32.

        An output gradient is a weight divided by the number of a layer's activations, which float16 would flush to
        zero. So the output gradients of each image are divided by their largest absolute value, the loss scale, before
        they are propagated in float16. The gradient, in float32 again, is multiplied by it. Thus the largest propagated
        value is 1 for every image size, objective and weight (loss scaling: Micikevicius et al. 2018, section 3.2).
        """
        if self.is_full:
            return tape.gradient(layers, image, output_gradients=output_gradients)
        loss_scale = _loss_scale(output_gradients)
        scaled = [gradient / loss_scale for gradient in output_gradients]
        return tape.gradient(layers, image, output_gradients=scaled) * loss_scale


def _loss_scale(output_gradients: list[Tensor]) -> Tensor:
    """Returns the largest absolute value of all layers' output gradients, float32 [batch, 1, 1, 1], never 0."""
    peaks = [tf.reduce_max(tf.abs(gradient), axis=[1, 2, 3], keepdims=True) for gradient in output_gradients]
    return tf.maximum(tf.reduce_max(tf.stack(peaks), axis=0), np.finfo(np.float32).tiny)


FP32 = Precision("fp32", tf.float32, tf.float32)
PRECISIONS = {
    precision.name: precision
    for precision in (FP32, Precision("fp16", tf.float16, tf.float16), Precision("mixed", tf.float16, tf.float32))
}
