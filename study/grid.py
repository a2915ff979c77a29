"""The grid of a study: bundles × pictures under one set of settings, the paper's or a user's own from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.backbones import BACKBONES, Backbone, UnknownBackboneError, find_backbone
from ..models.contract import BundleError
from ..models.files import expand_user
from ..models.library import bundle_name, find_bundle
from ..runtime.settings.config import known_options, read_toml
from .errors import GridError

PAPER_SETS = (
    ("v3", "paper-low"),
    ("v3", "paper-high"),
    ("v3", "paper-high-text"),
    ("inception-resnet-v2", "paper-low"),
    ("inception-resnet-v2", "paper-high"),
)

# Keys of `dream --config` that a study sets itself.
_NOT_IN_A_STUDY = ("model", "output", "film", "every", "noise", "extras", "direction")
FILES = ("mask", "guide")
OBJECTIVES = ("mean", "l2")
NAMED_WEIGHTS = ("auto", "imagenet", "builtin", "random")


@dataclass(frozen=True)
class BundleSpec:
    """A bundle of a grid, to be found or exported.

    `model` is a backbone's name, and the other fields are options of `export`. Or, as with `dream --model`, `model` is
    a bundle's path or name, and the other fields are ignored. A grid's settings decide on the precision. Raises
    UnknownBackboneError.
    """

    model: str
    layers: str | None = None
    weights: str = "auto"
    objective: str = "mean"
    border: int = 0
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.layers is not None:
            find_backbone(self.model)

    @property
    def backbone(self) -> Backbone | None:
        """The backbone, or None if `model` is a bundle."""
        try:
            return find_backbone(self.model)
        except UnknownBackboneError:
            return None

    def layer_names(self, backbone: Backbone) -> tuple[str, ...]:
        """Returns the layers that `layers` names: a layer set of the backbone, or a list separated by commas."""
        chosen = self.layers or backbone.default_set
        return backbone.layer_sets.get(chosen) or tuple(name.strip() for name in chosen.split(",") if name.strip())

    @property
    def short_name(self) -> str:
        """`<backbone>-<set or layers>`, or the name of the bundle's file without its ending."""
        backbone = self.backbone
        if backbone is None:
            return Path(self.model).stem
        return Path(bundle_name(backbone, self.layer_names(backbone), "")).stem

    @property
    def long_name(self) -> str:
        """The short name followed by all that distinguishes it from other bundles of the same layers."""
        parts = [self.short_name, Path(self.weights).name.split(".")[0]]
        parts += [self.objective] if self.objective != "mean" else []
        parts += [f"border{self.border}"] if self.border else []
        return "-".join(parts)

    @property
    def export_options(self) -> list[str]:
        """The options of `onnxdream export` that make this bundle."""
        layers = self.layers or (self.backbone.default_set if self.backbone else "")
        options = ["--model", self.model, "--layers", layers, "--weights", self.weights]
        options += ["--objective", self.objective] if self.objective != "mean" else []
        options += ["--border", str(self.border)] if self.border else []
        return options + (["--precision", self.precision] if self.precision != "fp32" else [])


@dataclass(frozen=True)
class Grid:
    """Bundles × pictures.

    `options` are keys of `dream --config` under their Python names. With `is_paper` the report shows the paper's losses
    and claims. Raises GridError.
    """

    bundles: tuple[BundleSpec, ...]
    images: tuple[Path, ...]
    options: Mapping[str, Any]
    is_paper: bool = False

    def __post_init__(self) -> None:
        for name, given in (("images", self.images), ("[[bundle]]", self.bundles)):
            if not given:
                raise GridError(f"a study needs {name}: name at least one")
        refused = [key for key in _NOT_IN_A_STUDY if key in self.options]
        if refused:
            raise GridError(f"{refused[0]} is not a setting of a study: the grid names the bundles and pictures")
        _require_distinct(self.bundle_names, "bundle")

    @property
    def bundle_names(self) -> tuple[str, ...]:
        """The name of each bundle within the names of its cells: the short name if it is unique, else the long one."""
        short = [spec.short_name for spec in self.bundles]
        return tuple(
            name if short.count(name) == 1 else spec.long_name for name, spec in zip(short, self.bundles, strict=True)
        )


