"""Where the weights of a backbone come from: ImageNet, a seed, our own motifs, or a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ..models import contract
from ..models.backbones import Backbone
from .backbone import build
from .errors import WeightsError

MOTIFS = Path(__file__).parents[1] / "models" / "embedded" / "v3-motifs.npz"
_MOTIFS_LICENCE = "Apache-2.0 (onnxdream), trained on pictures drawn by formula"


@dataclass(frozen=True)
class Loaded:
    """A stock Keras model with its weights; `covered` are the convolutions that got some (None: all)."""

    model: Any
    weights: contract.Weights
    covered: frozenset[str] | None = None


def load(backbone: Backbone, source: str, seed: int) -> Loaded:
    """The backbone's stock model with the weights of `source`: imagenet, random, motifs or a file's path.

    Raises WeightsError.
    """
    if source == "imagenet":
        return _imagenet(backbone)
    if source == "random":
        return _random(backbone, seed)
    path, licence = (MOTIFS, _MOTIFS_LICENCE) if source == "motifs" else (Path(source).expanduser(), "unknown")
    if not path.is_file():
        if source == "motifs":
            raise WeightsError(
                f"the motif weights {path.name} are not installed: they come with a checkout of onnxdream, not with "
                "its wheel; run export there, or choose --weights imagenet"
            )
        raise WeightsError(f"no weights {source!r}: no such file; choose imagenet, random, motifs or a path")
    model = build(backbone)
    weights = contract.Weights("motifs" if source == "motifs" else path.name, _sha256(path), licence)
    if path.suffix == ".npz":
        if source == "motifs" and backbone.name != "v3":
            raise WeightsError(f"the motif weights are Inception-v3's: {backbone.title} has imagenet and random")
        return Loaded(model, weights, _fill_from_npz(model, path))
    if path.suffix == ".keras":
        _copy_from_model(model, path)
    elif path.suffix == ".h5":
        _load_h5(model, path, backbone)
    else:
        raise WeightsError(f"weights {path.name} end in {path.suffix!r}: .weights.h5, .h5, .keras and .npz are known")
    return Loaded(model, weights)


def _imagenet(backbone: Backbone) -> Loaded:
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    try:
        model = build(backbone, "imagenet")
    except Exception as error:  # Keras wraps network, disk and hash failures in bare Exceptions
        ours = ", random or motifs" if backbone.name == "v3" else " or random"
        raise WeightsError(
            f"cannot get the ImageNet weights {backbone.imagenet_file} ({_first_line(error)}): "
            f"download {backbone.imagenet_url} elsewhere and put it in {folder}, or give --weights a file of your "
            f"own (.h5, .keras, .npz){ours}"
        ) from error
    # In the cache by now: this only asks Keras where that is.
    file = keras.utils.get_file(backbone.imagenet_file, backbone.imagenet_url, cache_subdir="models")
    return Loaded(model, contract.Weights("imagenet", _sha256(Path(file)), backbone.imagenet_licence))


def _random(backbone: Backbone, seed: int) -> Loaded:
    """He-normal kernels (He et al. 2015), which keep the signal alive to the deepest layer, and BatchNormalization
    statistics near their initial values, so that folding has something to fold."""
    model = build(backbone)
    rng = np.random.default_rng(seed)
    digest = hashlib.sha256()
    for layer in model.operations:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.BatchNormalization):
            arrays = [_random_array(rng, variable) for variable in layer.weights]
            layer.set_weights(arrays)
            for array in arrays:
                digest.update(array.tobytes())
    return Loaded(model, contract.Weights("random", digest.hexdigest(), "none: drawn from a seed"))


def _random_array(rng: np.random.Generator, variable: Any) -> NDArray[np.float32]:
    shape = tuple(variable.shape)
    noise = rng.standard_normal(shape, np.float32)
    if variable.name == "kernel":
        noise *= np.float32(np.sqrt(2 / np.prod(shape[:-1])))
    elif variable.name in ("moving_variance", "gamma"):
        noise = np.float32(1) + np.float32(0.2) * np.tanh(noise)
    else:
        noise *= np.float32(0.1)
    return noise.astype(np.float32)


def _fill_from_npz(model: Any, path: Path) -> frozenset[str]:
    """Fills the first convolutions from `NN/kernel` (HWIO) and `NN/beta`, `NN/mean`, `NN/variance`, and says which."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name].astype(np.float32) for name in file.files}
    except Exception as error:  # numpy, zipfile and zlib raise many kinds for a cut or foreign file
        raise WeightsError(f"weights {path.name} cannot be read ({_first_line(error)}): is the file whole?") from error
    count = sum(name.endswith("/kernel") for name in arrays)
    blocks = list(_automatic_blocks(model))
    if not 0 < count <= len(blocks):
        raise WeightsError(f"weights {path.name} hold {count} kernels, the backbone has {len(blocks)} to fill")
    for number, (convolution, normalization) in enumerate(blocks[:count]):
        block = {part: arrays.get(f"{number:02d}/{part}") for part in ("kernel", "beta", "mean", "variance")}
        missing = [part for part, array in block.items() if array is None]
        if missing:
            raise WeightsError(f"weights {path.name} lack {number:02d}/{missing[0]}: see models/embedded/README.md")
        _set(convolution, [block["kernel"]], path)
        _set(normalization, [block["beta"], block["mean"], block["variance"]], path)
    return frozenset(convolution.name for convolution, _ in blocks[:count])


