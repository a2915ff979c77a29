"""The catalogue: looks, bundles, settings and samples as the page shows them, derived from their descriptions."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, get_args

from ... import __version__
from ...models.errors import OnnxdreamError
from ...models.library import built_in_bundles, bundle_paths
from ...runtime.bundle.bundle import Bundle
from ...runtime.features.built_in import COLUMNS, TILE, BuiltInAtlas, built_in_atlas
from ...runtime.image.formats.container import ContainerError
from ...runtime.image.formats.kinds import read_container
from ...runtime.settings.changes import changes_at
from ...runtime.settings.colours import ColourSource
from ...runtime.settings.kinds import (
    Choice,
    ColourChoice,
    Flag,
    FloatRange,
    GuideChoice,
    IntRange,
    Kind,
    LayerWeights,
    ListOf,
    OrNone,
    Scheduled,
)
from ...runtime.settings.parsing import GuideKind
from ...runtime.settings.presets import DEFAULT_LOOK, PRESETS, Preset
from ...runtime.settings.settings import Description, Settings, descriptions
from ..jobs.choices import REFUSED, Chooser, loaded, model_name
from ..jobs.film import film_form
from ..jobs.job import page_settings

PAGE = Path(__file__).parents[1] / "page"
LOOKS, SAMPLES = PAGE / "looks", PAGE / "samples"
# The settings that the page shows first.
_MAIN = ("steps", "step_size", "octaves", "octave_scale", "max_size", "blur", "jitter", "colours", "blend", "stay")


def catalogue(chooser: Chooser, provider: str, limits: dict[str, int]) -> dict[str, Any]:
    """Returns everything that the page can offer."""
    return {
        "version": __version__,
        "provider": provider,
        "default_look": DEFAULT_LOOK,
        "looks": [look for preset in PRESETS.values() if (look := _look(preset, chooser))],
        "bundles": _bundles(),
        "settings": setting_facts(),
        "samples": samples(),
        "film": film_form(),
        "limits": limits,
    }


def _look(preset: Preset, chooser: Chooser) -> dict[str, Any] | None:
    """A look as the page shows it, or None where no bundle here can dream it."""
    try:
        chosen = chooser.base(preset.name, None)
    except OnnxdreamError:
        return None
    return {
        "name": preset.name,
        "title": _title(preset.name),
        "text": preset.sentence,
        "bundle": chosen.model,
        "settings": page_settings(chosen.settings),
        "tile": f"/api/looks/{preset.name}.webp" if (LOOKS / f"{preset.name}.webp").is_file() else None,
    }


def _title(name: str) -> str:
    words = name.replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def _bundles() -> list[dict[str, Any]]:
    found = []
    for path in (*built_in_bundles(), *bundle_paths()):
        with suppress(OnnxdreamError, OSError):
            found.append(_bundle(loaded(path)))
    return found


def _bundle(bundle: Bundle) -> dict[str, Any]:
    metadata, atlas = bundle.metadata, built_in_atlas(bundle.sha256)
    layers = [
        {
            "name": layer.name,
            "channels": layer.channels,
            "min_size": max(metadata.smallest_size),
            "atlas": _atlas(atlas, layer.name) if atlas else None,
        }
        for layer in metadata.layers
    ]
    return {
        "name": model_name(bundle),
        "title": f"{metadata.backbone}, {metadata.layer_names[0]} to {metadata.layer_names[-1]}",
        "classes": [names.split(",")[0] for names in metadata.class_names],
        "layers": layers,
    }


def _atlas(atlas: BuiltInAtlas, layer: str) -> dict[str, Any] | None:
    if layer not in atlas.layers:
        return None
    drawn = atlas.layers[layer]
    return {
        "picture": f"/api/atlases/{atlas.bundle}/{layer}.webp",
        "tile": TILE,
        "columns": COLUMNS,
        "tiles": list(drawn.tiles),
        "names": drawn.names,
    }


def atlas_sheet(bundle: str, layer: str) -> Path | None:
    """Returns the sheet of a layer of a built-in bundle, or None."""
    for path in built_in_bundles():
        atlas = built_in_atlas(loaded(path).sha256) if path.stem == bundle else None
        if atlas and layer in atlas.layers:
            return atlas.sheet(layer)
    return None


def setting_facts() -> list[dict[str, Any]]:
    """Returns the settings with what a control needs to know of each."""
    return [_setting(name, one) for name, one in descriptions(Settings).items() if name not in REFUSED]


def _setting(name: str, description: Description) -> dict[str, Any]:
    kind = description.kind
    optional = isinstance(kind, OrNone)
    inner = kind.kind if isinstance(kind, OrNone) else kind
    return {
        "name": name,
        "title": _title(name),
        "text": description.sentence,
        **_control(inner),
        "default": kind.write(description.default),
        "optional": optional,
        "changes": changes_at(name),
        "place": "main" if name in _MAIN else "more",
    }


def _control(kind: Kind) -> dict[str, Any]:
    """The kind of a setting, its range and its choices."""
    facts: dict[str, Any] = {"kind": "text", "min": None, "max": None, "choices": None, "pair": False}
    if isinstance(kind, Scheduled):
        return {**facts, "kind": "number", "min": kind.number.minimum, "max": kind.number.maximum, "pair": True}
    if isinstance(kind, FloatRange | IntRange):
        name = "integer" if isinstance(kind, IntRange) else "number"
        return {**facts, "kind": name, "min": kind.minimum, "max": kind.maximum}
    if isinstance(kind, Choice):
        return {**facts, "kind": "choice", "choices": list(get_args(kind.words))}
    if isinstance(kind, ColourChoice):
        return {**facts, "kind": "choice", "choices": list(get_args(ColourSource))}
    if isinstance(kind, GuideChoice):
        return {**facts, "kind": "choice", "choices": list(get_args(GuideKind))}
    if isinstance(kind, Flag):
        return {**facts, "kind": "flag"}
    if isinstance(kind, LayerWeights):
        return {**facts, "kind": "weights"}
    return {**facts, "kind": "list"} if isinstance(kind, ListOf) else facts


@cache
def samples() -> tuple[dict[str, Any], ...]:
    """Returns the pictures that come with the package."""
    found = []
    for path in sorted(SAMPLES.glob("*.jpg")):
        with suppress(ContainerError, OSError):
            header = read_container(path.read_bytes())
            found.append(
                {
                    "name": path.stem,
                    "title": _title(path.stem),
                    "width": header.width,
                    "height": header.height,
                    "picture": f"/api/samples/{path.name}",
                }
            )
    return tuple(found)
