"""The choice of the bundle that a dream uses: by name, by preset, or by default; and the list of all bundles."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...models import library
from ...models.assembly import BUILT_IN
from ...models.backbones import BACKBONES
from ...models.contract import LOGITS, BundleError, BundleNotFoundError
from ..errors import RecordError, SettingsError
from ..image.source import SourceFile
from ..settings.presets import Preset
from ..settings.settings import Precision
from .bundle import Bundle, precision_of_bundle

_IMAGENET_HINT = "for ImageNet weights: onnxdream export --model {backbone} (needs onnxdream[export])"


def choose_bundle(
    name: str | None,
    precision: Precision | None = None,
    preset: Preset | None = None,
    layers: Collection[str] = (),
    load: Callable[[Path], Bundle] = Bundle.load,
) -> Bundle:
    """Returns the bundle of that path or name, else the one for the preset, else the default one.

    A look (a preset made for photographs) uses the built-in bundle that it is made for. Any other preset uses the
    newest exported bundle that has its layers, objective and border, else such a built-in one. The default is the
    newest exported bundle whose weights are not random, else the first built-in one; `layers` restricts that choice to
    bundles that have all of these layers, unless `logits` is among them. A bundle chosen without a name has the
    precision that a run in `precision` needs (None: fp32). `load` loads the bundle of a path; it may keep what it has
    loaded.

    Raises BundleError, and SettingsError where a named bundle does not fit `precision`, or no bundle fits the preset or
    has the layers.
    """
    if name is not None:
        bundle = load(library.find_bundle(name))
        if precision:
            bundle.require_precision(precision)
        return bundle
    needed = precision_of_bundle(precision or "fp32")
    if preset is not None:
        return _bundle_for_preset(preset, needed, load)
    passed = []
    for bundle in _default_bundles(needed, load):
        if set(layers) <= set(bundle.metadata.layer_names):
            return bundle
        passed.append(bundle)
    if not passed:
        raise BundleNotFoundError(
            f"there is no bundle in {needed}: make one with onnxdream export --precision {needed}"
        )
    if LOGITS in layers:
        return passed[0]
    wanted = f"{'layers' if len(layers) > 1 else 'layer'} {' and '.join(sorted(layers))}"
    raise SettingsError(f"no bundle has the {wanted}: {_advice(sorted(layers), passed)}")


def _advice(layers: list[str], bundles: list[Bundle]) -> str:
    """Returns how to get layers that none of these bundles has together."""
    for backbone in BACKBONES:
        if set(layers) <= {layer for members in backbone.layer_sets.values() for layer in members}:
            return f"make one with onnxdream export --model {backbone.name} --layers {','.join(layers)}"
    owners = {layer: bundle for bundle in reversed(bundles) for layer in bundle.metadata.layer_names}
    unknown = [layer for layer in layers if layer not in owners]
    near = difflib.get_close_matches(unknown[0], owners, n=3) if unknown else layers
    if near:
        found = ", ".join(f"{layer} (of {Path(owners[layer].name).stem})" for layer in near)
        return f"the nearest are {found}" if unknown else f"name layers of one bundle, not {found}"
    return "the command `info` lists the layers of all bundles"


def _default_bundles(precision: Precision, load: Callable[[Path], Bundle]) -> Iterator[Bundle]:
    """Yields the bundles of a precision, the preferred ones first.

    Exported bundles come first, the newest before older ones, then the built-in ones, then those with random weights.
    """
    random = []
    for bundle in _exported_bundles(load):
        if bundle.metadata.precision == precision and bundle.metadata.weights.source == "random":
            random.append(bundle)
        elif bundle.metadata.precision == precision:
            yield bundle
    if precision == "fp32":
        yield from map(load, library.built_in_bundles())
    yield from random


def _bundle_for_preset(preset: Preset, precision: Precision, load: Callable[[Path], Bundle]) -> Bundle:
    if preset.bundle is not None and precision == "fp32":
        return load(next(built_in.path for built_in in BUILT_IN if built_in.name == preset.bundle))
    for bundle in (*_exported_bundles(load), *map(load, library.built_in_bundles())):
        if bundle.metadata.precision == precision and preset.is_made_for(bundle.metadata):
            return bundle
    command = preset.export_command(precision)
    raise SettingsError(f"no bundle fits preset {preset.name}: make one with {command}")


def _exported_bundles(load: Callable[[Path], Bundle]) -> Iterator[Bundle]:
    """Yields the usable bundles of the user's library, the newest first."""
    for path in library.bundle_paths():
        try:
            yield load(path)
        except BundleError:
            continue  # the command `info` shows what is wrong with it


def display_name(bundle: Bundle) -> str:
    """Returns a bundle's name as it is shown to the user."""
    return f"{bundle.name}, built in" if bundle.is_built_in else bundle.name


def describe(bundle: Bundle) -> list[str]:
    """Returns lines for the user: what the bundle is, and a warning where its weights are random."""
    metadata = bundle.metadata
    weights = f"{metadata.weights.title} weights" + ("" if metadata.precision == "fp32" else f", {metadata.precision}")
    layers = ", ".join(metadata.layer_names)
    lines = [f"model: {display_name(bundle)} ({metadata.backbone}, {layers}; {weights})"]
    if metadata.weights.source == "random":
        hint = _IMAGENET_HINT.format(backbone=metadata.backbone)
        lines.append(f"its weights are random: it dreams textures that mean nothing; {hint}")
    return lines


@dataclass(frozen=True)
class BundleEntry:
    """An entry in the list of bundles; `problem` is the reason why it cannot be used, else empty."""

    name: str
    path: str
    layers: tuple[str, ...] = ()
    objective: str = ""
    weights: str = ""
    megabytes: float = 0.0
    problem: str = ""

    def row(self) -> tuple[str, ...]:
        """Returns the entry as a row of a table: name, layers or problem, objective, weights, size."""
        return (
            self.name,
            ", ".join(self.layers) or self.problem,
            self.objective,
            self.weights,
            f"{self.megabytes:.1f} MB",
        )


def list_bundles() -> list[BundleEntry]:
    """Lists every bundle: the built-in ones, then those of the user's library, the newest first."""
    return [_entry(path) for path in (*library.built_in_bundles(), *library.bundle_paths())]


def _entry(path: Path) -> BundleEntry:
    try:
        bundle = Bundle.load(path)
    except BundleError as error:
        return BundleEntry(path.stem, str(path), problem=str(error))
    metadata, megabytes = bundle.metadata, round(len(bundle.data) / 1e6, 1)
    weights = metadata.weights.title
    return BundleEntry(path.stem, str(path), metadata.layer_names, metadata.objective, weights, megabytes)


def bundle_of(source: SourceFile) -> Bundle:
    """Returns the bundle that a record names by its hash.

    It is looked for at its recorded path, among the built-in bundles and in the user's library. Raises RecordError.
    """
    recorded = [Path(source.path)] if source.path else []
    for path in [*recorded, *library.built_in_bundles(), *library.bundle_paths()]:
        try:
            bundle = Bundle.load(path)
        except BundleError:
            continue
        if bundle.sha256 == source.sha256:
            return bundle
    raise RecordError(
        f"the bundle {source.name} (SHA-256 {source.sha256[:12]}…) was not found: copy its file into "
        f"{library.bundle_folder_in_words()}"
    )
