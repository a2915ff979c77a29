"""A bundle on the command line: its facts, its comparison with TensorFlow, what a picture excites, and its file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .messages import log_error, log_line, print_table

if TYPE_CHECKING:
    from ..models.contract import Layer, Metadata
    from ..runtime.bundle.bundle import Bundle

# Channels of a layer that `info --picture` shows.
_SHOWN_CHANNELS = 5


def bundle_facts(bundle: Bundle) -> dict[str, str]:
    """The facts of a bundle as `info` prints them, by their labels."""
    facts = bundle.metadata
    height, width = facts.smallest_size
    return {
        "path": str(bundle.path),
        "SHA-256": bundle.sha256,
        "backbone": facts.backbone,
        "layers": ", ".join(_layer_in_words(layer) for layer in facts.layers),
        "objective": facts.objective,
        "input": f"RGB from -1 to 1, at least {width}x{height} pixels",
        "weights": f"{facts.weights.title}, SHA-256 {facts.weights.sha256}",
        "licence": facts.weights.licence,
        **({"classes": f"{len(facts.class_names)} with names"} if facts.class_names else {}),
        "precision": f"{facts.precision}, opset {facts.opset}",
        "exporter": ", ".join(f"{package} {version}" for package, version in facts.exporter.items()),
    }


def _layer_in_words(layer: Layer) -> str:
    """A layer's name, channels and stride; a global layer sees the whole picture at once."""
    stride = "stride " * bool(layer.stride) + stride_in_words(layer)
    return f"{layer.name} ({layer.channels} channels, {stride})"


def stride_in_words(layer: Layer) -> str:
    """A layer's stride, or that it has one value for the picture; a global layer sees the whole picture at once."""
    if not layer.stride:
        return "global"
    return f"{layer.stride}, global" if layer.is_global else str(layer.stride)


def print_verification(metadata: Metadata) -> None:
    rows = [
        (check.picture, check.climbed, f"{check.loss_error:.1e}", f"{check.cosine:.7f}", f"{check.norm_ratio:.6f}")
        for check in metadata.verification
    ]
    print_table(("compared with TensorFlow", "maximised", "loss error", "cosine", "norm ratio"), rows)


def print_excited(bundle: Bundle, picture: Path, as_json: bool) -> None:
    from ..runtime.bundle.sessions import Sessions
    from ..runtime.features.built_in import built_in_atlas
    from ..runtime.features.excitation import most_excited
    from ..runtime.image.files import read_picture
    from ..runtime.provider.selection import choose_provider
    from ..runtime.settings.settings import Execution

    seen = read_picture(picture)
    for warning in seen.warnings:
        log_line(warning)
    machine = choose_provider(Execution(precision=bundle.precision)).machine
    atlas = built_in_atlas(bundle.sha256)
    layers = most_excited(seen.pixels, Sessions(bundle), machine, _SHOWN_CHANNELS, atlas)
    if as_json:
        print(json.dumps({layer: [asdict(one) for one in excited] for layer, excited in layers.items()}, indent=2))
        return
    times = " (times those on photographs in general)" if atlas else ""
    rows = [(layer, ", ".join(map(str, excited))) for layer, excited in layers.items()]
    print_table(("layer", f"channels with their means{times}"), rows)


def write_bundle(bundle: Bundle, output: Path, overwrite: bool) -> None:
    from ..models.files import atomic_write
    from ..models.library import bundle_output

    path = bundle_output(output, f"{Path(bundle.name).stem}.onnx", overwrite)
    try:
        atomic_write(path, bundle.data)
    except OSError as error:
        log_error(f"cannot write {path} ({error.strerror}): make room or choose another --output")
        raise typer.Exit(1) from None
    log_line(f"{path} ({len(bundle.data) / 1e6:.1f} MB)")
