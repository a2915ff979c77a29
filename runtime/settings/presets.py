"""Presets: looks for photographs, the paper, and classic DeepDream programs, each with the layers it is made for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...models.assembly import BUILT_IN
from ...models.contract import Metadata, export_command
from ..errors import SettingsError
from .settings import Precision, Settings, require_known


@dataclass(frozen=True)
class Preset:
    """A named set of settings, and the bundle that they are made for.

    `layers` have weight 1 unless the settings give other weights, and all other layers of the bundle have weight 0.
    `objective` and `border` are those of the bundle. `bundle` names the built-in bundle of a look, which is a preset
    made for photographs. `sentence` describes the preset to users: what its dreams look like, or where its settings
    come from.
    """

    name: str
    sentence: str
    settings: Settings
    layers: tuple[str, ...]
    objective: str = "mean"
    border: int = 0
    bundle: str | None = None

    @property
    def made_for(self) -> str:
        """The bundle that the preset is made for, in words."""
        if self.bundle is not None:
            return f"photographs, on {self.bundle}"
        return f"Inception-v3, {', '.join(self.layers)}" + (f" ({self.objective})" if self.objective != "mean" else "")

    @property
    def backbone(self) -> str:
        """The backbone that has the preset's layers: that of its built-in bundle, and Inception-v3 for the classics."""
        return next((built_in.backbone for built_in in BUILT_IN if built_in.name == self.bundle), "v3")

    @property
    def built_in(self) -> str | None:
        """The name of a built-in bundle that has the preset's layers and objective, if there is one."""
        for built_in in BUILT_IN:
            if set(self.layers) <= set(built_in.layers) and built_in.objective == self.objective:
                return self.bundle or built_in.name
        return None

    def export_command(self, precision: Precision = "fp32") -> str:
        """Returns the command that exports a bundle for the preset in a precision."""
        return export_command(
            self.backbone, self.layers, objective=self.objective, border=self.border, precision=precision
        )

    def is_made_for(self, bundle: Metadata) -> bool:
        """Whether a bundle has the preset's layers, objective and border."""
        has_layers = set(self.layers) <= set(bundle.layer_names)
        return has_layers and (bundle.objective, bundle.border) == (self.objective, self.border)

    def with_changes(self, changes: Mapping[str, Any]) -> Settings:
        """Returns the preset's settings with some of them changed.

        Changes that choose layers or channels replace the preset's layers and channels. Raises SettingsError.
        """
        require_known(changes)
        objective: dict[str, Any] = {"layer_weights": self.settings.layer_weights or dict.fromkeys(self.layers, 1.0)}
        if changes.get("channels") or changes.get("classes"):
            objective["layer_weights"] = None
        if "layer_weights" in changes or changes.get("pick") or changes.get("classes"):
            objective["channels"] = ()
        return replace(self.settings, **{**objective, **changes})


_TUTORIAL = Settings(
    steps=100, step_size=0.01, max_size=500, normalization="backbone", interpolation="linear", detail="none"
)

_CLASSICS = (
    # Eq. 1 and eq. 2 of the paper; it does not state a step size, so this one is ours.
    Preset(
        "paper", "The paper's plain ascent: 1000 small steps at one scale.", Settings(), ("mixed0", "mixed1", "mixed2")
    ),
    # tensorflow.org/tutorials/generative/deepdream: its simple loop, its octaves, and its tiles, which leave out parts
    # of the picture in each step.
    Preset("tutorial", "The simple loop of TensorFlow's DeepDream tutorial.", _TUTORIAL, ("mixed3", "mixed5")),
    Preset(
        "tutorial-octaves",
        "The octaves of TensorFlow's DeepDream tutorial.",
        replace(
            _TUTORIAL, steps=50, octaves=5, octaves_above=2, octave_scale=1.3, octave_rounding=True, octave_return=True
        ),
        ("mixed3", "mixed5"),
    ),
    Preset(
        "tutorial-tiled",
        "The tiled octaves of TensorFlow's DeepDream tutorial.",
        replace(_TUTORIAL, octaves=5, octaves_above=2, octave_scale=1.3, jitter=512, tiling="tutorial"),
        ("mixed3", "mixed5"),
    ),
    # keras.io/examples/generative/deep_dream
    Preset(
        "keras",
        "The DeepDream example in Keras's documentation.",
        Settings(
            steps=20,
            step_size=0.01,
            normalization="backbone",
            gradient_norm="mean-abs",
            clip=False,
            octaves=3,
            octave_scale=1.4,
            detail="after",
            interpolation="linear",
            max_loss=15.0,
            layer_weights={"mixed4": 1.0, "mixed5": 1.5, "mixed6": 2.0, "mixed7": 2.5},
        ),
        ("mixed4", "mixed5", "mixed6", "mixed7"),
        "l2",
        2,
    ),
    # google/deepdream's notebook, on our backbones: its step of 1.5 of 255 levels, in units of the input range.
    Preset(
        "caffe",
        "The notebook of Google's first DeepDream program, in Caffe.",
        Settings(
            steps=10,
            step_size=1.5 / 127.5,
            normalization="backbone",
            gradient_norm="mean-abs",
            jitter=32,
            octaves=4,
            octave_scale=1.4,
            interpolation="pyramid",
        ),
        ("mixed4",),
        "l2",
    ),
)
# The look that is recommended to newcomers.
DEFAULT_LOOK = "creatures"
_BASE_LOOK = Settings(
    steps=12,
    step_size=(0.03, 0.012),
    blur=(1.6, 0.5),
    jitter=16,
    octaves=5,
    octave_scale=1.3,
    colours="own",
    snapshots=(),
)
_CHANNEL_LOOK = replace(_BASE_LOOK, octave_scale=1.4)
_LITE0, _LITE0_HIGH = "lite0", "lite0-high"
_MID, _MID_L2 = "v3-mid", "v3-mid-l2"


