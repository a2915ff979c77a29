"""What the words of the command `features` ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...models.arrays import Floats, Pixels, Size
from ...models.contract import LOGITS, Metadata
from ...models.files import expand_user
from ..ascent.objectives import objective_for
from ..bundle.bundle import Bundle
from ..bundle.choice import choose_bundle
from ..bundle.directions import Direction, direction_paths
from ..bundle.positions import chosen_positions, parse_positions
from ..bundle.sessions import Sessions
from ..errors import SettingsError
from ..image.files import read_picture
from ..image.pixels import pixels_of
from ..image.source import file_hash
from ..provider.selection import ProviderChoice, choose_provider
from ..settings.config import execution_of, read_described
from ..settings.kinds import IntRange
from ..settings.options import OPTIONS, Option, described_options
from ..settings.parsing import parse_guide_by
from ..settings.settings import Execution, Panel, Settings, descriptions
from .drawing.aim import Aim, layers_aim, placed_aim, walk_aims
from .drawing.draw import require_memory
from .drawing.spectrum import magnitudes_of
from .feature import Feature, find_layer, layer_of, parse_features
from .settings import FeatureSettings

_PANEL: Panel = "What to dream, and how"
_OWN = (
    Option(
        "spectrum",
        Path,
        "Take MACO's magnitudes from this picture. Default: those of photographs in general.",
    ),
    Option(
        "direction",
        str,
        "Draw a direction in one layer that is named: a .npy file with a weight (float32) of each channel, or "
        "two pictures, as in day.jpg,night.jpg, for what the second shows more than the first.",
        _PANEL,
    ),
    Option("guide", Path, "Draw what the named layers see in this picture.", _PANEL),
    Option(
        "guide_by",
        str,
        "How the guide counts: cosine gives the channel means of the picture the guide's proportions; caricature "
        "exaggerates them, more strictly with caricature:4 than with caricature:2, which is caricature. Default: "
        "caricature.",
        _PANEL,
    ),
    Option(
        "position",
        list[str],
        "Draw what the named channels see around a place, as in mixed4:0.5,0.5,0.1: y, x and a radius as parts of the "
        "picture; without the radius, the nearest neuron alone.",
        _PANEL,
    ),
    Option("walk", int, "Draw a row of this number of pictures, from the one named channel to the other.", _PANEL),
    Option("output", Path, "Folder to write to. Default: <bundle>-features.", "What to write"),
    Option("overwrite", bool, "Draw again what is there already.", "What to write", ("--overwrite",)),
)
_INSTEAD = {  # of the texts of `dream`
    "model": "The bundle, an exported network: its path, its name, or the beginning of its name. Default: the newest "
    "that has the named layers.",
    "memory": "Memory that the whole program may take, as in 1GB. Default: half of the machine's or the GPU's.",
}
_SHARED = {"model", "precision", "quiet", "progress", *descriptions(Execution)}
_STATIONS = IntRange(2, 100)  # of a walk


@dataclass(frozen=True)
class Ways:
    """What is drawn in place of channels of an atlas; only `position` goes together with another."""

    direction: tuple[Path, ...] = ()
    guide: Path | None = None
    guide_by: str = "caricature"
    position: tuple[str, ...] = ()
    walk: int | None = None

    @property
    def named(self) -> list[str]:
        """The options that choose an objective."""
        return [f"--{name}" for name in ("direction", "guide", "walk") if getattr(self, name)]

    @property
    def is_of_layers(self) -> bool:
        """Whether whole layers are drawn."""
        return bool(self.direction or self.guide)


@dataclass(frozen=True)
class FeatureRequest:
    """Features to draw, and where; `magnitudes` are those of the picture whose SHA-256 is `spectrum`.

    With `ways`, the features, or the whole `layers`, are drawn in these; without, they are those of an atlas.
    """

    bundle: Bundle
    features: list[Feature]
    settings: FeatureSettings
    choice: ProviderChoice
    output: Path
    overwrite: bool = False
    spectrum: str | None = None
    magnitudes: Floats | None = field(default=None, repr=False)
    layers: tuple[str, ...] = ()
    ways: Ways | None = None

    def aims(self, sessions: Sessions, log: Callable[[str], None]) -> list[Aim]:
        """Returns what is drawn in the ways; `log` is called with each warning about a picture.

        Raises DreamError and BundleError.
        """
        assert self.ways is not None
        metadata = self.bundle.metadata
        if self.ways.is_of_layers:
            return [self._layers_aim(self.ways, sessions, log)]
        positions = chosen_positions(metadata.layers, parse_positions(self.ways.position))
        if self.ways.walk:
            first, last = self.features
            return walk_aims(metadata, first, last, self.ways.walk, positions)
        assert positions is not None
        return [placed_aim(metadata, feature, positions) for feature in self.features]

    def _layers_aim(self, ways: Ways, sessions: Sessions, log: Callable[[str], None]) -> Aim:
        settings = Settings(
            layer_weights=dict.fromkeys(self.layers, 1.0),
            guide_by=ways.guide_by if ways.guide else "surplus",
            position=ways.position,
            max_size=self.settings.size,
            normalization="backbone",
        )
        guide = pixels_of(ways.guide, "guide", log) if ways.guide else None
        direction = None
        if ways.direction:
            first, *second = ways.direction
            direction = Direction.of((first, second[0]) if second else first, log)
        machine = self.choice.machine
        objective = objective_for(_NO_PICTURE, guide, sessions, settings, machine, direction)
        return layers_aim(list(self.layers), f"{_words(ways)}{_at(ways.position)}", objective)


_NO_PICTURE: Pixels = np.zeros((1, 1, 3), np.uint8)


def feature_options() -> tuple[Option, ...]:
    """Returns the options of the command: its own, and those of `dream` that it takes."""
    shared = (option for option in OPTIONS if option.name in _SHARED)
    others = (replace(option, help=_INSTEAD.get(option.name, option.help)) for option in shared)
    return (*described_options(FeatureSettings), *_OWN, *others)


def parse_feature_request(texts: list[str], options: Mapping[str, Any]) -> FeatureRequest:
    """Returns the request that a command's words make. Raises DreamError and BundleError."""
    if not texts:
        raise SettingsError("name a layer, channels or classes, as in onnxdream features mixed4:40,41")
    execution = execution_of(options)
    named = {layer_of(text) for text in texts}
    bundle = choose_bundle(options.get("model"), execution.precision if "precision" in options else None, layers=named)
    ways = _ways(options)
    layers = _layers(bundle.metadata, texts, ways) if ways and ways.is_of_layers else ()
    features = [] if layers else parse_features(bundle.metadata, texts)
    if "precision" not in options:
        execution = replace(execution, precision=bundle.precision)
    settings = _settings(options, layers or {feature.layer for feature in features})
    if ways:
        _require_way(bundle.metadata, ways, texts, features, settings)
    spectrum, magnitudes = _spectrum(options, settings)
    output = expand_user(options.get("output", Path(f"{Path(bundle.name).stem}-features")))
    choice = choose_provider(execution)
    require_memory(bundle.metadata, settings, choice.machine, execution.memory)
    return FeatureRequest(
        bundle, features, settings, choice, output, bool(options.get("overwrite")), spectrum, magnitudes, layers, ways
    )


