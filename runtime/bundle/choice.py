"""Which bundle a dream uses when the user names one, a preset, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...models import library
from ...models.contract import BundleError, BundleNotFoundError
from ..errors import RecordError, SettingsError
from ..image.source import SourceFile
from ..settings.presets import Preset
from ..settings.settings import Precision
from .bundle import Bundle, precision_of_bundle

_IMAGENET = "for ImageNet weights: onnxdream export --model {backbone} (needs onnxdream[export])"


def choose_bundle(
    name: str | None, precision: Precision | None = None, preset: Preset | None = None, layers: Collection[str] = ()
) -> Bundle:
    """The bundle of that path or name; without one the one that a preset takes; without either the newest exported.

    A look takes the built-in bundle that it is made for; any other preset the newest exported bundle that has its
    layers, objective and border, else a built-in one. Without a name and a preset it is the newest exported bundle of
    other than random weights, else the first built-in one; where some `layers` are asked for, the first of these that
    has them, if there is one. A bundle that is not named has the precision that a run in `precision` takes (None:
    fp32).

    Raises BundleError, and SettingsError where `precision` and a bundle that is named do not fit, or no bundle has
    what the preset needs.
    """
    if name is not None:
        bundle = Bundle.load(library.find_bundle(name))
        if precision:
            bundle.require_precision(precision)
        return bundle
    wanted = precision_of_bundle(precision or "fp32")
    if preset is not None:
        return _of_preset(preset, wanted)
    first = None
    for bundle in _by_preference(wanted):
        first = first or bundle
        if set(layers) <= set(bundle.metadata.layer_names):
            return bundle
    if first is None:
        raise BundleNotFoundError(f"no bundle of {wanted} is here: make one with onnxdream export --precision {wanted}")
    return first


def _by_preference(precision: Precision) -> Iterator[Bundle]:
    """The bundles of a precision: exported ones, newest first, the built-in ones, and those of random weights."""
    random = []
    for bundle in _exported():
        if bundle.metadata.precision == precision and bundle.metadata.weights.source == "random":
            random.append(bundle)
        elif bundle.metadata.precision == precision:
            yield bundle
    if precision == "fp32":
        yield from map(Bundle.load, library.built_in_bundles())
    yield from random


def _of_preset(preset: Preset, precision: Precision) -> Bundle:
    if preset.bundle is not None and precision == "fp32":
        return Bundle.built_in(preset.bundle)
    for bundle in (*_exported(), *map(Bundle.load, library.built_in_bundles())):
        if bundle.metadata.precision == precision and preset.is_made_for(bundle.metadata):
            return bundle
    command = preset.export_command + ("" if precision == "fp32" else f" --precision {precision}")
    raise SettingsError(f"no bundle here has what preset {preset.name} climbs: make one with {command}")


def _exported() -> Iterator[Bundle]:
    """The bundles of the library that can be used, newest first."""
    for path in library.bundle_paths():
        try:
            yield Bundle.load(path)
        except BundleError:
            continue  # `info` shows what is wrong with it


def display_name(bundle: Bundle) -> str:
    """What the user knows a bundle as."""
    return f"{bundle.name}, built in" if bundle.is_built_in else bundle.name


def describe(bundle: Bundle) -> list[str]:
    """Lines for the user: which bundle it is, and what to know of random weights."""
    facts = bundle.metadata
    kind = f"{facts.weights.title} weights" + ("" if facts.precision == "fp32" else f", {facts.precision}")
    lines = [f"model: {display_name(bundle)} ({facts.backbone}, {', '.join(facts.layer_names)}; {kind})"]
    if facts.weights.source == "random":
        hint = _IMAGENET.format(backbone=facts.backbone)
        lines.append(f"its weights are random: it dreams textures that mean nothing; {hint}")
    return lines


@dataclass(frozen=True)
class BundleEntry:
    """A line of the list of bundles; `problem` says why one cannot be used."""

    name: str
    path: str
    layers: tuple[str, ...] = ()
    objective: str = ""
    weights: str = ""
    megabytes: float = 0.0
    problem: str = ""

    def row(self) -> tuple[str, ...]:
        """The line's text, column by column."""
        return (
            self.name,
            ", ".join(self.layers) or self.problem,
            self.objective,
            self.weights,
            f"{self.megabytes:.1f} MB",
        )


def list_bundles() -> list[BundleEntry]:
    """Every bundle at hand: the built-in ones, and those of the library, newest first."""
    return [_entry(path) for path in (*library.built_in_bundles(), *library.bundle_paths())]


def _entry(path: Path) -> BundleEntry:
    try:
        bundle = Bundle.load(path)
    except BundleError as error:
        return BundleEntry(path.stem, str(path), problem=str(error))
    facts, megabytes = bundle.metadata, round(len(bundle.data) / 1e6, 1)
    return BundleEntry(path.stem, str(path), facts.layer_names, facts.objective, facts.weights.title, megabytes)


def bundle_of(source: SourceFile) -> Bundle:
    """The very bundle of a record, looked for where it was, among the built-in ones and in the library.

    Raises RecordError.
    """
    places = [Path(source.path)] if source.path else []
    for path in [*places, *library.built_in_bundles(), *library.bundle_paths()]:
        try:
            bundle = Bundle.load(path)
        except BundleError:
            continue
        if bundle.sha256 == source.sha256:
            return bundle
    raise RecordError(
        f"the bundle {source.name} (SHA-256 {source.sha256[:12]}…) is not here: put the file into "
        f"{library.bundle_folder_in_words()}"
    )
