"""The channel weights of pictures that are drawn together, from step to step.

A session weighs layers once for the whole batch, and channels for each picture. So here, the layers' weights of a
picture are factors of those of its channels. Channel means and weights are float32 [n, channels of all layers].
"""

from __future__ import annotations

import numpy as np

from ....models.arrays import Floats
from ....models.contract import Metadata
from ...bundle.channel_weights import plain_weights
from ...bundle.objective import Objective

# How strongly pictures of one subject are pushed apart, compared with the subject itself.
_DIVERSITY = 0.5


class BatchWeights:
    """The weights of a batch of pictures with these objectives, `diversity` neighbours of which have the same one.

    All objectives have the same positions.
    """

    def __init__(self, metadata: Metadata, objectives: list[Objective], sign: float, diversity: int) -> None:
        self._objectives, self._sign, self._diversity = objectives, np.float32(sign), diversity
        channels = [layer.channels for layer in metadata.layers]
        layers = np.stack([objective.layer_weights for objective in objectives])
        self.layer_weights = np.asarray(layers.any(axis=0), np.float32)
        self.positions = objectives[0].positions
        self._factors = np.repeat(layers, channels, axis=1)
        plain = plain_weights(metadata.layers)
        self._channels = np.stack([plain if one.channel_weights is None else one.channel_weights for one in objectives])

    @property
    def follows_means(self) -> bool:
        """Whether the weights depend on the channel means even of the first step."""
        return any(objective.function for objective in self._objectives)

    def plain(self) -> Floats:
        """Returns the weights where no means are known; those of functions are zeros."""
        is_function = np.array([bool(objective.function) for objective in self._objectives])
        weights: Floats = np.where(is_function[:, None], np.float32(0), self._sign * self._factors * self._channels)
        return weights

    def at(self, means: Floats) -> Floats:
        """Returns the weights at channel means: the slopes of functions, and what pushes alike pictures apart."""
        weights = self.plain()
        for place, objective in enumerate(self._objectives):
            if objective.function:
                weights[place] = self._factors[place] * objective.function.slopes(means[place])
        return weights + self._pushing_apart(means) if self._diversity > 1 else weights

    def losses(self, means: Floats) -> Floats:
        """Returns what each picture maximises, or minimises, at channel means, float32 [n]."""
        weighed = (self._factors * self._channels * means).sum(axis=1)
        for place, objective in enumerate(self._objectives):
            if objective.function:
                weighed[place] = objective.function.values(means[place]) @ objective.layer_weights
        return np.asarray(weighed, np.float32)

    def _pushing_apart(self, means: Floats) -> Floats:
        """Weights that make the channel means of a subject's pictures less similar to each other.

        They are the slope of the cosine between each picture's means and those of the others, in the subject's layers,
        times the length of its means: their strength does not depend on how large the means are.
        """
        weights, count = np.zeros_like(means), self._diversity
        for start in range(0, len(means), count):
            own = means[start : start + count] * (self._factors[start] != 0)
            units = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
            others = (units.sum(axis=0) - units) / (count - 1)
            slopes = others - (others * units).sum(axis=1, keepdims=True) * units
            weights[start : start + count] = -np.float32(_DIVERSITY) * slopes
        return weights
