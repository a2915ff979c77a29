"""Finds each bundle of a grid in the library, or runs `export` in a separate process to make it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ..models import library
from ..models.backbones import Backbone
from ..models.child import module_command
from ..models.contract import BundleError, Metadata
from ..runtime.bundle.bundle import Bundle
from ..runtime.image.source import file_hash
from .errors import ExportFailedError, MissingBundleError
from .grid import NAMED_WEIGHTS, BundleSpec

_EXPORT_EXTRA = ("tensorflow", "keras", "tf2onnx", "onnx")


def get_bundle(spec: BundleSpec, log: Callable[[str], None]) -> Bundle:
    """Returns the bundle that `spec` describes: a named one, a matching one from the library, or one exported now.

    Raises BundleError, ExportFailedError and MissingBundleError.
    """
    backbone = spec.backbone
    if backbone is None:
        return Bundle.load(library.find_bundle(spec.model))
    if spec.weights == "auto" and backbone.imagenet:
        return _imagenet_or_built_in(spec, backbone, log)
    weights = "builtin" if spec.weights == "auto" else spec.weights
    return _find_or_export(replace(spec, weights=weights), backbone, log)


def _imagenet_or_built_in(spec: BundleSpec, backbone: Backbone, log: Callable[[str], None]) -> Bundle:
    """Returns a bundle with Keras's own ImageNet weights or, where these are not available, with the built-in copy."""
    built_in = _find_matching(replace(spec, weights="builtin"), backbone)
    try:
        return _find_or_export(replace(spec, weights="imagenet"), backbone, log)
    except (ExportFailedError, MissingBundleError):
        if built_in is None:
            raise
        log(f"{spec.short_name}: Keras's ImageNet weights are not available: using the built-in 8-bit copy")
        return built_in


def _find_or_export(spec: BundleSpec, backbone: Backbone, log: Callable[[str], None]) -> Bundle:
    bundle = _find_matching(spec, backbone)
    if bundle is None:
        _export(spec, log)
        bundle = _find_matching(spec, backbone)
    if bundle is None:
        raise MissingBundleError(f"export made no bundle that matches {spec.long_name}: check that it is this version")
    return bundle


def _find_matching(spec: BundleSpec, backbone: Backbone) -> Bundle | None:
    """Returns the first bundle with these layers, objective, border, precision and weights, or None.

    Bundles are sorted by name and not by age, so that every run finds the same one.
    """
    weights = None if spec.weights in NAMED_WEIGHTS else Path(spec.weights)
    digest = file_hash(weights) if weights and weights.is_file() else None
    source = backbone.built_in.source if spec.weights == "builtin" and backbone.built_in else spec.weights

    wanted = (backbone.name, spec.layer_names(backbone), spec.objective, spec.border, spec.precision)

    def matches(found: Metadata) -> bool:
        facts = (found.backbone, found.layer_names, found.objective, found.border, found.precision)
        return facts == wanted and (found.weights.sha256 == digest if digest else found.weights.source == source)

    for path in [*sorted(library.bundle_paths()), *library.built_in_bundles()]:
        try:
            bundle = Bundle.load(path)
        except BundleError:
            continue  # the command `info` reports what is wrong with it
        if matches(bundle.metadata):
            return bundle
    return None


def _export(spec: BundleSpec, log: Callable[[str], None]) -> None:
    command = shlex.join(["onnxdream", "export", *spec.export_options])
    missing = [package for package in _EXPORT_EXTRA if find_spec(package) is None]
    if missing:
        raise MissingBundleError(
            f"there is no bundle {spec.long_name}, and exporting it needs {missing[0]}: run `{command}` where "
            f"onnxdream[export,cpu] is installed and copy the file to {library.bundle_folder_in_words()}"
        )
    log(f"exporting {spec.long_name}: {command}")
    # A separate process returns TensorFlow's memory when it ends.
    process = subprocess.run(
        module_command("onnxdream.cli", "export", *spec.export_options),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if process.returncode:
        lines = [line for line in process.stderr.splitlines() if line.strip()] or [
            "onnxdream export printed no message"
        ]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        raise ExportFailedError(spec.long_name, (errors or lines)[-1])