def _settings(options: Mapping[str, Any], layers: tuple[str, ...] | set[str]) -> FeatureSettings:
    """The settings among the options; classes are drawn with MACO and crops unless these say otherwise."""
    given = read_described(FeatureSettings, options)
    if all(layer == LOGITS for layer in layers):
        given.setdefault("param", "maco")
    if given.get("param") == "maco":
        given.setdefault("views", "crops")
    return FeatureSettings(**given)


def _spectrum(options: Mapping[str, Any], settings: FeatureSettings) -> tuple[str | None, Floats | None]:
    """The SHA-256 of the picture of --spectrum, and its magnitudes."""
    if "spectrum" not in options:
        return None, None
    if settings.param != "maco":
        raise SettingsError("--spectrum is for --param maco: the others have a spectrum of their own")
    path = expand_user(options["spectrum"])
    magnitudes = magnitudes_of(read_picture(path).pixels, Size(settings.size, settings.size))
    return file_hash(path), magnitudes


def _ways(options: Mapping[str, Any]) -> Ways | None:
    """The ways among the options, which are checked as far as they can be without a bundle."""
    names = ("direction", "guide", "guide_by", "position", "walk")
    given = {name: options[name] for name in names if name in options}
    if not given:
        return None
    if "direction" in given:
        given["direction"] = direction_paths(given["direction"])
    if "guide" in given:
        given["guide"] = expand_user(given["guide"])
    if "walk" in given:
        _STATIONS.checked("walk", given["walk"])
    ways = Ways(**{**given, "position": tuple(given.get("position", ()))})
    parse_positions(ways.position)
    if len(ways.named) > 1:
        raise SettingsError(f"{ways.named[0]} and {ways.named[1]} contradict each other: give one of them")
    if "guide_by" in given and not ways.guide:
        raise SettingsError("--guide-by says how a guide counts: give one, as in --guide PICTURE")
    if ways.guide_by == "surplus":
        raise SettingsError("guide by surplus compares with a picture, and there is none: write cosine or caricature")
    parse_guide_by(ways.guide_by, ("cosine", "caricature"))
    return ways


