"""The bundles of a grid: those at hand, and those that `export` makes now, in a process of its own."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ..models import library
from ..models.backbones import Backbone
from ..models.contract import IMAGENET_8BIT, BundleError, Metadata
from ..runtime.bundle.bundle import Bundle
from .errors import ExportFailedError, MissingBundleError
from .grid import NAMED_WEIGHTS, BundleSpec

_EXPORT_EXTRA = ("tensorflow", "keras", "tf2onnx", "onnx")


def get_bundle(spec: BundleSpec, log: Callable[[str], None]) -> Bundle:
    """The bundle of that description: a named one, one of the library that fits, else one exported now.

    Raises BundleError, ExportFailedError and MissingBundleError.
    """
    backbone = spec.backbone
    if backbone is None:
        return Bundle.load(library.find_bundle(spec.model))
    if spec.weights == "auto":
        return _imagenet_or_built_in(spec, backbone, log)
    return _made(spec, backbone, log)


def _imagenet_or_built_in(spec: BundleSpec, backbone: Backbone, log: Callable[[str], None]) -> Bundle:
    """The bundle of Keras's own ImageNet weights; where these cannot be had, of their built-in copy."""
    built_in = _fitting(replace(spec, weights="builtin"), backbone)
    try:
        return _made(replace(spec, weights="imagenet"), backbone, log)
    except (ExportFailedError, MissingBundleError):
        if built_in is None:
            raise
        log(f"{spec.short_name}: there is no bundle of Keras's ImageNet file, so the built-in copy in 8 bits serves")
        return built_in


def _made(spec: BundleSpec, backbone: Backbone, log: Callable[[str], None]) -> Bundle:
    found = _fitting(spec, backbone)
    if found is None:
        _export(spec, log)
        found = _fitting(spec, backbone)
    if found is None:
        raise MissingBundleError(f"export made no bundle that fits {spec.long_name}: is it of this version?")
    return found


def _fitting(spec: BundleSpec, backbone: Backbone) -> Bundle | None:
    """The bundle at hand with these layers, objective and weights. By name, not by age: the same one every time."""
    weights = None if spec.weights in NAMED_WEIGHTS else Path(spec.weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights and weights.is_file() else None
    source = IMAGENET_8BIT if spec.weights == "builtin" else spec.weights

    def fits(facts: Metadata) -> bool:
        same = (facts.backbone, facts.layer_names) == (backbone.name, spec.layer_names(backbone))
        same = same and (facts.objective, facts.border) == (spec.objective, spec.border)
        return same and (facts.weights.sha256 == digest if digest else facts.weights.source == source)

    for path in [*sorted(library.bundle_paths()), *library.built_in_bundles()]:
        try:
            bundle = Bundle.load(path)
        except BundleError:
            continue  # `info` shows what is wrong with it
        if fits(bundle.metadata):
            return bundle
    return None


def _export(spec: BundleSpec, log: Callable[[str], None]) -> None:
    command = shlex.join(["onnxdream", "export", *spec.export_options])
    missing = [package for package in _EXPORT_EXTRA if find_spec(package) is None]
    if missing:
        raise MissingBundleError(
            f"no bundle {spec.long_name}, and exporting needs {missing[0]}: run `{command}` where "
            f"onnxdream[export,cpu] is installed and put its file into {library.bundle_folder_in_words()}"
        )
    log(f"exporting {spec.long_name}: {command}")
    # TensorFlow's memory goes with its process.
    done = subprocess.run(
        [sys.executable, "-m", "onnxdream.cli", "export", *spec.export_options],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        raise ExportFailedError(f"exporting {spec.long_name} failed: {(errors or lines)[-1]}")
