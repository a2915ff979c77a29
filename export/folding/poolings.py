"""The folding of poolings and of what enlarges a picture."""

from __future__ import annotations

from typing import Any

from ...models.arrays import Size
from ..forward import AveragePool, GlobalMean, MaxPool, Upsample
from ..network import Call
from .visits import Folding, folds, unsupported


@folds("MaxPooling2D")
def _maximum(folding: Folding, call: Call, x: str) -> str:
    return folding.put(MaxPool(call.name, (x,), **_window(call.layer)), folding.channels[x])


@folds("AveragePooling2D")
def _mean(folding: Folding, call: Call, x: str) -> str:
    return folding.put(AveragePool(call.name, (x,), **_window(call.layer)), folding.channels[x])


@folds("GlobalAveragePooling2D")
def _global_mean(folding: Folding, call: Call, x: str) -> str:
    return folding.put(GlobalMean(call.name, (x,)), folding.channels[x])


@folds("UpSampling2D")
def _upsampling(folding: Folding, call: Call, x: str) -> str:
    if call.layer.interpolation != "nearest":
        raise unsupported(call, f"enlarges by {call.layer.interpolation} interpolation")
    return folding.put(Upsample(call.name, (x,), Size(*call.layer.size)), folding.channels[x])


def _window(layer: Any) -> dict[str, Any]:
    """Returns the arguments of a WindowOperator for a Keras pooling."""
    return {
        "window": Size(*layer.pool_size),
        "strides": Size(*layer.strides),
        "same": layer.padding == "same",
    }