def _channel_look(name: str, channel: int, sentence: str) -> Preset:
    """A look of one of EfficientNet-Lite0's channels, which its blocks 8 and 10 share."""
    blocks = "block08", "block10"
    settings = replace(_CHANNEL_LOOK, channels=tuple(f"{block}:{channel}" for block in blocks))
    return Preset(name, sentence, settings, blocks, "l2", bundle=_LITE0)


_LOOKS = (
    Preset(
        "creatures",
        "Furry creatures with bright eyes grow out of everything.",
        replace(_BASE_LOOK, octaves=6, steps=11, step_size=(0.035, 0.012)),
        ("block09", "block10"),
        "l2",
        bundle=_LITE0,
    ),
    Preset(
        "fur",
        "Soft fur and animals' faces appear, and smooth places stay calm.",
        replace(_BASE_LOOK, octaves=6, steps=10, blur=(1.6, 0.4), layer_weights={"block10": 1.0, "block03": -1.0}),
        ("block10", "block03"),
        "l2",
        bundle=_LITE0,
    ),
    Preset(
        "neon",
        "Creatures glow in colours of their own, like a peacock's tail.",
        replace(_BASE_LOOK, octaves=6, steps=11, step_size=(0.04, 0.02), blur=(2.0, 0.7), colours="free"),
        ("block09", "block10"),
        "l2",
        bundle=_LITE0,
    ),
    Preset(
        "leopards",
        "Animals become leopards, and faces and feathers fill the sky.",
        replace(_BASE_LOOK, step_size=(0.035, 0.015)),
        ("block12",),
        "l2",
        bundle=_LITE0_HIGH,
    ),
    Preset(
        "arches",
        "Vaults and pointed arches fill the sky, and animals get a wild cat's coat.",
        replace(
            _BASE_LOOK,
            octaves=6,
            steps=11,
            step_size=(0.035, 0.015),
            layer_weights={"block13": 1.0, "block12": -0.5},
        ),
        ("block13", "block12"),
        "l2",
        bundle=_LITE0_HIGH,
    ),
    _channel_look("towers", 18, "Towers with rows of windows grow upright through the picture, among round clouds."),
    _channel_look("snakes", 66, "Thick, scaly bodies with dark spots wind through the picture."),
    _channel_look(
        "mosaic", 85, "Square stones with a bright pupil in each cover the middle, and fur grows around them."
    ),
    _channel_look("tracery", 64, "Looping lines wind over everything, as in stained glass."),
    _channel_look("tartan", 103, "Smooth places become woven cloth, and faces get round, watchful eyes."),
    _channel_look("starfish", 82, "Arms with dark spots stretch through the picture, as of starfish and corals."),
    Preset(
        "facets",
        "Everything breaks into sharp-edged facets, like cut stone or crumpled foil.",
        replace(_BASE_LOOK, layer_weights={"block03": 1.0, "block06": -0.7}),
        ("block03", "block06"),
        "l2",
        bundle=_LITE0,
    ),
    Preset(
        "woodcut",
        "Bold lines and hatching turn the picture into a woodcut.",
        _BASE_LOOK,
        ("block03",),
        "l2",
        bundle=_LITE0,
    ),
    Preset(
        "braids",
        "Ropes, braids and ladders follow every contour.",
        _BASE_LOOK,
        ("block05",),
        "l2",
        bundle=_LITE0,
    ),
    Preset(
        "beads",
        "Rows of beads and rings of holes cover every surface.",
        replace(_BASE_LOOK, layer_weights={"block07": 1.0, "block05": -0.4}),
        ("block07", "block05"),
        "l2",
        bundle=_LITE0,
    ),
    Preset(
        "feathers",
        "Plumes and long fur flow over everything.",
        replace(_CHANNEL_LOOK, channels=("mixed3:213,162",)),
        ("mixed3",),
        "l2",
        bundle=_MID_L2,
    ),
    Preset(
        "eyes",
        "Clear eyes and rings grow out of smooth surfaces.",
        replace(_BASE_LOOK, octaves=7, steps=10, step_size=(0.035, 0.012)),
        ("mixed3",),
        "l2",
        bundle=_MID_L2,
    ),
    Preset(
        "carved",
        "Contours deepen into carved wood with beads of light.",
        replace(_BASE_LOOK, steps=10),
        ("mixed1",),
        bundle="v3-low",
    ),
    Preset(
        "drapes",
        "Curtains of folded cloth hang over everything.",
        replace(_CHANNEL_LOOK, channels=("mixed4:648",)),
        ("mixed4",),
        bundle=_MID,
    ),
    Preset(
        "spirals",
        "Snail shells and curls roll up everywhere.",
        replace(_CHANNEL_LOOK, octaves=6, steps=10, step_size=(0.035, 0.012), channels=("mixed4:717",)),
        ("mixed4",),
        bundle=_MID,
    ),
    Preset(
        "scales",
        "A net of light lays reptile scales over every surface.",
        replace(_CHANNEL_LOOK, channels=("mixed4:99",)),
        ("mixed4",),
        bundle=_MID,
    ),
    Preset(
        "branches",
        "Frost, lightning and bare branches spread over the picture.",
        replace(_CHANNEL_LOOK, channels=("mixed3:459",)),
        ("mixed3",),
        "l2",
        bundle=_MID_L2,
    ),
    Preset(
        "masks",
        "Carved masks and ornaments look out of sky and stone.",
        replace(_BASE_LOOK, octaves=6, steps=10, layer_weights={"mixed4": 1.0, "mixed5": -1.0}),
        ("mixed4", "mixed5"),
        bundle=_MID,
    ),
    Preset(
        "pearls",
        "Surfaces swell into glossy pearls and drops.",
        replace(_BASE_LOOK, octaves=6, steps=10),
        ("mixed5",),
        "l2",
        bundle=_MID_L2,
    ),
    Preset(
        "opals",
        "Eyes turn into glowing opals, in colours of their own.",
        replace(
            _BASE_LOOK,
            octaves=7,
            steps=10,
            step_size=(0.04, 0.02),
            colours="free",
            layer_weights={"mixed3": 1.0, "mixed4": 0.5},
        ),
        ("mixed3", "mixed4"),
        "l2",
        bundle=_MID_L2,
    ),
    Preset(
        "gentle",
        "A light touch: soft rings and pebbles, and the subject stays itself.",
        replace(_BASE_LOOK, steps=6, step_size=(0.015, 0.006), blur=(2.5, 1.0)),
        ("mixed2", "mixed3"),
        "l2",
        bundle=_MID_L2,
    ),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*_LOOKS, *_CLASSICS)}


