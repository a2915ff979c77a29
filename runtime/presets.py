"""Run presets: the paper and the classics of the field, each with the layers and the objective it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..models.contract import Metadata
from .errors import SettingsError
from .settings import Settings


@dataclass(frozen=True)
class Preset:
    """Settings under a name; `layers`, `objective` and `border` are those of the bundle that it is meant for."""

    title: str
    settings: Settings
    layers: tuple[str, ...]
    objective: str = "mean"
    border: int = 0


_TUTORIAL = Settings(
    steps=100, step_size=0.01, max_size=500, normalization="backbone", interpolation="linear", detail="none"
)

PRESETS: dict[str, Preset] = {
    # Eq. 1 and eq. 2 of the paper; the step size is ours, it gives none.
    "paper": Preset("the paper's plain ascent", Settings(), ("mixed0", "mixed1", "mixed2")),
    # tensorflow.org/tutorials/generative/deepdream: its simple loop, its octaves, and its tiles, which leave parts of a
    # picture out at each step.
    "tutorial": Preset("TensorFlow's tutorial", _TUTORIAL, ("mixed3", "mixed5")),
    "tutorial-octaves": Preset(
        "TensorFlow's tutorial, its octaves",
        replace(
            _TUTORIAL, steps=50, octaves=5, octaves_above=2, octave_scale=1.3, octave_rounding=True, octave_return=True
        ),
        ("mixed3", "mixed5"),
    ),
    "tutorial-tiled": Preset(
        "TensorFlow's tutorial, its tiles",
        replace(_TUTORIAL, octaves=5, octaves_above=2, octave_scale=1.3, jitter=512, tiling="tutorial"),
        ("mixed3", "mixed5"),
    ),
    # keras.io/examples/generative/deep_dream
    "keras": Preset(
        "Keras's example",
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
    # google/deepdream's notebook, on our backbones: its 1.5 of 255 in units of the range.
    "caffe": Preset(
        "Caffe's deepdream",
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
}


def preset(name: str, **changes: Any) -> Settings:
    """A preset's settings with some of them changed. Raises SettingsError."""
    return replace(find_preset(name).settings, **changes)


def find_preset(name: str) -> Preset:
    """Raises SettingsError."""
    if name not in PRESETS:
        raise SettingsError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def fitted(chosen: Preset, bundle: Metadata, changes: Mapping[str, Any]) -> tuple[Settings, str | None]:
    """The preset's settings, changed, for a bundle; and a line where the bundle is another than it was made for.

    Layer weights of the preset hold only for a bundle that has its layers.
    """
    settings = chosen.settings
    wanted = (set(chosen.layers), chosen.objective, chosen.border)
    if (set(bundle.layer_names), bundle.objective, bundle.border) == wanted or chosen is PRESETS["paper"]:
        return replace(settings, **changes), None
    if settings.layer_weights and not set(settings.layer_weights) <= set(bundle.layer_names):
        settings = replace(settings, layer_weights=None)
    options = [f"--layers {','.join(chosen.layers)}"]
    options += [f"--objective {chosen.objective}"] if chosen.objective != "mean" else []
    options += [f"--border {chosen.border}"] if chosen.border else []
    notice = f"{chosen.title} climbs other layers; for those: onnxdream export --model v3 {' '.join(options)}"
    return replace(settings, **changes), notice
