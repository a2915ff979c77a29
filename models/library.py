"""The bundle library: where bundles are stored and how they are named."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from .assembly import BUILT_IN
from .backbones import Backbone
from .contract import BundleError, BundleNotFoundError
from .files import expand_user

_MAX_LAYERS_NAME = 80  # characters


class NoHomeError(BundleError):
    """The user has no home folder, as in a container that runs under a bare user number."""

    def __init__(self) -> None:
        super().__init__("there is no home folder to keep bundles in: set HOME or ONNXDREAM_HOME to a folder of yours")


def data_folder() -> Path:
    """Returns `$ONNXDREAM_HOME` or, if that is not set, the user's data folder. Raises NoHomeError."""
    home = os.environ.get("ONNXDREAM_HOME")
    return Path(home) if home else _user_folder()


def bundle_folder() -> Path:
    """Returns the folder `bundles` in the data folder. Raises NoHomeError."""
    return data_folder() / "bundles"


def _user_folder() -> Path:
    try:
        folder = platformdirs.user_data_path("onnxdream", appauthor=False)
    except RuntimeError:
        raise NoHomeError from None
    if not folder.is_absolute():  # so say older versions of platformdirs that there is no home
        raise NoHomeError
    return folder


def bundle_folder_in_words() -> str:
    """Returns the folder of the bundles for a message, also where there is none."""
    try:
        return str(bundle_folder())
    except NoHomeError:
        return "the bundle folder (there is none: set HOME or ONNXDREAM_HOME)"


def bundle_name(backbone: Backbone, layers: tuple[str, ...], weights: str, variant: str = "") -> str:
    """Returns the file name of an exported bundle: `<backbone>-<layers or set>-<weights>[-<variant>].onnx`.

    A long list of layers is replaced by their number and a hash of their names.
    """
    layers_name = backbone.set_of(layers) or "-".join(layer.replace("/", "_") for layer in layers)
    if len(layers_name) > _MAX_LAYERS_NAME:
        layers_name = f"{len(layers)}-layers-{hashlib.sha256(layers_name.encode()).hexdigest()[:8]}"
    parts = (Path(backbone.name).stem, layers_name, weights, variant)
    return f"{'-'.join(part for part in parts if part)}.onnx"


class BundleOutputError(BundleError):
    """A bundle cannot be written to an output path."""

    exit_code = 2


def is_bundle_output(output: Path) -> bool:
    """Whether an output path is that of a bundle rather than of a folder. Raises BundleOutputError if it is neither.

    A folder exists or has no suffix.
    """
    if output.is_dir() or not output.suffix:
        return False
    if output.suffix.lower() != ".onnx":
        raise BundleOutputError(f"{output}: bundles are .onnx files: choose a name that ends in .onnx, or a folder")
    return True


def bundle_output(output: Path, name: str, overwrite: bool = False) -> Path:
    """Returns where an output path puts a bundle: the path itself, or in that folder under its own file name `name`.

    Raises BundleOutputError for an existing file without `overwrite`, and as `is_bundle_output` does.
    """
    path = output if is_bundle_output(output) else output / name
    if path.exists() and not overwrite:
        raise BundleOutputError(f"{path} exists: choose another --output, or replace it with --overwrite")
    if path.is_dir():
        raise BundleOutputError(f"{path} is a folder: choose another --output")
    return path


def bundle_paths() -> list[Path]:
    """Returns the exported bundles, newest first; none if there is no folder for them."""
    try:
        folder = bundle_folder()
    except NoHomeError:
        return []
    files = [path for path in folder.glob("*.onnx") if not path.name.startswith(".") and path.is_file()]
    return sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def built_in_bundles() -> list[Path]:
    """Returns the recipes of the built-in bundles, the default bundle first."""
    return [built_in.path for built_in in BUILT_IN]


def find_bundle(name: str) -> Path:
    """Finds a bundle by its path, by its name, or by an unambiguous prefix of its name, in this order.

    A name may end with `.onnx`, as that of its file does. Names are those of the exported and of the built-in bundles.
    Raises BundleNotFoundError.
    """
    path = expand_user(name)
    if os.path.isfile(path):  # unlike Path.is_file, this accepts names of any length
        return path
    stems = {bundle.stem: bundle for bundle in (*built_in_bundles(), *bundle_paths())}
    if name.removesuffix(".onnx") in stems:
        return stems[name.removesuffix(".onnx")]
    matches = sorted(stem for stem in stems if stem.startswith(name))
    if len(matches) == 1:
        return stems[matches[0]]
    if matches:
        raise BundleNotFoundError(f"model {name!r} may mean {', '.join(matches)}: give more of the name")
    if os.path.isdir(path):
        raise BundleNotFoundError(f"model {name!r} is a folder: give the .onnx file in it")
    raise BundleNotFoundError(
        f"no model {name!r}: there is no such file, and no bundle of that name in {bundle_folder_in_words()}; "
        "the command `info` lists the bundles, `export` makes one"
    )
