"""The settings of a run, under the same names on the command line, in config files and in records."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast, get_args

from ...models.contract import LOGITS
from ..errors import SettingsError
from .kinds import (
    Bytes,
    Choice,
    ColourChoice,
    Flag,
    FloatRange,
    GuideChoice,
    IntRange,
    Kind,
    LayerWeights,
    ListOf,
    NumberedChoice,
    OrNone,
    PictureSize,
    Scheduled,
    Snapshots,
    Text,
    ZeroMeansNone,
    plain,
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

# The groups of options in the command line's help. Options without a group come first.
Panel = Literal["What to dream, and how", "Scales", "The picture", "What to write", "Where to compute"]
_DREAM, _SCALES, _PICTURE, _OUTPUT, _MACHINE = get_args(Panel)

_MAX_STEPS = 1_000_000


@dataclass(frozen=True)
class Description:
    """The description of a setting: its kind, its default and its help, from which options and documentation follow.

    `default_text` states the default for users if it is not `default` itself. `flags` are the names of the option if
    they do not follow from the setting's name. Without `has_option`, the setting is not on the command line.
    """

    kind: Kind
    default: Any
    sentence: str
    panel: Panel | None = None
    flags: tuple[str, ...] = ()
    default_text: str = ""
    has_option: bool = True

    @property
    def shown_default(self) -> str:
        """The default as users read it, and as they would write it if it is a value."""
        if self.default_text:
            return self.default_text
        if isinstance(self.default, bool):
            return str(self.default).lower()
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default))
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def setting(
    default: Any,
    kind: Kind,
    sentence: str,
    panel: Panel | None = None,
    *flags: str,
    is_hashed: bool = True,
    **more: Any,
) -> Any:
    """Returns the field of a dataclass for a setting with a default, see `Description`."""
    description = Description(kind, default, sentence, panel, flags, **more)
    return field(default=default, hash=is_hashed, metadata={"description": description})


def descriptions(settings: type[Any]) -> dict[str, Description]:
    """Returns the descriptions of the settings by name, in order."""
    found = {setting.name: setting.metadata.get("description") for setting in fields(settings)}
    return {name: description for name, description in found.items() if description}


@dataclass(frozen=True)
class Execution:
    """The settings of the computation: what it runs on, and how much of it.

    `threads` is the number of CPU threads, None for one per usable core. `memory` is the memory budget of the whole
    program in bytes, None for half of what the machine or GPU has. `tile_pixels` is the largest number of pixels of a
    tile; None derives it from the memory. `precision` is fp32, bf16 (OpenVINO on a CPU that supports it), or that of an
    fp16 or mixed bundle. `tune` matters to the provider cuda only. Raises SettingsError.
    """

    provider: str = setting(
        "auto",
        NumberedChoice(ProviderName, numbered=("cuda", "tensorrt")),
        "What onnxruntime computes on (its execution provider): cpu or openvino on a CPU; cuda or tensorrt on an "
        "NVIDIA GPU, cuda:1 on the second one; or auto, which is cuda if it works here, else openvino, else cpu.",
        _MACHINE,
    )
    threads: int | None = setting(
        None, OrNone(IntRange(1, 1024)), "Number of CPU threads.", _MACHINE, default_text="one for each core"
    )
    memory: int | None = setting(
        None,
        OrNone(Bytes(1, 2**50)),
        "Memory that the whole program may take, as in 1GB; a picture that needs more is computed in tiles.",
        _MACHINE,
        default_text="half of the machine's or the GPU's",
    )
    tile_pixels: int | None = setting(
        None,
        OrNone(IntRange(1, 2**40)),
        "Largest number of pixels of a tile.",
        _MACHINE,
        default_text="follows from memory",
        has_option=False,
    )
    precision: Precision = setting(
        "fp32",
        Choice(Precision),
        "Number format of the computation: fp32; bf16 with OpenVINO; fp16 or mixed with a bundle exported in it.",
        _MACHINE,
        default_text="the bundle's, usually fp32",
    )
    tune: bool = setting(
        False,
        Flag(),
        "On the provider cuda, prepare each size longer for faster steps: cuDNN times its algorithms, and the gradient "
        "becomes a CUDA graph. The last digits then differ from run to run.",
        _MACHINE,
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def provider_name(self) -> ProviderName:
        """The provider without the number of a GPU."""
        return cast(ProviderName, self.provider.split(":")[0])

    @property
    def card(self) -> int:
        """CUDA's number of the GPU, 0 for the first."""
        return int(self.provider.partition(":")[2] or 0)


