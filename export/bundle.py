"""From a request to a verified bundle: the whole of the export stage."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from ..models import contract
from ..models.backbones import Backbone
from ..models.contract import Check, Layer, Metadata
from ..models.files import write_whole
from ..models.library import bundle_path
from .backbone import build
from .conversion import OPSET, convert
from .errors import ExportError, UnknownLayerError, WeightsError
from .forward import Convolution, Forward, fold
from .memory import measure
from .objectives import OBJECTIVES
from .verification import Stock, verify
from .weights import Loaded, load


@dataclass(frozen=True)
class Request:
    """What to export. `weights` is imagenet, random, motifs or a path; `seed` serves random only; `border` is the
    margin of every layer, in its own cells, that its loss leaves out (Keras's example has 2)."""

    backbone: Backbone
    layers: tuple[str, ...]
    weights: str = "imagenet"
    seed: int = 0
    objective: str = "mean"
    border: int = 0


@dataclass(frozen=True)
class Offer:
    """A layer that a backbone offers; `parameters` counts the weights of everything up to there."""

    layer: Layer
    parameters: int


def make_bundle(
    request: Request,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> tuple[bytes, Metadata]:
    """The bytes of a verified bundle and its metadata. Raises ExportError.

    `on_stage` hears what is being done, `on_check` every comparison with TensorFlow.
    """
    if request.objective not in OBJECTIVES:
        raise ExportError(f"unknown objective {request.objective!r}: choose {' or '.join(OBJECTIVES)}")
    _require_layers(request.layers)
    on_stage(f"building {request.backbone.title}, weights {request.weights}")
    if request.weights == "imagenet":
        fold(build(request.backbone)).cut(request.layers)  # a layer's name is refused before a download, not after
    loaded = load(request.backbone, request.weights, request.seed)
    forward = fold(loaded.model).cut(request.layers)
    _require_covered(forward, loaded)
    on_stage("tracing the gradient and converting it")
    model = convert(forward, request.layers, request.objective, request.border)
    metadata = _metadata(request, forward, loaded.weights)
    on_stage("comparing with TensorFlow")
    checks = verify(
        _with_metadata(model, metadata),
        Stock(loaded.model, request.layers, request.objective, request.border),
        metadata.smallest_size[0],
        request.backbone.input_range,
        on_check,
    )
    on_stage("measuring its memory")
    metadata = replace(metadata, verification=checks, memory=measure(_with_metadata(model, metadata)))
    return _with_metadata(model, metadata), metadata


def export_bundle(
    request: Request,
    output: Path | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> tuple[Path, Metadata]:
    """Makes a bundle and writes it, whole or not at all, to `output` or its place in the library.

    Raises ExportError.
    """
    parts = ("" if request.objective == "mean" else request.objective, f"border{request.border}" * bool(request.border))
    variant = "-".join(part for part in parts if part)
    path = output or bundle_path(request.backbone, request.layers, _weights_name(request), variant)
    _require_writable(path.parent)
    data, metadata = make_bundle(request, on_stage, on_check)
    try:
        write_whole(path, data)
    except OSError as error:
        raise ExportError(f"cannot write {path} ({error.strerror}): make room or choose another --output") from error
    return path, metadata


def offers(backbone: Backbone) -> list[Offer]:
    """Every layer that can be exported, first to last."""
    forward = fold(build(backbone))
    return [Offer(_layer(forward, name), forward.cut((name,)).parameters) for name in forward.layers]


def _weights_name(request: Request) -> str:
    """How a bundle's file name tells its weights."""
    if request.weights == "random":
        return "random" if request.seed == 0 else f"random{request.seed}"
    return Path(request.weights).name.split(".")[0]


def _require_writable(folder: Path) -> None:
    """Proves it before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ExportError(f"cannot write into {folder} ({error.strerror}): choose another --output") from error


def _require_layers(layers: tuple[str, ...]) -> None:
    if not layers:
        raise UnknownLayerError("no layer named: give --layers a comma list or the name of a layer set")
    twice = sorted({layer for layer in layers if layers.count(layer) > 1})
    if twice:
        raise UnknownLayerError(f"layer {twice[0]} is named twice: name each layer once")


def _require_covered(forward: Forward, loaded: Loaded) -> None:
    """Partial weights must reach as deep as the graph does."""
    if loaded.covered is None:
        return
    bare = [op.name for op in forward.operators if isinstance(op, Convolution) and op.name not in loaded.covered]
    if bare:
        raise WeightsError(
            f"the {loaded.weights.source} weights end before {bare[0]}, which these layers need: "
            "choose lower layers or other weights"
        )


def _layer(forward: Forward, name: str) -> Layer:
    return Layer(name, forward.channels[name], forward.stride(name))


def _metadata(request: Request, forward: Forward, weights: contract.Weights) -> Metadata:
    side = forward.smallest_size(request.layers, request.border)
    return Metadata(
        backbone=request.backbone.name,
        layers=tuple(_layer(forward, name) for name in request.layers),
        objective=request.objective,
        input_range=request.backbone.input_range,
        channel_order="RGB",
        smallest_size=(side, side),
        weights=weights,
        precision="fp32",
        opset=OPSET,
        exporter={name: _version(name) for name in ("onnxdream", "tensorflow", "keras", "tf2onnx", "onnx")},
        verification=(),
        border=request.border,
    )


def _version(package: str) -> str:
    for distribution in (package, f"{package}-cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _with_metadata(model: onnx.ModelProto, metadata: Metadata) -> bytes:
    onnx.helper.set_model_props(model, {contract.METADATA_KEY: metadata.to_json()})
    return bytes(model.SerializeToString())
