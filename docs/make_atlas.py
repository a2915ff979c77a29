"""Makes the atlases of the built-in bundles, which are package data, and docs/atlas.md.

`python docs/make_atlas.py PHOTOS WORK` draws, for each layer of v3-mid and lite0, the 64 channels that respond most
strongly to the photographs in the folder PHOTOS, into the folder WORK; a second call continues there. The names of
tiles, which come from looking at them, stay.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from onnxdream.models.arrays import Floats
from onnxdream.runtime import Bundle, Execution, Sessions
from onnxdream.runtime.features.atlas import Atlas
from onnxdream.runtime.features.built_in import COLUMNS, FOLDER, TILE, BuiltInAtlas, DrawnLayer, built_in_atlas
from onnxdream.runtime.features.drawing.draw import batches, draw
from onnxdream.runtime.features.excitation import channel_means
from onnxdream.runtime.features.feature import Feature, channels_of
from onnxdream.runtime.features.settings import FeatureSettings
from onnxdream.runtime.image.files import read_picture
from onnxdream.runtime.image.folders import find_pictures
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.selection import choose_provider

_BUNDLES = ("lite0", "v3-mid")
_DRAWING = FeatureSettings(size=112, steps=48, step_size=0.03)
_TILES = 64  # of a layer
_QUALITY = 47  # of the sheets' WebP
_PAGE = Path(__file__).parent / "atlas.md"


def main(photos: Path, work: Path) -> None:
    """Draws what is missing, and writes the atlases and the page."""
    FOLDER.mkdir(exist_ok=True)
    machine = choose_provider(Execution()).machine
    made = [_atlas(name, photos, work / name, machine) for name in _BUNDLES]
    _PAGE.write_text(_page(made), encoding="utf-8")


def _atlas(name: str, photos: Path, work: Path, machine: Machine) -> BuiltInAtlas:
    bundle = Bundle.load(name)
    sessions = Sessions(bundle)
    natural = np.mean(
        [channel_means(read_picture(Path(path)).pixels, sessions, machine) for path in find_pictures([photos])], axis=0
    )
    earlier = built_in_atlas(bundle.sha256)
    layers: dict[str, DrawnLayer] = {}
    for layer in bundle.metadata.layer_names:
        means = natural[channels_of(bundle.metadata, layer)]
        channels = np.argsort(-means, kind="stable")[:_TILES].tolist()
        features = [Feature(layer, channel) for channel in channels]
        _draw(features, bundle, sessions, machine, work)
        names = earlier.layers[layer].names if earlier else {}
        layers[layer] = DrawnLayer(tuple(channels), tuple(float(f"{mean:.4g}") for mean in means), names)
        _write_sheet([work / f"{feature.file_stem}.png" for feature in features], FOLDER / f"{name}-{layer}.webp")
    atlas = BuiltInAtlas(name, bundle.sha256, layers)
    (FOLDER / f"{name}.json").write_text(f"{json.dumps(asdict(atlas))}\n", encoding="utf-8")
    return atlas


def _draw(features: list[Feature], bundle: Bundle, sessions: Sessions, machine: Machine, work: Path) -> None:
    with Atlas(work, bundle, _DRAWING) as folder:
        for batch in batches(folder.missing(features), _DRAWING, bundle.metadata.smallest_size):
            folder.add(draw(batch, _DRAWING, sessions, machine))
            print(batch[0], flush=True)


def _write_sheet(pictures: list[Path], path: Path) -> None:
    tiles = [cv2.resize(cv2.imread(str(one)), (TILE, TILE), interpolation=cv2.INTER_AREA) for one in pictures]
    rows: list[Floats] = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    width = COLUMNS * TILE
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=128) for row in rows]
    assert cv2.imwrite(str(path), np.vstack(rows), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])


def _page(atlases: list[BuiltInAtlas]) -> str:
    lines = [
        "# Atlas of the built-in bundles",
        "",
        "Each tile is drawn from noise so that one channel responds to it strongly (`features`). A layer's tiles are "
        "the channels that respond most to photographs, in rows of eight; their numbers follow below it. To dream a "
        "channel: `onnxdream dream photo.jpg --model lite0 --channels block09:1`. This page is made by "
        "`docs/make_atlas.py`.",
    ]
    for atlas in atlases:
        lines += ["", f"## {atlas.bundle}"]
        for layer, drawn in atlas.layers.items():
            sheet = f"../runtime/features/atlases/{atlas.sheet(layer).name}"
            lines += ["", f"### {layer}", "", f"![Tiles of {layer}]({sheet})", ""]
            lines += [
                ", ".join(_labelled(drawn, channel) for channel in drawn.tiles[row : row + COLUMNS]) + "  "
                for row in range(0, len(drawn.tiles), COLUMNS)
            ]
    return "\n".join(lines) + "\n"


def _labelled(drawn: DrawnLayer, channel: int) -> str:
    name = drawn.names.get(str(channel), "")
    return f"{channel}{f' **{name}**' if name else ''}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