@dataclass(frozen=True)
class Settings:
    """The settings of a dream; the defaults are those of the preset `paper`. Raises SettingsError.

    `step_size` is in units of the range -1 to 1. It and `blur` may be pairs, which change linearly from an
    octave's first step to its last. `layer_weights` None maximises all layers with weight 1. `channels` are texts
    (`mixed2:12,-40`), and so are `position` (`mixed4:0.5,0.25,0.1`), `pick` (`strongest:5`) and
    `classes` (`207,castle`). `max_loss` and `plateau` (a number of steps without a gain of
    0.1 %) end an octave early. `max_size` None leaves the picture in its size. For `detail` and `interpolation` see
    `image/octaves.py`; `pyramid` shrinks bilinearly from octave to octave.

    NumPy's numbers and arrays are taken, and lists where tuples are meant; they are stored as plain Python values.
    Settings can be compared and hashed.
    """

    steps: int = setting(1000, IntRange(1, _MAX_STEPS), "Number of steps, the updates of the picture, in each octave.")
    step_size: Schedule = setting(
        0.0005,
        Scheduled(FloatRange(1e-9, 1e9)),
        "Step size in units of the input range -1 to 1; 0.003 is gentle, 0.02 is strong. 0.03:0.012 goes from the "
        "first value at an octave's first step to the second at its last.",
    )
    max_size: int | None = setting(
        512,
        ZeroMeansNone(IntRange(1, 65536)),
        "Longer side in pixels that larger pictures are shrunk to; 0 keeps the original size.",
    )
    layer_weights: Mapping[str, float] | None = setting(
        None,
        OrNone(LayerWeights()),
        "Layers to maximise with their weights, as in mixed0=1,mixed2=-0.5; a negative weight minimises a layer, and "
        "all other layers are left out. The weight follows the last =, since a layer's name may have some.",
        _DREAM,
        default_text="1 for every layer",
        is_hashed=False,  # a dict has no hash; equal settings have equal hashes without it, too
    )
    normalization: Normalization = setting(
        "minmax",
        Choice(Normalization),
        "How pixel values are mapped to the network's input range: minmax stretches the picture's darkest and "
        "brightest values to it (eq. 1 of the paper), backbone maps black and white to it.",
        _PICTURE,
    )
    gradient_norm: GradientNorm = setting(
        "std",
        Choice(GradientNorm),
        "What the gradient is divided by in each step: its standard deviation (std), root mean square (l2), mean "
        "absolute value (mean-abs), or nothing (none).",
        _DREAM,
    )
    snapshots: tuple[int, ...] = setting(
        (100, 500, 1000),
        Snapshots(IntRange(1, 100 * _MAX_STEPS)),
        "Also save the picture after these numbers of steps, as in 100,500, and after the last step; none turns this "
        "off.",
        _OUTPUT,
    )
    full_size: bool = setting(
        False,
        Flag(),
        "Enlarge what the dream changed and apply it to the picture in its original size.",
        _PICTURE,
        "--full-size",
    )
    seed: int = setting(0, IntRange(0, 2**32 - 1), "Random seed of the jitter and of noise.", _DREAM)
    noise: tuple[int, int] | None = setting(
        None,
        OrNone(PictureSize()),
        "Dream from random noise of this size instead of a picture, as in 512x384.",
        _PICTURE,
        default_text="none",
    )
    channels: tuple[str, ...] = setting(
        (),
        ListOf(Text()),
        "Maximise only these channels of a layer, as in mixed2:12,-40; a minus sign minimises a channel. Repeat the "
        "option for other layers.",
        _DREAM,
        default_text="all",
    )
    classes: str | None = setting(
        None,
        OrNone(Text()),
        'Maximise the scores of these classes, by number or name, as in 207,castle or "golden retriever,-281"; a minus '
        "sign minimises a class. Needs a bundle with the layer logits, which is then the only one unless --layers "
        "names others.",
        _DREAM,
        default_text="none",
    )
    pick: str | None = setting(
        None,
        OrNone(Text()),
        "Maximise only the channels of each layer that respond most or least to the picture, as in strongest:5 or "
        "weakest:5.",
        _DREAM,
        default_text="all",
    )
    position: tuple[str, ...] = setting(
        (),
        ListOf(Text()),
        "Maximise only what a layer sees around a place, as in mixed4:0.5,0.25,0.1: y, x and a radius as parts of the "
        "picture; without the radius, the nearest neuron alone. --jitter moves the picture below it. Repeat the option "
        "for other layers.",
        _DREAM,
        default_text="the whole picture",
    )
    guide_by: str = setting(
        "surplus",
        GuideChoice(),
        "How a guide counts: surplus maximises the channels that respond more to it than to the picture; cosine turns "
        "the picture's channel means towards the guide's; caricature exaggerates what both share, more strictly with "
        "caricature:4 than with caricature:2, which is caricature. Without a guide, it exaggerates the picture itself.",
        _DREAM,
    )
    until: tuple[str, ...] = setting(
        (),
        ListOf(Text()),
        "End an octave when a channel's mean reaches a value, as in mixed4:40=0.8. Repeat the option for other "
        "channels, all of which must then reach theirs.",
        _DREAM,
        default_text="none",
    )
    max_loss: float | None = setting(
        None,
        OrNone(FloatRange(-1e30, 1e30)),
        "End an octave when its loss (the value that is maximised) exceeds this.",
        _DREAM,
        default_text="no limit",
    )
    plateau: int | None = setting(
        None,
        OrNone(IntRange(1, _MAX_STEPS)),
        "End an octave when its loss has not grown by 0.1 % for this number of steps.",
        _DREAM,
        default_text="off",
    )
    jitter: int = setting(
        0,
        IntRange(0, 65536),
        "Shift the picture at random by up to this number of pixels, wrapping around, before each gradient, and back "
        "after it.",
    )
    blur: Schedule = setting(
        0.0,
        Scheduled(FloatRange(0, 1000)),
        "Gaussian blur of the gradient, sigma in pixels, for softer strokes. 1.6:0.5 goes from the first value at an "
        "octave's first step to the second at its last.",
        _DREAM,
    )
    laplacian: int = setting(
        0,
        IntRange(0, 16),
        "Give coarse and fine shapes the same strength: the number of frequency bands (levels of a Laplacian pyramid) "
        "that the gradient is split into; 0 is off.",
        _DREAM,
    )
    tv: float = setting(
        0.0, FloatRange(0, 1e6), "Strength of the total-variation penalty, which removes speckle; 0 is off.", _DREAM
    )
    l2: float = setting(
        0.0,
        FloatRange(0, 1e6),
        "Strength of the L2 penalty, which pulls pixels towards the middle of their range; 0 is off.",
        _DREAM,
    )
    stay: float = setting(
        0.0,
        FloatRange(0, 1),
        "Strength of the pull towards the original picture, so that a photograph stays recognisable: 0.2 is gentle, 1 "
        "holds it close; 0 is off.",
        _DREAM,
    )
    optimizer: OptimizerName = setting(
        "plain",
        Choice(OptimizerName),
        "How a step uses earlier gradients: plain not at all, momentum by their decaying sum, adam by their running "
        "means.",
        _DREAM,
    )
    momentum: float = setting(
        0.9,
        FloatRange(0, 0.9999),
        "Decay of earlier gradients with the optimizers momentum and adam; larger values remember longer.",
        _DREAM,
    )
    clip: bool = setting(
        True, Flag(), "Keep the picture within its range of values after each step.", _DREAM, "--clip/--no-clip"
    )
    octaves: int = setting(
        1,
        IntRange(1, 100),
        "Number of octaves: the sizes at which the picture is dreamed, one after the other, smallest first.",
    )
    octaves_above: int = setting(0, IntRange(0, 99), "How many of the --octaves are larger than the picture.", _SCALES)
    octave_scale: float = setting(
        1.4, FloatRange(1.01, 10), "Ratio between the size of an octave and that of the one before.", _SCALES
    )
    detail: Detail = setting(
        "before",
        Choice(Detail),
        "When detail that a smaller octave cannot show is restored: before the next octave's steps, after them, or "
        "none of it.",
        _SCALES,
    )
    interpolation: Interpolation = setting(
        "area",
        Choice(Interpolation),
        "How the picture is shrunk to the octaves: area averages pixels, linear interpolates, pyramid interpolates "
        "from each octave to the next smaller one.",
        _SCALES,
        has_option=False,
    )
    octave_rounding: bool = setting(
        False,
        Flag(),
        "Reduce the image to the 8 or 16 bits of the picture after each octave.",
        _SCALES,
        has_option=False,
    )
    octave_return: bool = setting(
        False, Flag(), "Return the result in the picture's size, not in the last octave's.", _SCALES, has_option=False
    )
    tiling: Tiling = setting(
        "blended",
        Choice(Tiling),
        "How a picture is cut into tiles: blended ones overlap and fade into each other, tutorial ones are those of "
        "TensorFlow's tutorial.",
        _SCALES,
        has_option=False,
    )
    global_tiles: bool = setting(
        False,
        Flag(),
        "Compute layers that see the whole picture, such as logits, in tiles too where the memory asks for it: "
        "each tile then counts as a picture of its own.",
        _MACHINE,
        "--global-tiles",
    )
    tile_overlap: int = setting(
        64,
        IntRange(0, 4096),
        "Least number of pixels that neighbouring tiles overlap by, where there are tiles; at most half of a tile.",
        _SCALES,
    )
    feather: float = setting(
        0.0, FloatRange(0, 10000), "Gaussian blur of the mask, sigma in pixels, for a softer edge.", _PICTURE
    )
    colours: str = setting(
        "free",
        ColourChoice(),
        "Colours of the dream: free (any), own (those of the picture), own:0.7 (a mix of 0.7 own and 0.3 free), "
        "imagenet (those of photographs in general), or lightness (only light and dark change).",
        _PICTURE,
        "--colours",
        "--colors",
    )
    blend: float = setting(
        1.0, FloatRange(0, 1), "Share of the dream in the result: 1 is the dream, 0 the picture.", _PICTURE
    )
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        check(self)
        if not isinstance(self.execution, Execution):
            raise SettingsError(f'execution must be as in Execution(provider="cpu"), not {self.execution!r}')
        if self.octaves_above >= self.octaves:
            raise SettingsError(
                f"octaves above ({self.octaves_above}) must be fewer than octaves ({self.octaves}), which count them"
            )
        chosen = [name for name in ("channels", "classes", "pick") if getattr(self, name)]
        if len(chosen) > 1:
            raise SettingsError(f"{chosen[0]} and {chosen[1]} contradict each other: give one of them")
        if self.stay and self.noise:
            raise SettingsError("noise has no original picture to stay close to: leave out stay, or give a picture")

    def weights_of(self, layers: tuple[str, ...]) -> list[float]:
        """Returns the weight of each layer of a bundle. A layer that is not named has weight 0.

        If channels or classes are chosen but no layers, the layers of the channels have weight 1. Raises SettingsError
        for unknown layers, for channels of a layer without weight, and if all weights are 0.
        """
        of_channels = [text.rpartition(":")[0] for text in self.channels] + ([LOGITS] if self.classes else [])
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