def paper_grid(images: tuple[Path, ...], weights: str, objective: str, options: Mapping[str, Any]) -> Grid:
    """Returns a grid of the paper's five layer sets and these pictures.

    `weights` is a text for `parse_weights`. Raises GridError and UnknownBackboneError.
    """
    chosen = parse_weights(weights)
    if objective not in OBJECTIVES:
        raise GridError(f"unknown objective {objective!r}: choose {' or '.join(OBJECTIVES)}")
    missing = [text for text in chosen.values() if text not in NAMED_WEIGHTS and not Path(text).is_file()]
    if missing:
        raise GridError(f"weights {missing[0]}: there is no such file: correct its path")
    specs = tuple(BundleSpec(model, layers, chosen[model], objective) for model, layers in PAPER_SETS)
    return Grid(specs, images, options, is_paper=True)


def parse_weights(text: str) -> dict[str, str]:
    """Reads a choice of weights and returns it for each backbone's name.

    The text is `auto`, `imagenet`, `builtin`, `random`, or a choice for each backbone as in `v3=FILE,irv2=FILE`; a
    backbone that is not named gets auto. Raises GridError and UnknownBackboneError.
    """
    if "=" not in text:
        if text not in NAMED_WEIGHTS:
            raise GridError(f"weights {text!r}: give auto, imagenet, builtin, random, or files as in v3=FILE,irv2=FILE")
        return {backbone.name: text for backbone in BACKBONES}
    chosen = {backbone.name: "auto" for backbone in BACKBONES}
    for part in text.split(","):
        model, _, weights = (piece.strip() for piece in part.partition("="))
        if not weights:
            raise GridError(f"weights {text!r}: give a file for each backbone, as in v3=FILE,irv2=FILE")
        chosen[find_backbone(model).name] = _weights_from(weights, Path())
    return chosen


def read_grid(path: Path) -> Grid:
    """Reads a user's own grid, a TOML file with `images`, `[[bundle]]` tables and `[settings]`.

    Relative paths in it start from the file's folder.

    Raises GridError, SettingsError and UnknownBackboneError.
    """
    data = read_toml(path)
    base = path.parent
    unknown = sorted(set(data) - {"images", "bundle", "settings"})
    if unknown:
        raise GridError(f"{path}: unknown key {unknown[0]!r}: a grid has images, [[bundle]] and [settings]")
    images, tables, settings = data.get("images", []), data.get("bundle", []), data.get("settings", {})
    if not (isinstance(images, list) and all(isinstance(image, str) for image in images)):
        raise GridError(f'{path}: images must be a list of paths, as in ["bears.jpg"]')
    if not (isinstance(tables, list) and all(isinstance(table, dict) for table in tables)):
        raise GridError(f"{path}: bundles must be tables, each under [[bundle]]")
    if not isinstance(settings, dict):
        raise GridError(f"{path}: settings must be a table under [settings]")
    options = known_options(settings, path)
    for key in FILES:
        if not isinstance(options.get(key, ""), str):
            raise GridError(f"{path}: {key} must be a path, not {options[key]!r}")
        options.update({key: str(base / options[key])} if key in options else {})
    specs = tuple(_spec(table, path) for table in tables)
    return Grid(specs, tuple(base / expand_user(image) for image in images), options)


def _spec(table: Mapping[str, Any], path: Path) -> BundleSpec:
    types = {"model": str, "layers": str, "weights": str, "objective": str, "border": int}
    for key, value in table.items():
        if key not in types:
            raise GridError(f"{path}: unknown key {key!r} of [[bundle]]: its keys are {', '.join(types)}")
        if type(value) is not types[key]:
            kind = "text" if types[key] is str else "a whole number"
            raise GridError(f"{path}: {key} of [[bundle]] must be {kind}, not {value!r}")
    if "model" not in table:
        raise GridError(f"{path}: a [[bundle]] has no model: give a backbone or a bundle")
    if "layers" in table and not BundleSpec(table["model"]).backbone and _is_bundle(table["model"], path.parent):
        raise GridError(
            f"{path}: {table['model']} is a bundle, which has its layers: leave out layers, or set them in [settings]"
        )
    spec = BundleSpec(**{**table, "weights": _weights_from(table.get("weights", "auto"), path.parent)})
    if spec.backbone is None:
        given = sorted(set(table) - {"model"})
        if given:
            raise GridError(f"{path}: {spec.model} is not a backbone, so {given[0]} has no effect: remove it")
        beside = path.parent / expand_user(spec.model)
        return BundleSpec(str(beside)) if beside.is_file() else spec
    return spec


def _is_bundle(model: str, base: Path) -> bool:
    if (base / expand_user(model)).is_file():
        return True
    try:
        return bool(find_bundle(model))
    except BundleError:
        return False


def _weights_from(text: str, base: Path) -> str:
    return text if text in NAMED_WEIGHTS else str(base / expand_user(text))


def _require_distinct(names: tuple[str, ...], kind: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise GridError(f"{kind} {repeated[0]} is named twice: name each {kind} once")
