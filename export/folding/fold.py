"""The folding of a whole network."""

from __future__ import annotations

from typing import Any

from ...models.preprocessing import UNCHANGED, Preprocessing
from ..forward import Forward
from ..network import Network
from . import activations, convolutions, joints, pixelwise, poolings  # noqa: F401 - they register what they fold
from .visits import Folding


def fold(model: Any, preprocessing: Preprocessing = UNCHANGED) -> Forward:
    """Folds a Keras model, behind its preprocessing, into a forward graph.

    Layers that cannot be exported, and all behind them, are left out; `Forward.cut` tells why if they are asked for.
    """
    folding = Folding(Network.of(model), preprocessing)
    for call in folding.network.calls:
        folding.add(call)
    return folding.forward
