"""The choices of a run: one flat set of names, the same on the command line, in a config file and in a record."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from ..errors import SettingsError
from .colours import parse_colours
from .schedule import Schedule, no_schedule

Normalization = Literal["minmax", "backbone"]
GradientNorm = Literal["std", "l2", "mean-abs", "none"]
OptimizerName = Literal["plain", "momentum", "adam"]
Detail = Literal["before", "after", "none"]
Interpolation = Literal["area", "linear", "pyramid"]
Tiling = Literal["blended", "tutorial"]
ProviderName = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
Precision = Literal["fp32", "bf16", "fp16", "mixed"]

_MOST_STEPS = 1_000_000
Rule = Callable[[str, object], None]


def _whole(least: int, most: int) -> Rule:
    def check(name: str, value: object) -> None:
        if type(value) is not int or not least <= value <= most:
            raise SettingsError(f"{name} must be a whole number from {least} to {most}, not {value!r}")

    return check


def _number(least: float, most: float) -> Rule:
    def check(name: str, value: object) -> None:
        if not (isinstance(value, float) or type(value) is int) or not least <= value <= most:  # nor is NaN
            raise SettingsError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")

    return check


def _scheduled(rule: Rule) -> Rule:
    def check(name: str, value: object) -> None:
        ends = value if isinstance(value, tuple) else (value,)
        if isinstance(value, tuple) and not (len(ends) == 2 and all(type(end) in (int, float) for end in ends)):
            raise no_schedule(name, value)
        for end in ends:
            rule(name, end)

    return check


def _choice(options: Any) -> Rule:
    def check(name: str, value: object) -> None:
        if value not in get_args(options):
            raise SettingsError(f"{name} must be one of {', '.join(get_args(options))}, not {value!r}")

    return check


def _flag(name: str, value: object) -> None:
    if type(value) is not bool:
        raise SettingsError(f"{name} must be true or false, not {value!r}")


def _optional(rule: Rule) -> Rule:
    return lambda name, value: None if value is None else rule(name, value)


def _each(rule: Rule) -> Rule:
    def check(name: str, value: object) -> None:
        if not isinstance(value, tuple):
            raise SettingsError(f"{name} must be a list, not {value!r}")
        for item in value:
            rule(name, item)

    return check


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise SettingsError(f"{name} must be a text, not {value!r}")


def _colours(_: str, value: object) -> None:
    parse_colours(value)


def _size(name: str, value: object) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise SettingsError(f"{name} must be a width and a height, not {value!r}")
    for side in value:
        _whole(1, 65536)(name, side)


def _weights(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{name} must name layers with their weights, not {value!r}")
    for layer, weight in value.items():
        _number(-1e6, 1e6)(f"weight of {layer}", weight)


@dataclass(frozen=True)
class Execution:
    """Where a run is computed.

    `threads` is the number of CPU threads, None for one per usable core. `memory` is the budget in bytes of the whole
    program, None for half of what there is. `tile_pixels` are the pixels of a tile at most; None lets them follow from
    the memory. `precision` is fp32; bf16, which OpenVINO computes in on a CPU that can; or that of an fp16 or mixed
    bundle. Raises SettingsError.
    """

    provider: ProviderName = "auto"
    threads: int | None = None
    memory: int | None = None
    tile_pixels: int | None = None
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        _choice(ProviderName)("provider", self.provider)
        _optional(_whole(1, 1024))("threads", self.threads)
        _optional(_whole(1, 2**50))("memory", self.memory)
        _optional(_whole(1, 2**40))("tile_pixels", self.tile_pixels)
        _choice(Precision)("precision", self.precision)


@dataclass(frozen=True)
class Settings:
    """How a picture is dreamed; the defaults are the preset `paper`. Raises SettingsError.

    The climb: `steps` updates in each octave; `step_size` in units of the backbone's range (the values that the
    network sees); `layer_weights` name the layers to climb, None means all with weight 1; `channels` climb these alone
    ("mixed2:12,-40"), `pick` those of each layer that the picture excites ("strongest:5", "weakest:5"). `max_loss` and
    `plateau` (steps without a gain of 0.1 %) end an octave early.

    The gradient: `gradient_norm`; rolled by up to `jitter` pixels at each step; `blur` in pixels; `laplacian` levels;
    pulls `tv` and `l2`; `optimizer` with its `momentum`; `clip` to the backbone's range. `step_size` and `blur` may be
    pairs, which run linearly from an octave's first step to its last.

    The scales: `max_size` bounds the longer side in pixels, None leaves the picture as large as it is; `octaves`, of
    which `octaves_above` are larger than that, each `octave_scale` times the one before; when lost `detail` is put back
    (see `octaves`); `interpolation` between them, where `pyramid` shrinks bilinearly from octave to octave;
    `octave_rounding` to 8 bits between them; `octave_return` to the picture's size at the end. `tiling` with
    `tile_overlap` pixels where memory needs it.

    The picture: `noise` of that width and height instead of one; `normalization`; dreamed only where a mask is white,
    its edge `feather` pixels soft; `colours` are free, the picture's own ("own", a share of them "own:0.7"), those of
    imagenet, or the picture's with the dream's lightness; `blend` 1 is the dream, 0 the picture; `full_size` applies
    the change to the original.
    `snapshots` are numbers of updates after which a picture is kept besides the last.
    """

    steps: int = 1000
    step_size: Schedule = 0.0005
    max_size: int | None = 512
    layer_weights: Mapping[str, float] | None = None
    normalization: Normalization = "minmax"
    gradient_norm: GradientNorm = "std"
    snapshots: tuple[int, ...] = (100, 500, 1000)
    full_size: bool = False
    seed: int = 0
    noise: tuple[int, int] | None = None
    channels: tuple[str, ...] = ()
    pick: str | None = None
    max_loss: float | None = None
    plateau: int | None = None
    jitter: int = 0
    blur: Schedule = 0.0
    laplacian: int = 0
    tv: float = 0.0
    l2: float = 0.0
    optimizer: OptimizerName = "plain"
    momentum: float = 0.9
    clip: bool = True
    octaves: int = 1
    octaves_above: int = 0
    octave_scale: float = 1.4
    detail: Detail = "before"
    interpolation: Interpolation = "area"
    octave_rounding: bool = False
    octave_return: bool = False
    tiling: Tiling = "blended"
    tile_overlap: int = 64
    feather: float = 0.0
    colours: str = "free"
    blend: float = 1.0
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            rule(name.replace("_", " "), getattr(self, name))
        if self.layer_weights is not None:  # a plain dict of our own: `asdict` takes no other mapping
            object.__setattr__(self, "layer_weights", dict(self.layer_weights))
        if self.octaves_above >= self.octaves:
            raise SettingsError(
                f"octaves above ({self.octaves_above}) must be fewer than octaves ({self.octaves}), which count them"
            )
        if self.channels and self.pick:
            raise SettingsError("channels and pick contradict each other: give one of them")

    def vector(self, layers: tuple[str, ...]) -> list[float]:
        """The weight of each layer of a bundle; a layer that is not named has 0. Raises SettingsError.

        Where channels are chosen and no layers, those of the channels weigh 1.
        """
        of_channels = [text.partition(":")[0] for text in self.channels]
        named = self.layer_weights
        if named is None and of_channels:
            named = dict.fromkeys(of_channels, 1.0)
        if named is None:
            return [1.0] * len(layers)
        for layer in named:
            if layer not in layers:
                near = difflib.get_close_matches(layer, layers, n=3)
                hint = f"the nearest are {', '.join(near)}" if near else f"it has {', '.join(layers)}"
                raise SettingsError(f"layer {layer!r} is not in the bundle: {hint}")
        left_out = [layer for layer in of_channels if not named.get(layer)]
        if left_out:
            raise SettingsError(f"channels of {left_out[0]} are chosen, but the layers leave it out: name it there too")
        weights = [float(named.get(layer, 0.0)) for layer in layers]
        if not any(weights):
            raise SettingsError("all layer weights are 0: give at least one layer another weight")
        return weights


_RULES: dict[str, Rule] = {
    "steps": _whole(1, _MOST_STEPS),
    "step_size": _scheduled(_number(1e-9, 1e9)),
    "max_size": _optional(_whole(1, 65536)),
    "layer_weights": _optional(_weights),
    "normalization": _choice(Normalization),
    "gradient_norm": _choice(GradientNorm),
    "snapshots": _each(_whole(1, 100 * _MOST_STEPS)),
    "full_size": _flag,
    "seed": _whole(0, 2**32 - 1),
    "noise": _optional(_size),
    "channels": _each(_text),
    "pick": _optional(_text),
    "max_loss": _optional(_number(-1e30, 1e30)),
    "plateau": _optional(_whole(1, _MOST_STEPS)),
    "jitter": _whole(0, 65536),
    "blur": _scheduled(_number(0, 1000)),
    "laplacian": _whole(0, 16),
    "tv": _number(0, 1e6),
    "l2": _number(0, 1e6),
    "optimizer": _choice(OptimizerName),
    "momentum": _number(0, 0.9999),
    "clip": _flag,
    "octaves": _whole(1, 100),
    "octaves_above": _whole(0, 99),
    "octave_scale": _number(1.01, 10),
    "detail": _choice(Detail),
    "interpolation": _choice(Interpolation),
    "octave_rounding": _flag,
    "octave_return": _flag,
    "tiling": _choice(Tiling),
    "tile_overlap": _whole(0, 4096),
    "feather": _number(0, 10000),
    "colours": _colours,
    "blend": _number(0, 1),
}


def parse_layer_weights(text: str) -> dict[str, float]:
    """Reads `mixed0=1,mixed2=-0.5`; a name alone weighs 1. Raises SettingsError."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        layer, _, number = (piece.strip() for piece in part.partition("="))
        if not layer or layer in weights:
            raise SettingsError(f"layer weights {text!r}: write each layer once, as in mixed0=1,mixed2=-0.5")
        try:
            weights[layer] = float(number) if number else 1.0
        except ValueError:
            raise SettingsError(f"weight {number!r} of {layer} is no number: write mixed0=1,mixed2=-0.5") from None
    return weights


def parse_layers(text: str) -> dict[str, float]:
    """Reads `mixed3,mixed5`: these layers weigh 1. Raises SettingsError."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names) or "=" in text:
        raise SettingsError(f"layers {text!r}: write each layer once, as in mixed3,mixed5")
    return dict.fromkeys(names, 1.0)


def parse_snapshots(text: str) -> tuple[int, ...]:
    """Reads `100,500,1000`; an empty text means none but the last. Raises SettingsError."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise SettingsError(f"snapshots {text!r}: write numbers of steps, as in 100,500,1000") from None


def settings_from_dict(data: Mapping[str, Any]) -> Settings:
    """The settings that `dataclasses.asdict` wrote, read back from JSON. Raises SettingsError."""
    values = dict(data)
    unknown = sorted(set(values) - {setting.name for setting in fields(Settings)})
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]!r}: the record is of another version of onnxdream")
    for name in ("snapshots", "channels", "noise", "step_size", "blur"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    try:
        execution = Execution(**values.pop("execution", {}))
        return Settings(execution=execution, **values)
    except TypeError as error:
        raise SettingsError(f"settings cannot be read ({error}): is the record whole?") from None
