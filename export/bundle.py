"""The whole export: from a request to a verified bundle."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from ..models import assembly, contract
from ..models.arrays import Size
from ..models.backbones import Backbone
from ..models.contract import OPSET, Check, Layer, Metadata
from ..models.files import atomic_write
from ..models.library import bundle_folder, bundle_name, bundle_output, is_bundle_output
from .backbone import build
from .conversion import convert
from .errors import ExportError, UnknownLayerError, UnsupportedLayerError, WeightsError
from .folding.fold import fold
from .forward import Convolution, Forward
from .memory import estimate, measure
from .objectives import OBJECTIVES
from .precision import PRECISIONS
from .reference_model import ReferenceModel
from .rounding import emulate_fp16
from .serialization import serialize
from .verification import verify
from .weights import LoadedModel, load

# A border must leave something of each layer in pictures of this size: smaller ones are enlarged to it, and comparing
# a bundle with TensorFlow at larger sizes takes gigabytes.
_BORDERED_SIZE = Size(512, 512)


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    `weights` is auto, imagenet, builtin, random or a path. auto is imagenet, or builtin if the ImageNet file is not
    available and the built-in weights reach the layers. `seed` is used by random only. `objective` is mean or l2.
    `border` is the number of rows and columns at each edge of every layer that its loss ignores (Keras's example has
    2). `precision` is fp32, fp16 or mixed. `class_names` is a text file with the names of the classes of `logits`, one
    line for each, in place of the backbone's own.
    """

    backbone: Backbone
    layers: tuple[str, ...]
    weights: str = "auto"
    seed: int = 0
    objective: str = "mean"
    border: int = 0
    precision: str = "fp32"
    class_names: Path | None = None


@dataclass(frozen=True)
class LayerInfo:
    """A layer that can be exported; `parameters` is the number of weights of the network up to it.

    `hint` are the layer sets that it is in, or "end of a stage" in a network without sets: its layers are good to start
    with.
    """

    layer: Layer
    parameters: int
    hint: str = ""


