"""The atlases of the built-in bundles: tiles of each layer's strongest channels, and the names of some of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from ...models.arrays import Floats
from ...models.decoding import decoded_json

FOLDER = Path(__file__).parent / "atlases"
TILE = 96  # pixels, the side of a tile
COLUMNS = 8  # tiles in a row of a sheet


@dataclass(frozen=True)
class DrawnLayer:
    """A layer in an atlas.

    `tiles` are the channels on its sheet, row by row; `natural` the means of all its channels on photographs in
    general, and `names` what the tiles of some channels show.
    """

    tiles: tuple[int, ...]
    natural: tuple[float, ...] = field(repr=False)
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltInAtlas:
    """The atlas of a built-in bundle, whose SHA-256 is `sha256`."""

    bundle: str
    sha256: str
    layers: dict[str, DrawnLayer]

    def natural_means(self, layer: str) -> Floats:
        """Returns the means of a layer's channels on photographs in general, float32 [channels]."""
        return np.array(self.layers[layer].natural, np.float32)

    def name_of(self, layer: str, channel: int) -> str:
        """Returns what the tile of a channel shows, or an empty text."""
        return self.layers[layer].names.get(str(channel), "")

    def sheet(self, layer: str) -> Path:
        """Returns the WebP file with the tiles of a layer."""
        return FOLDER / f"{self.bundle}-{layer}.webp"


@cache
def built_in_atlas(bundle_sha256: str) -> BuiltInAtlas | None:
    """Returns the atlas of the built-in bundle with this SHA-256, if there is one."""
    for path in FOLDER.glob("*.json"):
        atlas = decoded_json(BuiltInAtlas, path.read_text(encoding="utf-8"))
        if atlas.sha256 == bundle_sha256:
            return atlas
    return None
