"""The choices of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from .errors import SettingsError

Normalization = Literal["minmax", "backbone"]
GradientNorm = Literal["std", "l2", "mean-abs", "none"]
ProviderName = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]

_MOST_STEPS = 1_000_000


def _require_whole(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise SettingsError(f"{name} must be a whole number from {least} to {most}, not {value!r}")


def _require_number(name: str, value: object, least: float, most: float) -> None:
    if type(value) not in (int, float) or not (math.isfinite(value) and least <= value <= most):  # type: ignore[arg-type, operator]
        raise SettingsError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")


def _require_choice(name: str, value: object, choices: Any) -> None:
    if value not in get_args(choices):
        raise SettingsError(f"{name} must be one of {', '.join(get_args(choices))}, not {value!r}")


@dataclass(frozen=True)
class Execution:
    """Where a run is computed. `threads` is the number of CPU threads, None for one per usable core."""

    provider: ProviderName = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        _require_choice("provider", self.provider, ProviderName)
        if self.threads is not None:
            _require_whole("threads", self.threads, 1, 1024)


@dataclass(frozen=True)
class Settings:
    """How a picture is dreamed; the defaults are the preset `paper`.

    `step_size` is in units of the backbone's range (the values that the network sees). `max_size` bounds the longer
    side in pixels, None leaves the picture as large as it is. `layer_weights` names the layers to climb, None means
    all with weight 1. `snapshots` are the numbers of steps after which a picture is kept besides the last.
    Raises SettingsError.
    """

    steps: int = 1000
    step_size: float = 0.002
    max_size: int | None = 512
    layer_weights: Mapping[str, float] | None = None
    normalization: Normalization = "minmax"
    gradient_norm: GradientNorm = "std"
    snapshots: tuple[int, ...] = (100, 500, 1000)
    full_size: bool = False
    seed: int = 0
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        _require_whole("steps", self.steps, 1, _MOST_STEPS)
        _require_number("step size", self.step_size, 1e-9, 1e9)
        if self.max_size is not None:
            _require_whole("max size", self.max_size, 1, 65536)
        _require_choice("normalization", self.normalization, Normalization)
        _require_choice("gradient norm", self.gradient_norm, GradientNorm)
        for step in self.snapshots:
            _require_whole("snapshot", step, 1, _MOST_STEPS)
        _require_whole("seed", self.seed, 0, 2**32 - 1)
        for layer, weight in (self.layer_weights or {}).items():
            _require_number(f"weight of {layer}", weight, -1e6, 1e6)
        if self.layer_weights is not None:  # a plain dict of our own: `asdict` takes no other mapping
            object.__setattr__(self, "layer_weights", dict(self.layer_weights))

    def vector(self, layers: tuple[str, ...]) -> list[float]:
        """The weight of each layer of a bundle; a layer that is not named has 0. Raises SettingsError."""
        if self.layer_weights is None:
            return [1.0] * len(layers)
        unknown = [layer for layer in self.layer_weights if layer not in layers]
        if unknown:
            raise SettingsError(f"layer {unknown[0]!r} is not in the bundle: it has {', '.join(layers)}")
        weights = [float(self.layer_weights.get(layer, 0.0)) for layer in layers]
        if not any(weights):
            raise SettingsError("all layer weights are 0: give at least one layer another weight")
        return weights

    def snapshot_steps(self) -> tuple[int, ...]:
        """The steps after which a picture is kept: those asked for that the run reaches, and the last."""
        return tuple(sorted({step for step in self.snapshots if step < self.steps} | {self.steps}))


PRESETS: dict[str, Settings] = {
    # Eq. 1 and eq. 2 of the paper; the step size is ours, it gives none.
    "paper": Settings(),
    # TensorFlow's DeepDream tutorial, "simple" loop: x / 127.5 - 1, gradient / std, 0.01, 100 steps, 500 px.
    "tutorial": Settings(steps=100, step_size=0.01, max_size=500, normalization="backbone"),
}


def preset(name: str, **changes: Any) -> Settings:
    """A preset's settings with some of them changed. Raises SettingsError."""
    if name not in PRESETS:
        raise SettingsError(f"unknown preset {name!r}: choose {' or '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)


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


def parse_snapshots(text: str) -> tuple[int, ...]:
    """Reads `100,500,1000`; an empty text means none but the last. Raises SettingsError."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise SettingsError(f"snapshots {text!r}: write numbers of steps, as in 100,500,1000") from None


def settings_from_dict(data: Mapping[str, Any]) -> Settings:
    """The settings that `dataclasses.asdict` wrote, read back from JSON. Raises SettingsError."""
    values = dict(data)
    try:
        execution = Execution(**values.pop("execution", {}))
        values["snapshots"] = tuple(values.get("snapshots", ()))
        _refuse_unknown(values)
        return Settings(execution=execution, **values)
    except TypeError as error:
        raise SettingsError(f"settings cannot be read ({error}): is the record whole?") from None


def _refuse_unknown(values: Mapping[str, Any]) -> None:
    unknown = sorted(set(values) - {setting.name for setting in fields(Settings)})
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]!r}: the record is of another version of onnxdream")