def make_bundle(
    request: ExportRequest,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> tuple[bytes, Metadata]:
    """Exports a bundle, verifies it, and returns its bytes and its metadata. Raises ExportError.

    `on_stage` is called with a description of each stage, `on_check` with each comparison with TensorFlow.
    """
    loaded, forward = _prepare(request, on_stage)
    return _make(request, loaded, forward, on_stage, on_check)


def _prepare(request: ExportRequest, on_stage: Callable[[str], None]) -> tuple[LoadedModel, Forward]:
    """Loads what a request needs; raises ExportError for a request that cannot be met."""
    if request.objective not in OBJECTIVES:
        raise ExportError(f"unknown objective {request.objective!r}: choose {' or '.join(OBJECTIVES)}")
    if request.precision not in PRECISIONS:
        raise ExportError(f"unknown precision {request.precision!r}: choose one of {', '.join(PRECISIONS)}")
    _require_layers(request)
    on_stage(f"building {request.backbone.title}, weights {request.weights}")
    loaded, forward = _load(request, on_stage)
    _require_border(forward, request)
    _class_names(request, forward)  # refuses a file that does not fit before the work, not after
    return loaded, forward


def _make(
    request: ExportRequest,
    loaded: LoadedModel,
    forward: Forward,
    on_stage: Callable[[str], None],
    on_check: Callable[[Check], None],
) -> tuple[bytes, Metadata]:
    on_stage("tracing the gradient and converting it")
    precision, is_own = PRECISIONS[request.precision], request.backbone.file is not None
    models = convert(forward, request.layers, request.objective, request.border, precision, has_tiny_values=is_own)
    metadata = _metadata(request, forward, loaded.weights)
    on_stage("comparing with TensorFlow")
    checks = verify(
        {form: bytes(model.SerializeToString()) for form, model in _models_to_verify(models, request).items()},
        ReferenceModel(loaded.model, request.layers, request.objective, request.border, request.backbone.preprocessing),
        metadata.smallest_size[0],
        on_check,
        request.precision,
    )
    on_stage("measuring its memory")
    metadata = replace(metadata, verification=checks, memory=measure(serialize(models, metadata)) or metadata.memory)
    return serialize(models, metadata), metadata


def export_bundle(
    request: ExportRequest,
    output: Path | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_check: Callable[[Check], None] = lambda check: None,
    overwrite: bool = False,
) -> tuple[Path, Metadata]:
    """Exports a bundle, verifies it, and writes it atomically to `output` (see `bundle_output`) or into the library.

    A bundle of the library is replaced by a new export; a file at `output` only with `overwrite`. Returns its path and
    its metadata. The other arguments are those of `make_bundle`. Raises ExportError and BundleError.
    """
    if output is None:
        output, overwrite = bundle_folder(), True
    _require_writable(output.parent if is_bundle_output(output) else output)
    loaded, forward = _prepare(request, on_stage)
    path = bundle_output(output, _bundle_name(request, loaded.weights), overwrite)
    data, metadata = _make(request, loaded, forward, on_stage, on_check)
    bundle_output(path, path.name, overwrite)  # another export may have written it meanwhile
    try:
        atomic_write(path, data)
    except OSError as error:
        raise ExportError(f"cannot write {path} ({error.strerror}): make room or choose another --output") from error
    return path, metadata


def _bundle_name(request: ExportRequest, weights: contract.Weights) -> str:
    """Returns the file name that a bundle has of its own."""
    variant = [
        "" if request.objective == "mean" else request.objective,
        f"border{request.border}" if request.border else "",
        "" if request.precision == "fp32" else request.precision,
    ]
    weights_name = "" if request.backbone.file else _weights_name(request, weights)
    return bundle_name(request.backbone, request.layers, weights_name, "-".join(part for part in variant if part))


def list_layers(backbone: Backbone) -> list[LayerInfo]:
    """Returns all layers that can be exported, first to last."""
    forward = _foldable(backbone)
    ends = () if backbone.layer_sets else stage_ends(forward)
    found = []
    for name in forward.layers:
        sets = [set_name for set_name, layers in backbone.layer_sets.items() if name in layers]
        hint = ", ".join(sets) or ("end of a stage" if name in ends else "")
        found.append(LayerInfo(_layer(forward, name), forward.cut((name,)).parameters, hint))
    return found


def _foldable(backbone: Backbone) -> Forward:
    """Returns the folded graph of a whole network. Raises UnsupportedLayerError if none of its layers is available."""
    forward = fold(build(backbone), backbone.preprocessing)
    if not forward.layers:
        reason = next(iter(forward.refused.values()), "it has no layer with an activation, a pooling or a sum")
        raise UnsupportedLayerError(f"{backbone.title} has no layer that can be exported: {reason}")
    return forward


def stage_ends(forward: Forward) -> tuple[str, ...]:
    """Returns the last layer of each stage: of those with one stride, from 4 on, so that they see more than edges."""
    last = {forward.stride(layer): layer for layer in forward.layers}
    return tuple(layer for stride, layer in last.items() if stride >= 4)


def _models_to_verify(models: dict[str, onnx.ModelProto], request: ExportRequest) -> dict[str, onnx.ModelProto]:
    """Returns the models and, in a lower precision than fp32, models that round on a CPU as a GPU does."""
    if PRECISIONS[request.precision].is_full:
        return models
    return models | {f"{form}, rounded": emulate_fp16(model) for form, model in models.items()}


def _weights_name(request: ExportRequest, weights: contract.Weights) -> str:
    """Returns the part of a bundle's file name that describes its weights."""
    if request.weights == "random":
        return "random" if request.seed == 0 else f"random{request.seed}"
    return weights.source if request.weights in ("auto", "imagenet", "builtin") else weights.source.split(".")[0]


def _require_writable(folder: Path) -> None:
    """Raises ExportError if files cannot be created in a folder, before the work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ExportError(f"cannot write into {folder} ({error.strerror}): choose another --output") from error


def _require_layers(request: ExportRequest) -> None:
    """Raises UnknownLayerError if no layer is named, one twice, or one as no bundle's metadata may name it."""
    layers, file = request.layers, request.backbone.file
    if not layers and file:
        forward = _foldable(request.backbone)
        ends = ",".join(stage_ends(forward) or forward.layers[-1:])
        raise UnknownLayerError(
            f"no layer of {file.name} is named: give --layers, for instance {ends}; "
            f"the command `layers --model {file.name}` lists all"
        )
    if not layers:
        raise UnknownLayerError("no layer is named: give --layers a comma-separated list or the name of a layer set")
    unprintable = [layer for layer in layers if not contract.is_printable(layer)]
    if unprintable:
        raise UnknownLayerError(f"the layer name {unprintable[0]!r} has control characters: rename it in the model")
    twice = sorted({layer for layer in layers if layers.count(layer) > 1})
    if twice:
        raise UnknownLayerError(f"layer {twice[0]} is named twice: name each layer once")


def _load(request: ExportRequest, on_stage: Callable[[str], None]) -> tuple[LoadedModel, Forward]:
    """Loads the stock model with its weights; returns it and the part of its folded graph that the layers need."""
    download = request.backbone.imagenet
    if download and request.weights in ("auto", "imagenet"):
        _cut(request, build(request.backbone))  # refuses an unknown layer before a download, not after
    if request.weights != "auto" or request.backbone.file:
        return _load_from(request, request.weights)
    if not download:
        return _load_from(request, "builtin")
    try:
        return _load_from(request, "imagenet")
    except WeightsError as missing:
        try:
            found = _load_from(request, "builtin")
        except WeightsError:
            raise missing from None
        on_stage(
            f"{download.file} is not in Keras's cache and cannot be downloaded: "
            "using the built-in copy of these weights, in 8 bits"
        )
        return found


def _load_from(request: ExportRequest, source: str) -> tuple[LoadedModel, Forward]:
    loaded = load(request.backbone, source, request.seed)
    forward = _cut(request, loaded.model)
    _require_initialised(forward, loaded, request.backbone)
    return loaded, forward


def _cut(request: ExportRequest, model: Any) -> Forward:
    """Returns the part of a model's folded graph that the layers need."""
    return fold(model, request.backbone.preprocessing).cut(request.layers, request.backbone.layer_sets)


def _require_initialised(forward: Forward, loaded: LoadedModel, backbone: Backbone) -> None:
    """Raises WeightsError if the graph is deeper than the weights of a partial weight file."""
    if loaded.block_of is None:
        return
    convolved = [op.origin.layer for op in forward.operators if isinstance(op, Convolution)]
    unfilled = {layer.name for layer in loaded.model.layers if layer.weights} - loaded.block_of.keys()
    missing = [layer for layer in convolved if layer in unfilled]  # others are made of numbers without a weight
    if missing and backbone.built_in and loaded.weights.source == backbone.built_in.source:
        raise WeightsError(
            f"the built-in weights of {backbone.title} end with {backbone.built_in.end}: "
            "choose layers up to there, or --weights imagenet"
        )
    if missing:
        raise WeightsError(
            f"the weights {loaded.weights.source} end before {missing[0]}, which these layers need: "
            "choose lower layers or other weights"
        )


def _require_border(forward: Forward, request: ExportRequest) -> None:
    """Raises ExportError if the border leaves nothing of a layer in pictures of a reasonable size."""
    if not request.border:
        return
    sizes = forward.sizes(_BORDERED_SIZE)
    largest = min((min(sizes[layer]) - 1) // 2 for layer in request.layers)
    if request.border > largest:
        raise ExportError(
            f"a border of {request.border} leaves nothing of these layers in a picture of {_BORDERED_SIZE} pixels: "
            f"choose --border {max(largest, 0)} or less"
        )


def _layer(forward: Forward, name: str) -> Layer:
    return Layer(name, forward.channels[name], forward.stride(name), forward.is_global(name))


def _metadata(request: ExportRequest, forward: Forward, weights: contract.Weights) -> Metadata:
    side = forward.smallest_size(request.layers, request.border)
    return Metadata(
        backbone=request.backbone.name,
        layers=tuple(_layer(forward, name) for name in request.layers),
        objective=request.objective,
        smallest_size=Size(side, side),
        weights=weights,
        precision=request.precision,
        opset=OPSET,
        exporter={name: _version(name) for name in ("onnxdream", "tensorflow", "keras", "tf2onnx", "onnx")},
        verification=(),
        border=request.border,
        memory=estimate(forward.parameters),
        class_names=_class_names(request, forward),
    )


def _class_names(request: ExportRequest, forward: Forward) -> tuple[str, ...]:
    """Returns the names of a network's classes, for a bundle with their scores. Raises ExportError."""
    own = request.class_names
    if contract.LOGITS not in request.layers:
        if own is None:
            return ()
        raise ExportError(f"class names belong to the layer {contract.LOGITS}: add it to --layers")
    if own is None and request.backbone.class_names is None:
        return ()
    path = own or assembly.FOLDER / str(request.backbone.class_names)
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"cannot read the class names {path} ({error}): give a text file in UTF-8") from error
    channels = forward.channels[contract.LOGITS]
    if len(names) != channels or not all(name and name.isprintable() for name in names):
        raise ExportError(
            f"{path.name} has {len(names)} lines, {contract.LOGITS} has {channels} classes: give one name in each line"
        )
    return names


def _version(package: str) -> str:
    for distribution in (package, f"{package}-cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