def _automatic_blocks(model: Any) -> Iterator[tuple[Any, Any]]:
    """Convolutions with automatic names and the normalizations behind them, in the order they were created."""
    followers = {node.name: layer for layer in model.operations for node in _producers(layer)}
    automatic = [layer for layer in model.operations if layer.name.rstrip("0123456789") in ("conv2d", "conv2d_")]
    for layer in sorted(automatic, key=lambda layer: int(layer.name[len("conv2d_") :] or 0)):
        yield layer, followers[layer.name]


def _producers(layer: Any) -> list[Any]:
    if not layer._inbound_nodes:
        return []
    return [tensor._keras_history.operation for tensor in layer._inbound_nodes[0].input_tensors]


def _set(layer: Any, arrays: list[Any], path: Path) -> None:
    needed = [tuple(variable.shape) for variable in layer.weights]
    found = [array.shape for array in arrays]
    if needed != found:
        raise WeightsError(
            f"weights {path.name} do not fit: {layer.name} takes shapes {needed}, the file has {found}; "
            "choose the backbone that they were trained for"
        )
    layer.set_weights(arrays)


def _load_h5(model: Any, path: Path, backbone: Backbone) -> None:
    try:
        model.load_weights(path)
    except Exception as error:  # Keras and h5py raise many kinds for a wrong, cut or foreign file
        raise WeightsError(
            f"weights {path.name} do not fit {backbone.title} ({_first_line(error)}): "
            "give a weight file of the network without its top"
        ) from error


def _copy_from_model(model: Any, path: Path) -> None:
    """Copies convolutions and normalizations from a whole saved model that holds this backbone, top or not."""
    try:
        saved = keras.models.load_model(path, compile=False)
    except Exception as error:  # as in _load_h5
        raise WeightsError(f"{path.name} cannot be loaded ({_first_line(error)}): is it a Keras model?") from error
    ours, theirs = (list(_weighted_layers(m)) for m in (model, saved))
    if len(ours) != len(theirs):
        raise WeightsError(
            f"{path.name} holds {len(theirs)} convolutions and normalizations, the backbone {len(ours)}: "
            "choose the backbone that it was built on"
        )
    for layer, other in zip(ours, theirs, strict=True):
        _set(layer, other.get_weights(), path)


def _weighted_layers(model: Any) -> Iterator[Any]:
    """Convolutions and normalizations, those of models within the model at their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _weighted_layers(layer)
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.BatchNormalization):
            yield layer


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
