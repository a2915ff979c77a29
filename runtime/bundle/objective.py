"""What a run maximises: the weights of a bundle's layers and channels, and the positions of its layers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...models import contract
from ...models.arrays import Floats
from ...models.contract import Layer
from .channel_weights import plain_weights
from .means import Goals, LayerFunctions


@dataclass(frozen=True, eq=False)
class Objective:
    """The inputs of a bundle besides the image; None leaves an input at its default, which changes nothing.

    `layer_weights` are float32 [layers], `channel_weights` float32 [channels of all layers], and `positions` float32
    [layers, 3]: y, x and radius, as `contract` defines them.

    With a `function` of the channel means, its values are maximised in place of the losses; the channel weights follow
    from the means, see `at`. `goals` end an octave.
    """

    layer_weights: Floats = field(repr=False)
    channel_weights: Floats | None = field(default=None, repr=False)
    positions: Floats | None = field(default=None, repr=False)
    function: LayerFunctions | None = field(default=None, repr=False)
    goals: Goals | None = None

    @property
    def reads_means(self) -> bool:
        """Whether the channel means are needed at every step."""
        return self.function is not None or self.goals is not None

    def at(self, means: Floats) -> Objective:
        """Returns the objective whose channel weights are the function's slope at channel means [channels]."""
        return self if self.function is None else replace(self, channel_weights=self.function.slopes(means))

    @property
    def inputs(self) -> dict[str, Floats]:
        """The inputs that are given, by name, in the shapes of the contract."""
        channels = None if self.channel_weights is None else self.channel_weights[None]
        inputs = {
            contract.LAYER_WEIGHTS: self.layer_weights,
            contract.CHANNEL_WEIGHTS: channels,
            contract.POSITION: self.positions,
        }
        return {name: values for name, values in inputs.items() if values is not None}


def default_inputs(layers: tuple[Layer, ...]) -> dict[str, Floats]:
    """Returns the default values of the inputs that have one, by name, in the shapes of the contract."""
    everywhere = np.tile(np.array(contract.EVERYWHERE, np.float32), (len(layers), 1))
    return {contract.CHANNEL_WEIGHTS: plain_weights(layers)[None], contract.POSITION: everywhere}
