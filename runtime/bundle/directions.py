"""Directions: weights of a layer's channels that a caller gives, or that lead from one picture to another."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats, Pixels
from ...models.contract import Layer
from ...models.files import expand_user
from ..errors import SettingsError
from ..image.pixels import PictureLike, pixels_of
from .channel_weights import has_weight, split_channels

# Weights of a layer's channels, float32 [channels], or the path of a .npy file with them; or two pictures.
DirectionLike = NDArray[Any] | str | os.PathLike[str] | tuple[PictureLike, PictureLike]

_ADVICE = "give a .npy file, or two pictures as in day.jpg,night.jpg"


@dataclass(frozen=True, eq=False)
class Direction:
    """The weights of one layer's channels, float32 [channels], or the two pictures that it leads from and to."""

    weights: Floats | None = field(default=None, repr=False)
    pictures: tuple[Pixels, Pixels] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, given: DirectionLike, log: Callable[[str], None]) -> Direction:
        """Reads what a caller gives; `log` is called with each warning about a picture.

        Raises SettingsError and PictureError.
        """
        if isinstance(given, str | os.PathLike):
            path = expand_user(Path(given))
            return cls(weights=_checked(_loaded(path), path.name))
        if isinstance(given, tuple | list):
            if len(given) != 2:
                raise SettingsError(f"a direction is between two pictures, not {len(given)}: {_ADVICE}")
            first, second = (pixels_of(picture, "picture of the direction", log) for picture in given)
            return cls(pictures=(first, second))
        return cls(weights=_checked(given, "the direction"))

    def channel_weights(
        self, layers: tuple[Layer, ...], layer_weights: Floats, means_of: Callable[[Pixels], Floats]
    ) -> Floats:
        """Returns the weights of all layers' channels, float32 [channels].

        `layer_weights` are those of the run, [layers]. `means_of` returns a picture's channel means, float32
        [channels]. Between two pictures, each layer's weights are the second one's means minus the first one's, divided
        by the sum of their absolute values. Raises SettingsError where the weights do not fit the layers, and where
        they are all zeros.
        """
        if self.pictures is not None:
            first, second = map(means_of, self.pictures)
            parts = [_share(part) for part in split_channels(second - first, layers)]
            if not has_weight(parts, layer_weights):
                raise SettingsError("the two pictures of the direction look the same to these layers: give others")
            return np.concatenate(parts)
        assert self.weights is not None
        chosen = [layer for layer, weight in zip(layers, layer_weights, strict=True) if weight]
        if len(chosen) > 1:
            names = ", ".join(layer.name for layer in chosen)
            raise SettingsError(
                f"the weights of a direction are those of one layer, not of {names}: choose one with --layers"
            )
        (layer,) = chosen
        if self.weights.shape != (layer.channels,):
            raise SettingsError(
                f"the direction has {len(self.weights)} weights, but {layer.name} has {layer.channels} channels: "
                "give a weight for each channel"
            )
        zeros = [np.zeros(one.channels, np.float32) for one in layers]
        return np.concatenate([self.weights if one is layer else part for one, part in zip(layers, zeros, strict=True)])


def direction_paths(text: str) -> tuple[Path, ...]:
    """Returns the files in `weights.npy` or `day.jpg,night.jpg`: one or two. Raises SettingsError."""
    paths = tuple(expand_user(Path(part.strip())) for part in text.split(",") if part.strip())
    is_array = [path.suffix.lower() == ".npy" for path in paths]
    if is_array not in ([True], [False, False]):
        raise SettingsError(f"direction {text!r}: {_ADVICE}")
    return paths


def _loaded(path: Path) -> NDArray[Any]:
    """Returns the array in a .npy file. Raises SettingsError."""
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise SettingsError(f"no direction {path}: check the name and the folder") from None
    except OSError as error:
        raise SettingsError(f"cannot read direction {path} ({error.strerror}): check the file") from error
    except Exception as error:  # numpy raises errors of several types for damaged files
        raise SettingsError(f"{path} is not a .npy file of numbers: write it with numpy.save") from error
    return array


def _checked(array: Any, name: str) -> Floats:
    """Returns an array that can be the weights of a direction, by its name in messages. Raises SettingsError."""
    if not isinstance(array, np.ndarray):
        raise SettingsError(f"{name} is not an array but {type(array).__name__}: {_ADVICE}")
    if array.dtype != np.float32 or array.ndim != 1:
        raise SettingsError(
            f"{name} is {array.dtype} {list(array.shape)}, but a direction is float32 [channels]: "
            "convert it with astype('float32') and reshape(-1)"
        )
    if not np.isfinite(array).all():
        raise SettingsError(f"{name} has weights that are not finite numbers: replace them, as by numpy.nan_to_num")
    if not array.any():
        raise SettingsError(f"all weights in {name} are 0: give at least one channel another weight")
    return array


def _share(part: Floats) -> Floats:
    """Returns a part divided by the sum of its absolute values, or zeros unchanged."""
    total = float(np.abs(part).sum())
    return (part / total if total else part).astype(np.float32)
