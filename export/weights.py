"""The sources of a backbone's weights: ImageNet, the built-in copy of it, a random seed, or a file."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..models import assembly, contract
from ..models.arrays import Floats
from ..models.assembly import WeightFile
from ..models.backbones import Backbone
from ..models.files import expand_user
from ..models.wording import cause
from .backbone import build
from .errors import WeightsError
from .keras_file import is_whole_model, read_model


@dataclass(frozen=True)
class LoadedModel:
    """A stock Keras model with weights, and where these come from.

    `block_of` maps the convolutions that a weight file (`assembly.WeightFile`) has filled to their blocks in it. It is
    None for every other source, which fills all convolutions.
    """

    model: Any
    weights: contract.Weights
    block_of: Mapping[str, str] | None = None


_SOURCES = ("auto", "imagenet", "builtin", "random")
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
# The parts of a `WeightFile`'s block that hold the variables of a BatchNormalization.
_PARTS = {"gamma": "gamma", "beta": "beta", "moving_mean": "mean", "moving_variance": "variance"}


def load(backbone: Backbone, source: str, seed: int) -> LoadedModel:
    """Builds a backbone's stock model with weights from `source`: imagenet, builtin, random or the path of a file.

    A model of the user's own takes auto only. `seed` is used by random only. Raises WeightsError and ModelFileError.
    """
    if backbone.file:
        if source != "auto":
            raise WeightsError(f"{backbone.title} has weights of its own: leave --weights out")
        return LoadedModel(build(backbone), contract.Weights(backbone.name, _sha256(backbone.file), "unknown"))
    if source == "imagenet":
        return _imagenet(backbone)
    if source == "builtin":
        return _built_in(backbone)
    if source == "random":
        return _random(backbone, seed)
    path = expand_user(source)
    if not path.is_file():
        near = difflib.get_close_matches(source, _SOURCES, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise WeightsError(f"no weights {source!r}{hint}: no such file; choose {', '.join(_SOURCES)} or a path")
    model = build(backbone)
    weights = contract.Weights(path.name, _sha256(path), "unknown")
    if path.suffix == ".npz":
        return LoadedModel(model, weights, _fill_from_npz(model, path))
    if path.suffix == ".keras" or is_whole_model(path):
        _copy_from_model(model, path)
    elif path.suffix == ".h5":
        _load_h5(model, path, backbone)
    else:
        raise WeightsError(
            f"weights {path.name} end in {path.suffix!r}: choose a .weights.h5, .h5, .keras or .npz file"
        )
    return LoadedModel(model, weights)


def _built_in(backbone: Backbone) -> LoadedModel:
    built_in = backbone.built_in
    if built_in is None:
        raise WeightsError(f"{backbone.title} has no built-in weights: choose --weights imagenet")
    path = assembly.FOLDER / built_in.file
    model = build(backbone)
    block_of = _fill_from_npz(model, path)
    weights = contract.Weights(built_in.source, _sha256(path), built_in.licence)
    return LoadedModel(model, weights, block_of)


def _imagenet(backbone: Backbone) -> LoadedModel:
    download = backbone.imagenet
    if download is None:
        raise WeightsError(f"Keras has no weights of {backbone.title}: choose --weights builtin")
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    try:
        model = build(backbone, "imagenet")
    except Exception as error:  # Keras wraps network, disk and hash failures in bare Exceptions
        builtin = f" or builtin (layers up to {backbone.built_in.end})" if backbone.built_in else ""
        raise WeightsError(
            f"cannot get the ImageNet weights {download.file} ({_download_failure(error)}): try again, "
            f"download {download.url} elsewhere and put it in {folder}, or give --weights a file of your "
            f"own (.h5, .keras, .npz), random{builtin}"
        ) from error
    # The file is in Keras's cache by now; this returns its path.
    file = keras.utils.get_file(download.file, download.url, cache_subdir="models")
    return LoadedModel(model, contract.Weights("imagenet", _sha256(Path(file)), download.licence))


def _download_failure(error: Exception) -> str:
    """Returns what went wrong, without the address that Keras puts before it."""
    return cause(error).rpartition(" -- ")[2].replace("retrieval incomplete:", "the download broke off:")


def _random(backbone: Backbone, seed: int) -> LoadedModel:
    """Draws He-normal kernels (He et al. 2015, "Delving Deep into Rectifiers", eq. 10), which keep activations from
    vanishing in deep layers, and BatchNormalization parameters near their initial values, so that folding matters.

    In networks with gates the residuals are halved at every normalization: with the sum of many, gates would be fully
    open or shut.
    """
    model = build(backbone)
    rng = np.random.default_rng(seed)
    digest = hashlib.sha256()
    gain = 0.5 if any(isinstance(layer, keras.layers.Multiply) for layer in model.operations) else 1.0
    for layer in _layers(model):
        if isinstance(layer, keras.layers.Normalization):  # the statistics of pictures, which nothing draws
            continue
        arrays = [_random_array(rng, variable, layer, gain) for variable in layer.weights]
        layer.set_weights(arrays)
        for array in arrays:
            digest.update(array.tobytes())
    return LoadedModel(model, contract.Weights("random", digest.hexdigest(), "none: drawn from a seed"))


def _random_array(rng: np.random.Generator, variable: Any, layer: Any, gain: float) -> Floats:
    """Draws the values of a Keras variable, float32 in its shape; kernels are HWIO, and HWC1 if depthwise.

    `gain` is the middle of a normalization's factors.
    """
    shape = tuple(variable.shape)
    noise = rng.standard_normal(shape, np.float32)
    if variable.name.endswith("kernel"):
        is_depthwise = variable.name.startswith("depthwise") or isinstance(layer, keras.layers.DepthwiseConv2D)
        noise *= np.float32(np.sqrt(2 / np.prod(shape[:2] if is_depthwise else shape[:-1])))
    elif variable.name in ("moving_variance", "gamma"):
        noise = np.float32(1) + np.float32(0.2) * np.tanh(noise)
        noise *= np.float32(gain if variable.name == "gamma" else 1)
    else:
        noise *= np.float32(0.1)
    return noise.astype(np.float32)


def _fill_from_npz(model: Any, path: Path) -> dict[str, str]:
    """Fills convolutions and their normalizations from a `WeightFile`, and returns convolution -> block.

    The blocks are numbered `00`, `01` … in the order in which Keras creates the convolutions, for the first of them,
    or named after all convolutions, with a slash in place of the first underscore. Raises WeightsError.
    """
    try:
        weights = WeightFile(path.read_bytes())
        known = weights.blocks
    except Exception as error:  # numpy, zipfile and zlib raise various exceptions for a truncated or foreign file
        raise _unreadable(path) from error
    layers = list(_automatic_layers(model) or _named_layers(model))
    if not 0 < len(known) <= len(layers):
        raise WeightsError(
            f"weights {path.name} hold {len(known)} kernels, the backbone takes 1 to {len(layers)}: "
            "give a file that was made for it"
        )
    block_of = {}
    for block, convolution, normalization in layers[: len(known)]:
        parts = [_PARTS[variable.name] for variable in normalization.weights] if normalization else []
        try:
            arrays = [weights.kernel(block), *([_vector(weights, block, "bias")] if convolution.use_bias else [])]
            vectors = [_vector(weights, block, part) for part in parts]
        except KeyError as error:
            raise WeightsError(f"weights {path.name} lack {error.args[0]}: see models/builtin/README.md") from None
        except Exception as error:  # a member of the archive is damaged
            raise _unreadable(path) from error
        _set_weights(convolution, arrays, path)
        if normalization:
            _set_weights(normalization, vectors, path)
        block_of[convolution.name] = block
    return block_of


def _unreadable(path: Path) -> WeightsError:
    return WeightsError(f"weights {path.name} cannot be read: give a complete .npz file, with arrays of numbers only")


def _vector(weights: WeightFile, block: str, part: str) -> Floats:
    """Returns a vector of a block, float32 [O]. Raises KeyError."""
    found = weights.vector(block, part)
    if found is None:
        raise KeyError(f"{block}/{part}")
    return found


def _automatic_layers(model: Any) -> list[tuple[str, Any, Any]]:
    """Returns the convolutions with automatic names, in the order of their creation.

    Each comes with the name of its block and with the normalization behind it.
    """
    automatic = [layer for layer in model.operations if layer.name.rstrip("0123456789") in ("conv2d", "conv2d_")]
    automatic.sort(key=lambda layer: int(layer.name[len("conv2d_") :] or 0))
    behind = _normalizations(model)
    return [(f"{number:02d}", layer, behind.get(layer.name)) for number, layer in enumerate(automatic)]


def _named_layers(model: Any) -> list[tuple[str, Any, Any]]:
    """Returns all convolutions and dense layers like `_automatic_layers`, with blocks named after the layers."""
    behind = _normalizations(model)
    weighted = [layer for layer in model.operations if isinstance(layer, _CONVOLUTIONS)]
    return [(layer.name.replace("_", "/", 1), layer, behind.get(layer.name)) for layer in weighted]


def _normalizations(model: Any) -> dict[str, Any]:
    """Maps layers to the normalizations that read them."""
    found = [layer for layer in model.operations if isinstance(layer, keras.layers.BatchNormalization)]
    return {node.name: layer for layer in found for node in _producers(layer)}


def _producers(layer: Any) -> list[Any]:
    """Returns the layers whose outputs a layer reads."""
    if not layer._inbound_nodes:
        return []
    return [tensor._keras_history.operation for tensor in layer._inbound_nodes[0].input_tensors]


def _set_weights(layer: Any, arrays: list[Any], path: Path) -> None:
    """Sets a layer's weights. Raises WeightsError, naming the file, if their shapes differ."""
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
    except Exception as error:  # Keras and h5py raise various exceptions for a wrong, truncated or foreign file
        classifier = "with" if backbone.include_top else "without"
        raise WeightsError(
            f"weights {path.name} do not fit {backbone.title} ({cause(error)}): "
            f"give a weight file of the network {classifier} its classifier (include_top={backbone.include_top})"
        ) from error


def _copy_from_model(model: Any, path: Path) -> None:
    """Copies all weights from a saved model that begins with this backbone, alone or before a head."""
    saved = list(_layers(read_model(path)))
    ours = [layer for layer in _layers(model) if layer.weights]
    kinds = {type(layer) for layer in ours}
    theirs = [layer for layer in saved if layer.weights and type(layer) in kinds]
    if len(theirs) < len(ours):
        raise WeightsError(
            f"{path.name} holds {len(theirs)} layers that may be the backbone's {len(ours)} layers with weights: "
            "choose the backbone that it was built on"
        )
    # Keras builds EfficientNet-B0 with one scale more for ImageNet's weights than for others.
    scales = [sum(isinstance(layer, keras.layers.Rescaling) for layer in layers) for layers in (_layers(model), saved)]
    if scales[0] and scales[0] != scales[1]:
        raise WeightsError(
            f"{path.name} scales its pixels otherwise than the backbone: export the whole model, --model {path.name}"
        )
    for layer, other in zip(ours, theirs, strict=False):  # a head may follow
        _set_weights(layer, other.get_weights(), path)


def _layers(model: Any) -> Iterator[Any]:
    """Yields the layers of a model, with those of nested models in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