def preset(name: str, **changes: Any) -> Settings:
    """Returns a preset's settings with some of them changed. Raises SettingsError."""
    return find_preset(name).with_changes(changes)


def find_preset(name: str) -> Preset:
    """Returns the preset of that name. Raises SettingsError."""
    if not isinstance(name, str) or name not in PRESETS:
        near = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"did you mean {near[0]}" if near else f"choose one of {', '.join(PRESETS)}"
        raise SettingsError(f"unknown preset {name!r}: {hint}; the command `presets` lists all presets")
    return PRESETS[name]


def settings_for_bundle(
    chosen: Preset | None, bundle: Metadata, changes: Mapping[str, Any]
) -> tuple[Settings, str | None]:
    """Returns a preset's settings with changes, for a bundle, and a notice if the bundle has another objective.

    Without a preset, the settings are the paper's ascent on all layers. Raises SettingsError if the bundle lacks the
    preset's layers and the changes do not choose others.
    """
    if chosen is None:
        return replace(PRESETS["paper"].settings, **changes), None
    settings = chosen.with_changes(changes)
    missing = [layer for layer in chosen.layers if layer not in bundle.layer_names]
    if missing and not any(changes.get(name) for name in ("layer_weights", "channels", "classes")):
        fitting = f"--model {chosen.built_in}" if chosen.built_in else f"a bundle made with {chosen.export_command()}"
        raise SettingsError(
            f"preset {chosen.name} maximises {', '.join(chosen.layers)}, and the bundle has no {missing[0]}: "
            f"choose {fitting}, or --layers from {', '.join(bundle.layer_names)}"
        )
    if (bundle.objective, bundle.border) == (chosen.objective, chosen.border):
        return settings, None
    command = chosen.export_command()
    return settings, f"preset {chosen.name} is made for another objective: export a bundle with {command}"
