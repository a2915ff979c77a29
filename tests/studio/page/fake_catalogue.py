"""The catalogue of the stand-in: this checkout's looks, settings, atlases and pictures."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, get_args

import cv2

from onnxdream.runtime.settings.kinds import Bytes, Choice, Flag, FloatRange, IntRange, ListOf, OrNone, Scheduled
from onnxdream.runtime.settings.presets import DEFAULT_LOOK, PRESETS
from onnxdream.runtime.settings.settings import Settings, descriptions

ROOT = Path(__file__).parents[3]
GALLERY, ATLASES, SAMPLES = ROOT / "docs" / "gallery", ROOT / "runtime" / "features" / "atlases", ROOT / "examples"
MAIN = ("max_size", "octaves", "steps", "step_size", "colours", "blend", "stay")
START = {"octaves", "octave_scale", "seed", "normalization", "detail", "noise", "full_size", "jitter"}


def catalogue() -> dict[str, Any]:
    """What `/api/catalogue` answers, for the test to change."""
    return deepcopy(_catalogue())


@cache
def _catalogue() -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "provider": "cpu (2 threads)",
        "default_look": DEFAULT_LOOK,
        "looks": looks(),
        "bundles": [bundle("lite0", []), bundle("v3-mid", []), bundle("lite0-high", ["castle", "ladybird", "tabby"])],
        "settings": [row(name) for name in descriptions(Settings)],
        "samples": [sample(path) for path in sorted(SAMPLES.glob("*.jpg"))],
        "film": "webp",
        "limits": {"bytes": 67108864, "pixels": 100000000, "queue": 20},
    }


def looks() -> list[dict[str, Any]]:
    found = []
    for look in PRESETS.values():
        if look.bundle is None:
            continue
        settings = asdict(look.with_changes({}))
        del settings["execution"]
        tile = f"/api/looks/{look.name}.webp" if (GALLERY / f"{look.name}.jpg").is_file() else None
        text = {"name": look.name, "title": look.name.capitalize(), "text": look.sentence}
        found.append({**text, "bundle": look.bundle, "settings": json.loads(json.dumps(settings)), "tile": tile})
    return found


def bundle(name: str, classes: list[str]) -> dict[str, Any]:
    source = ATLASES / f"{name}.json"
    record = json.loads(source.read_text(encoding="utf-8"))["layers"] if source.is_file() else {"block12": None}
    layers = [
        {
            "name": layer,
            "channels": len(drawn["natural"]) if drawn else 192,
            "min_size": 32,
            "atlas": drawn and atlas(name, layer, drawn),
        }
        for layer, drawn in record.items()
    ]
    return {"name": name, "title": name, "classes": classes, "layers": layers}


def atlas(bundle_name: str, layer: str, drawn: dict[str, Any]) -> dict[str, Any]:
    link = f"/api/atlases/{bundle_name}/{layer}.webp"
    return {"picture": link, "tile": 96, "columns": 8, "tiles": drawn["tiles"], "names": drawn["names"]}


def row(name: str) -> dict[str, Any]:
    """A setting as the page shows it."""
    description = descriptions(Settings)[name]
    kind, optional = description.kind, False
    if isinstance(kind, OrNone):
        kind, optional = kind.kind, True
    if isinstance(kind, Scheduled):
        kind = kind.number
    kinds = {FloatRange: "number", IntRange: "integer", Bytes: "integer", Choice: "choice", Flag: "flag"}
    found = next((word for class_, word in kinds.items() if isinstance(kind, class_)), None)
    return {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "text": description.sentence,
        "kind": found or ("list" if isinstance(kind, ListOf) else "text"),
        "min": getattr(kind, "minimum", None),
        "max": getattr(kind, "maximum", None),
        "default": json.loads(json.dumps(description.default)),
        "choices": list(get_args(kind.words)) if isinstance(kind, Choice) else None,
        "optional": optional,
        "changes": "start" if name in START else "octave" if name == "max_size" else "step",
        "place": "main" if name in MAIN else "more",
    }


def sample(path: Path) -> dict[str, Any]:
    height, width = cv2.imread(str(path)).shape[:2]
    link = f"/api/samples/{path.stem}.jpg"
    return {"name": path.stem, "title": path.stem.capitalize(), "width": width, "height": height, "picture": link}
