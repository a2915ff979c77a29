"""The choices of a run: one flat set of names, the same on the command line, in a config file and in a record."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from ..errors import SettingsError
from .kinds import (
    Bytes,
    ColourChoice,
    Flag,
    Integer,
    Kind,
    LayerWeights,
    ListOf,
    Number,
    OneOf,
    OrNone,
    PictureSize,
    Scheduled,
    Snapshots,
    Text,
    ZeroForNone,
)
from .schedule import Schedule

Normalization = Literal["minmax", "backbone"]
GradientNorm = Literal["std", "l2", "mean-abs", "none"]
OptimizerName = Literal["plain", "momentum", "adam"]
Detail = Literal["before", "after", "none"]
Interpolation = Literal["area", "linear", "pyramid"]
Tiling = Literal["blended", "tutorial"]
ProviderName = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
Precision = Literal["fp32", "bf16", "fp16", "mixed"]

# What the settings of the command line's help are grouped by; None is the first group.
Panel = Literal["What to climb, and how", "Scales", "The picture", "What to write", "Where to compute"]
_CLIMB, _SCALES, _PICTURE, _OUTPUT, _MACHINE = get_args(Panel)

_MAX_STEPS = 1_000_000


@dataclass(frozen=True)
class Description:
    """All that is said of a setting: its kind, its help, the panel that it stands in, and the names of its option
    where these are not its own. A setting `of_presets` has no option."""

    kind: Kind
    sentence: str
    panel: Panel | None = None
    flags: tuple[str, ...] = ()
    of_presets: bool = False

    @property
    def help(self) -> str:
        """The sentence, with what the kind accepts where it is left open."""
        return self.sentence if self.sentence.endswith(".") else f"{self.sentence}: {self.kind}."


def _setting(default: Any, kind: Kind, text: str, panel: Panel | None = None, *flags: str, **more: bool) -> Any:
    return field(default=default, metadata={"description": Description(kind, text, panel, flags, **more)})


def described(settings: type[Settings] | type[Execution]) -> dict[str, Description]:
    """The descriptions of settings by name, in their order."""
    found = {one.name: one.metadata.get("description") for one in fields(settings)}
    return {name: description for name, description in found.items() if description}


@dataclass(frozen=True)
class Execution:
    """Where a run is computed.

    `threads` is the number of CPU threads, None for one per usable core. `memory` is the budget in bytes of the whole
    program, None for half of what there is. `tile_pixels` are the pixels of a tile at most; None lets them follow from
    the memory. `precision` is fp32; bf16, which OpenVINO computes in on a CPU that can; or that of an fp16 or mixed
    bundle. Raises SettingsError.
    """

    provider: ProviderName = _setting("auto", OneOf(ProviderName), "Execution provider", _MACHINE)
    threads: int | None = _setting(None, OrNone(Integer(1, 1024)), "CPU threads.", _MACHINE)
    memory: int | None = _setting(None, OrNone(Bytes(1, 2**50)), "Budget of the whole program, as in 1GB.", _MACHINE)
    tile_pixels: int | None = _setting(
        None, OrNone(Integer(1, 2**40)), "Pixels of a tile at most.", _MACHINE, of_presets=True
    )
    precision: Precision = _setting(
        "fp32",
        OneOf(Precision),
        "What to compute in; fp16 and mixed take a bundle of that",
        _MACHINE,
    )

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Settings:
    """How a picture is dreamed; the defaults are the preset `paper`. Raises SettingsError.

    `step_size` is in units of the backbone's range (the values that the network sees); it and `blur` may be pairs,
    which run linearly from an octave's first step to its last. `layer_weights` None climbs all layers with weight 1;
    `channels` are texts ("mixed2:12,-40"), and so is `pick` ("strongest:5"). `max_loss` and `plateau` (steps without a
    gain of 0.1 %) end an octave early. `max_size` None leaves the picture as large as it is. `detail` is put back as
    `image/octaves.py` tells; `interpolation` shrinks bilinearly from octave to octave where it is `pyramid`.
    """

    steps: int = _setting(1000, Integer(1, _MAX_STEPS), "Updates in each octave.")
    step_size: Schedule = _setting(
        0.0005,
        Scheduled(Number(1e-9, 1e9)),
        "In units of the backbone's range; first:last, as in 0.03:0.012.",
    )
    max_size: int | None = _setting(512, ZeroForNone(Integer(1, 65536)), "Longer side in pixels at most; 0: as it is.")
    layer_weights: Mapping[str, float] | None = _setting(
        None, OrNone(LayerWeights()), "As in mixed0=1,mixed2=-0.5; the others get 0.", _CLIMB
    )
    normalization: Normalization = _setting("minmax", OneOf(Normalization), "What the picture is scaled by", _PICTURE)
    gradient_norm: GradientNorm = _setting("std", OneOf(GradientNorm), "What the gradient is divided by", _CLIMB)
    snapshots: tuple[int, ...] = _setting(
        (100, 500, 1000),
        Snapshots(Integer(1, 100 * _MAX_STEPS)),
        "Updates to keep the picture after: 100,500.",
        _OUTPUT,
    )
    full_size: bool = _setting(False, Flag(), "Apply the change to the original.", _PICTURE, "--full-size")
    seed: int = _setting(0, Integer(0, 2**32 - 1), "Of jitter and noise.", _CLIMB)
    noise: tuple[int, int] | None = _setting(
        None, OrNone(PictureSize()), "Dream noise of this size instead of a picture: 512x384.", _PICTURE
    )
    channels: tuple[str, ...] = _setting(
        (), ListOf(Text()), "These channels alone, as in mixed2:12,-40; once for each layer.", _CLIMB
    )
    pick: str | None = _setting(
        None, OrNone(Text()), "Channels that the picture excites: strongest:5 or weakest:5.", _CLIMB
    )
    max_loss: float | None = _setting(None, OrNone(Number(-1e30, 1e30)), "End an octave above this loss.", _CLIMB)
    plateau: int | None = _setting(
        None, OrNone(Integer(1, _MAX_STEPS)), "End an octave after so many steps without gain.", _CLIMB
    )
    jitter: int = _setting(0, Integer(0, 65536), "Roll the picture by up to so many pixels each step.")
    blur: Schedule = _setting(
        0.0, Scheduled(Number(0, 1000)), "Smooth the gradient by so many pixels; or first:last.", _CLIMB
    )
    laplacian: int = _setting(0, Integer(0, 16), "Even out so many bands of the gradient's pyramid.", _CLIMB)
    tv: float = _setting(0.0, Number(0, 1e6), "Pull against speckle (total variation).", _CLIMB)
    l2: float = _setting(0.0, Number(0, 1e6), "Pull against extremes.", _CLIMB)
    optimizer: OptimizerName = _setting("plain", OneOf(OptimizerName), "What makes a step of a gradient", _CLIMB)
    momentum: float = _setting(0.9, Number(0, 0.9999), "Of momentum and adam.", _CLIMB)
    clip: bool = _setting(True, Flag(), "Keep the picture in range at each step.", _CLIMB, "--clip/--no-clip")
    octaves: int = _setting(1, Integer(1, 100), "Scales to dream at, small to large.")
    octaves_above: int = _setting(0, Integer(0, 99), "Octaves that are larger than the picture.", _SCALES)
    octave_scale: float = _setting(1.4, Number(1.01, 10), "From one octave to the next.", _SCALES)
    detail: Detail = _setting("before", OneOf(Detail), "When an octave's lost detail is put back", _SCALES)
    interpolation: Interpolation = _setting(
        "area", OneOf(Interpolation), "How octaves are shrunk", _SCALES, of_presets=True
    )
    octave_rounding: bool = _setting(False, Flag(), "Round to 8 bits between octaves.", _SCALES, of_presets=True)
    octave_return: bool = _setting(False, Flag(), "Return to the picture's size.", _SCALES, of_presets=True)
    tiling: Tiling = _setting("blended", OneOf(Tiling), "How a picture is cut into tiles", _SCALES, of_presets=True)
    tile_overlap: int = _setting(64, Integer(0, 4096), "Pixels that neighbouring tiles share.", _SCALES)
    feather: float = _setting(0.0, Number(0, 10000), "Soften the mask's edge by so many pixels.", _PICTURE)
    colours: str = _setting("free", ColourChoice(), "Where its colours come from", _PICTURE, "--colours", "--colors")
    blend: float = _setting(1.0, Number(0, 1), "Share of the dream in the result, 0 to 1.", _PICTURE)
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        _check(self)
        if self.layer_weights is not None:  # a plain dict of our own: `asdict` takes no other mapping
            object.__setattr__(self, "layer_weights", dict(self.layer_weights))
        if self.octaves_above >= self.octaves:
            raise SettingsError(
                f"octaves above ({self.octaves_above}) must be fewer than octaves ({self.octaves}), which count them"
            )
        if self.channels and self.pick:
            raise SettingsError("channels and pick contradict each other: give one of them")

    def weights_of(self, layers: tuple[str, ...]) -> list[float]:
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


def settings_from_dict(data: Mapping[str, Any]) -> Settings:
    """The settings that `dataclasses.asdict` wrote, read back from JSON. Raises SettingsError."""
    values = dict(data)
    unknown = sorted(set(values) - {setting.name for setting in fields(Settings)})
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]!r}: the record is of another version of onnxdream")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        execution = Execution(**values.pop("execution", {}))
        return Settings(execution=execution, **values)
    except TypeError as error:
        raise SettingsError(f"settings cannot be read ({error}): is the record whole?") from None


def _check(settings: Settings | Execution) -> None:
    for name, description in described(type(settings)).items():
        description.kind.check(name.replace("_", " "), getattr(settings, name))
