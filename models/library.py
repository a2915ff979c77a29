"""Where bundles lie and what they are called."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from .assembly import BUILT_IN
from .backbones import Backbone
from .contract import BundleNotFoundError

_MAX_STEM = 80


def bundle_folder() -> Path:
    """`$ONNXDREAM_HOME/bundles`, else `bundles` in the user's data folder."""
    home = os.environ.get("ONNXDREAM_HOME")
    return (Path(home) if home else platformdirs.user_data_path("onnxdream", appauthor=False)) / "bundles"


def bundle_path(backbone: Backbone, layers: tuple[str, ...], weights: str, variant: str = "") -> Path:
    """Where `export` puts a bundle: `<backbone>-<layers or set>-<weights>[-<variant>].onnx`."""
    chosen = backbone.set_of(layers) or "-".join(layers)
    tail = "-".join(part for part in (weights, variant) if part)
    if len(chosen) > _MAX_STEM:
        chosen = f"{len(layers)}-layers-{hashlib.sha256(chosen.encode()).hexdigest()[:8]}"
    return bundle_folder() / f"{backbone.name}-{chosen}-{tail}.onnx"


def bundle_paths() -> list[Path]:
    """The exported bundles, newest first."""
    files = [path for path in bundle_folder().glob("*.onnx") if not path.name.startswith(".") and path.is_file()]
    return sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def built_in_bundles() -> list[Path]:
    """The recipes of the built-in bundles, the default first."""
    return [built_in.path for built_in in BUILT_IN]


def find_bundle(name: str) -> Path:
    """The bundle of a path, else of a name in the library or a built-in bundle's, else of an unambiguous beginning.

    Raises BundleNotFoundError.
    """
    path = Path(os.path.expanduser(name))  # unlike Path.expanduser it leaves ~nobody as it is
    if os.path.isfile(path):  # unlike Path.is_file it bears names of any length
        return path
    stems = {bundle.stem: bundle for bundle in (*built_in_bundles(), *bundle_paths())}
    if name in stems:
        return stems[name]
    matches = sorted(stem for stem in stems if stem.startswith(name))
    if len(matches) == 1:
        return stems[matches[0]]
    if matches:
        raise BundleNotFoundError(f"model {name!r} may mean {', '.join(matches)}: give more of the name")
    if os.path.isdir(path):
        raise BundleNotFoundError(f"model {name!r} is a folder: give the .onnx file in it")
    raise BundleNotFoundError(
        f"no model {name!r}: no such file, and no bundle of that name in {bundle_folder()}; "
        "the command `info` lists the bundles, `export` makes one"
    )
