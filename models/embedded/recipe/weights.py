"""What a training leaves on disk: the finished weights, and the checkpoint it can go on from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


def save_npz(model: keras.Model, path: Path) -> None:
    """Write every convolution and the BatchNormalization behind it, in the order Keras created them.

    Convolution `NN` (two digits, from 00) is `NN/kernel`, float16 `[height, width, in, out]`, with `NN/beta`,
    `NN/mean` and `NN/variance`, float32 `[out]`.
    """
    convolutions = _in_creation_order(model, keras.layers.Conv2D)
    normalizations = _in_creation_order(model, keras.layers.BatchNormalization)
    arrays: dict[str, NDArray[Any]] = {}
    for k, (convolution, normalization) in enumerate(zip(convolutions, normalizations, strict=True)):
        arrays[f"{k:02d}/kernel"] = convolution.kernel.numpy().astype(np.float16)
        arrays[f"{k:02d}/beta"] = normalization.beta.numpy()
        arrays[f"{k:02d}/mean"] = normalization.moving_mean.numpy()
        arrays[f"{k:02d}/variance"] = normalization.moving_variance.numpy()
    _write(path, arrays)


@dataclass(frozen=True)
class Checkpoint:
    """How far a training is: steps made, and seconds of training behind them."""

    step: int
    seconds: float

    def save(self, model: keras.Model, path: Path) -> None:
        """Write this, with all that the model and its optimizer have learnt."""
        state = {f"state/{k}": variable.numpy() for k, variable in enumerate(_state(model))}
        _write(path, {"step": np.array(self.step), "seconds": np.array(self.seconds), **state})

    @classmethod
    def restore(cls, model: keras.Model, path: Path) -> Checkpoint:
        """Read one back, and what was learnt into the model."""
        with np.load(path) as stored:
            for k, variable in enumerate(_state(model)):
                variable.assign(stored[f"state/{k}"])
            return cls(int(stored["step"]), float(stored["seconds"]))


def _in_creation_order(model: keras.Model, kind: type[keras.layers.Layer]) -> list[keras.layers.Layer]:
    """The layers of one kind by the number in their names: `conv2d`, `conv2d_1`, …, `conv2d_10`.

    `model.layers` is ordered by depth instead, which mixes the branches of a block.
    """

    def number(layer: keras.layers.Layer) -> int:
        digits = layer.name.rpartition("_")[2]
        return int(digits) if digits.isdigit() else 0

    return sorted((layer for layer in model.layers if isinstance(layer, kind)), key=number)


def _state(model: keras.Model) -> list[keras.Variable]:
    """The layers' variables, dropout's random state among them, and the optimizer's."""
    layers = [variable for layer in model.layers for variable in layer.variables]
    return [*layers, *model.optimizer.variables]


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an `.npz` that appears only when it is whole."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