def _layers(metadata: Metadata, texts: list[str], ways: Ways) -> tuple[str, ...]:
    """The layers that texts name. Raises SettingsError for channels, and for two layers of a direction."""
    (option,) = ways.named
    for text in texts:
        if ":" in text and text not in metadata.layer_names:
            raise SettingsError(f"{option} is for whole layers: name {layer_of(text)} instead of {text}")
        find_layer(metadata, text)
    layers = tuple(dict.fromkeys(texts))
    if ways.direction and len(layers) > 1:
        raise SettingsError(f"a direction is one in a single layer, not in {', '.join(layers)}: name one of them")
    return layers


def _require_way(
    metadata: Metadata, ways: Ways, texts: list[str], features: list[Feature], settings: FeatureSettings
) -> None:
    """Raises SettingsError where the ways, the named features and the settings contradict each other."""
    if ways.walk and len(features) != 2:
        raise SettingsError(f"a walk is between two channels, not {len(features)}: name two, as in mixed4:40,97")
    if settings.diversity > 1 and (ways.walk or ways.guide):
        raise SettingsError(f"--diversity keeps pictures apart that {ways.named[0]} makes alike: leave one of them out")
    if settings.sign == "-" and ways.guide:
        raise SettingsError("--sign - is for channels: a guide has no opposite")
    positions = parse_positions(ways.position)
    chosen_positions(metadata.layers, positions)
    drawn = {feature.layer for feature in features} or set(texts)
    for layer in positions:
        if layer not in drawn:
            raise SettingsError(f"--position {layer}:… is of a layer that is not drawn: name the position's layer")
    if ways.named:
        return
    for text in texts:
        if text in metadata.layer_names:
            raise SettingsError(f"--position is for channels, not for the atlas of a layer: name some, as in {text}:0")
    for layer in drawn - set(positions):
        raise SettingsError(f"{layer} has no position: give it one, as in --position {layer}:0.5,0.5")


def _words(ways: Ways) -> str:
    """The way's part of a name, as in `like cat` or `from day to night`."""
    stems = [path.stem for path in ways.direction]
    if len(stems) == 2:
        return f"from {stems[0]} to {stems[1]}"
    if stems:
        return f"along {stems[0]}"
    assert ways.guide is not None
    by = parse_guide_by(ways.guide_by)
    return f"{'like' if by.kind == 'cosine' else 'caricature of'} {ways.guide.stem}"


def _at(position: tuple[str, ...]) -> str:
    return f" at {', '.join(position)}" if position else ""