_NAMES = {setting.name for setting in fields(Settings)}


def require_known(names: Iterable[str]) -> None:
    """Raises SettingsError, with the nearest names, for a name that is not a setting's."""
    for name in names:
        if not isinstance(name, str):
            raise SettingsError(f"a setting is named by a text, not by {name!r}")
        if name in descriptions(Execution):
            raise SettingsError(f"{name} is a setting of the computation: write execution=Execution({name}=…)")
        if name not in _NAMES:
            near = difflib.get_close_matches(name, sorted(_NAMES), n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "see docs/settings.md for all settings"
            raise SettingsError(f"unknown setting {name!r}: {hint}")


def settings_from_dict(data: Mapping[str, Any]) -> Settings:
    """Returns the settings in a dict that `dataclasses.asdict` wrote and JSON may have kept. Raises SettingsError."""
    values = dict(data)
    unknown = sorted(set(values) - _NAMES)
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]!r}: another version of onnxdream wrote the record")
    try:
        execution = Execution(**values.pop("execution", {}))
        return Settings(execution=execution, **values)
    except TypeError as error:
        raise SettingsError(f"settings cannot be read ({error}): the record may be damaged") from None


def check(settings: Any) -> None:
    """Replaces the values of settings by plain ones, which records can hold. Raises SettingsError."""
    for name, description in descriptions(type(settings)).items():
        value = description.kind.checked(name.replace("_", " "), plain(getattr(settings, name)))
        object.__setattr__(settings, name, value)
