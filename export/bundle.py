"""From a request to a verified bundle: the whole of the export stage."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

import onnx

from ..models import contract
from ..models.backbones import Backbone
from ..models.contract import Check, Layer, Metadata
from .backbone import build
from .conversion import OPSET, convert
from .errors import UnknownLayerError, WeightsError
from .forward import Convolution, Forward, fold
from .objectives import OBJECTIVES
from .verification import verify
from .weights import Loaded, load


@dataclass(frozen=True)
class Request:
    """What to export. `weights` is imagenet, random, motifs or a path; `seed` serves random only."""

    backbone: Backbone
    layers: tuple[str, ...]
    weights: str = "imagenet"
    seed: int = 0
    objective: str = "mean"


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
        raise ValueError(f"unknown objective {request.objective!r}: choose {' or '.join(OBJECTIVES)}")
    _require_layers(request.layers)
    on_stage(f"building {request.backbone.title}, weights {request.weights}")
    loaded = load(request.backbone, request.weights, request.seed)
    forward = fold(loaded.model).cut(request.layers)
    _require_covered(forward, loaded)
    on_stage("tracing the gradient and converting it")
    model = convert(forward, request.layers, request.objective)
    metadata = _metadata(request, forward, loaded.weights, ())
    on_stage("comparing with TensorFlow")
    checks = verify(
        _with_metadata(model, metadata),
        loaded.model,
        request.layers,
        request.objective,
        forward.smallest_size(),
        request.backbone.input_range,
        on_check,
    )
    metadata = _metadata(request, forward, loaded.weights, checks)
    return _with_metadata(model, metadata), metadata


def offers(backbone: Backbone) -> list[Offer]:
    """Every layer that can be exported, first to last."""
    forward = fold(build(backbone))
    return [Offer(_layer(forward, name), forward.cut((name,)).parameters) for name in forward.layers]


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


def _metadata(
    request: Request, forward: Forward, weights: contract.Weights, checks: tuple[Check, ...]
) -> Metadata:
    side = forward.smallest_size()
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
        verification=checks,
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
