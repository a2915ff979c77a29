"""Whole Keras models in files: reading them without running code of theirs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from ..models.backbones import Backbone
from ..models.preprocessing import PREPROCESSINGS
from ..models.wording import cause
from .errors import ModelFileError
from .forward import IMAGE
from .network import Network, functional

# The modules of Keras whose classes and functions describe a network and do nothing else when they are made.
_MODULES = (
    "keras.layers",
    "keras.models",
    "keras.ops",
    "keras.activations",
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.src.layers",
    "keras.src.models",
    "keras.src.ops",
    "keras.src.activations",
    "keras.src.applications",
)
# Layers of Keras that hold code, or read it from another file.
_WITH_CODE = {"FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"}
# The classes of Keras's applications that a whole .h5 file names only.
_OF_APPLICATIONS = {kind.__name__: kind for kind in (CustomScaleLayer, LayerScale, StochasticDepth)}
# What only training reads.
_UNREAD = {"compile_config", "training_config"}
# Layers and operations that scale a network's input.
_SCALES = {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add", "BatchNormalization"}


def own_backbone(
    path: Path, preprocessing: str | None, on_stage: Callable[[str], None] = lambda stage: None
) -> Backbone:
    """Returns a row of the table of backbones for a file with a whole model.

    `preprocessing` is one of `PREPROCESSINGS`. None is raw, pixels from 0 to 255, for a model that scales its input
    itself. Raises ModelFileError for another model, and for a file that is no model.
    """
    if preprocessing is None:
        preprocessing = "raw"
        layer = _scaling_layer(read_network(path))
        if layer is None:
            raise ModelFileError(
                f"{path.name} does not scale its pixels itself: give the range that it was trained on with "
                f"--preprocessing {', '.join(PREPROCESSINGS)}"
            )
        on_stage(f"{path.name} scales its pixels itself (layer {layer}), so it is given pixels from 0 to 255")
    elif preprocessing not in PREPROCESSINGS:
        raise ModelFileError(f"unknown preprocessing {preprocessing!r}: choose one of {', '.join(PREPROCESSINGS)}")
    return Backbone(
        name=path.name,
        aliases=(),
        title=path.name,
        builder="",
        layer_sets={},
        default_set="",
        preprocessing=PREPROCESSINGS[preprocessing],
        file=path,
    )


def read_model(path: Path) -> Any:
    """Reads a whole model. Raises ModelFileError for a file that is no model or that onnxdream does not open."""
    if not path.is_file():
        raise ModelFileError(f"no model {path}: there is no such file")
    for config, name in _configs(_config(path)):
        _require_harmless(path, config, name)
    try:
        return keras.models.load_model(path, _OF_APPLICATIONS, compile=False, safe_mode=True)
    except Exception as error:  # Keras and h5py raise various exceptions for a damaged or foreign file
        raise ModelFileError(f"{path.name} cannot be loaded ({cause(error)}): is it a Keras model?") from error


def read_network(path: Path) -> Any:
    """Reads a whole model that takes a picture. Raises ModelFileError."""
    model = read_model(path)
    if functional(model) is None:
        raise ModelFileError(
            f"{path.name} is a model of a class of its own, whose layers are unknown: save a functional model"
        )
    shapes = [tuple(tensor.shape) for tensor in functional(model).inputs]
    if len(shapes) != 1:
        raise ModelFileError(f"{path.name} has {len(shapes)} inputs, onnxdream needs one: a picture")
    if len(shapes[0]) != 4 or shapes[0][3] != 3:
        sides = " x ".join("any" if side is None else str(side) for side in shapes[0][1:])
        raise ModelFileError(
            f"{path.name} takes {sides} numbers, onnxdream needs a picture with its three channels last: "
            "height x width x 3"
        )
    _use_float32(path, model)
    return model


def _scaling_layer(model: Any) -> str | None:
    """Returns the name of the layer that scales the network's input, or None if there is none."""
    network, behind = Network.of(model), {IMAGE}
    for call in network.calls:
        if behind & set(call.inputs):
            if call.kind in _SCALES and len(call.inputs) == 1:
                return call.name
            if not getattr(call.layer, "weights", None) and len(call.inputs) == 1:
                behind.add(call.name)
    return None


def _use_float32(path: Path, model: Any) -> None:
    """Makes a model that was trained in mixed precision compute in float32, the type of its weights."""
    for call in Network.of(model).calls:
        # A layer may hold others, such as an activation.
        for layer in call.layer._flatten_layers() if isinstance(call.layer, keras.Layer) else ():
            policy = layer.dtype_policy
            if policy.compute_dtype == "float32":
                continue
            if policy.variable_dtype != "float32":
                raise ModelFileError(
                    f"{path.name} has weights in {policy.variable_dtype} (layer {call.name}): "
                    "save it with the dtype policy float32 or mixed_float16"
                )
            layer.dtype_policy = "float32"


def is_whole_model(path: Path) -> bool:
    """Whether an HDF5 file holds a model instead of weights only; False for any other file."""
    try:
        with h5py.File(path, "r") as file:
            return "model_config" in file.attrs
    except OSError:
        return False


def _config(path: Path) -> Any:
    """Returns the description of a model as Keras stores it, decoded from JSON."""
    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise ModelFileError(
                    f"{path.name} holds weights only: name its network with --model, and the file with --weights"
                )
            return json.loads(file.attrs["model_config"])
    except ModelFileError:
        raise
    except Exception as error:  # zipfile, h5py and json raise various exceptions for a damaged or foreign file
        raise ModelFileError(f"{path.name} cannot be read: is it a complete Keras model?") from error


def _configs(value: Any, name: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Yields all descriptions of objects in a model's, each with the name of the layer that it belongs to."""
    if isinstance(value, dict):
        inner = value.get("config")
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            name = inner["name"]
        if "class_name" in value:
            yield value, name
        for key, part in value.items():
            if key not in _UNREAD:
                yield from _configs(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _configs(part, name)


def _require_harmless(path: Path, config: dict[str, Any], layer: str) -> None:
    """Raises ModelFileError for a description of an object that is not a plain part of Keras."""
    kind, module = str(config["class_name"]), config.get("module")
    if kind in _WITH_CODE:
        raise ModelFileError(
            f"{path.name}: layer {layer} is a {kind}, whose code onnxdream does not run: save the model without it"
        )
    # Files of Keras 2, and classes that are registered by their name, have no module.
    is_registered = ">" in str(config.get("registered_name") or kind)
    is_function = kind == "function" and module not in ("keras.activations", "keras.src.activations.activations")
    is_foreign = module is not None and not f"{module}.".startswith(tuple(f"{known}." for known in _MODULES))
    if is_function or is_registered or (is_foreign and module not in ("builtins", "keras")):
        raise ModelFileError(
            f"{path.name}: layer {layer} uses {config.get('config') if is_function else kind}, which is not a part of "
            "Keras and which onnxdream does not run: save the model without it"
        )
