"""Makes the pictures of the studio's page: a tile for each look, and the samples.

`python docs/make_tiles.py [NAME...]` makes all tiles, or only those of the looks named. A tile is the middle of a dream
of the cat. The samples are the pictures of `examples/`, shrunk.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from onnxdream import Bundle, dream
from onnxdream.runtime.settings.presets import PRESETS

ROOT = Path(__file__).parents[1]
EXAMPLES, PAGE = ROOT / "examples", ROOT / "studio" / "page"
_DREAMED, _TILE, _SAMPLE = 400, (216, 162), 1024
_LEFT_OUT = 0.14  # of the dream's width on each side


def make_tile(name: str) -> None:
    """Dreams the cat with a look and saves the middle as WebP."""
    look = PRESETS[name]
    bundle = Bundle.load(look.bundle or "")
    pixels = dream(EXAMPLES / "cat.jpg", bundle, look.with_changes({"max_size": _DREAMED})).picture
    side = round(pixels.shape[1] * _LEFT_OUT)
    width = pixels.shape[1] - 2 * side
    height = min(pixels.shape[0], width * _TILE[1] // _TILE[0])
    middle = pixels[(pixels.shape[0] - height) // 2 :][:height, side : side + width]
    tile = cv2.resize(cv2.cvtColor(middle, cv2.COLOR_RGB2BGR), _TILE, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(PAGE / "looks" / f"{name}.webp"), tile, [cv2.IMWRITE_WEBP_QUALITY, 78])


def make_sample(path: Path) -> None:
    pixels = cv2.imread(str(path))
    scale = min(1.0, _SAMPLE / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    cv2.imwrite(str(PAGE / "samples" / path.name), small, [cv2.IMWRITE_JPEG_QUALITY, 88])


def main(names: list[str]) -> None:
    for folder in ("looks", "samples"):
        (PAGE / folder).mkdir(exist_ok=True)
    for name in names or [preset.name for preset in PRESETS.values() if preset.bundle]:
        make_tile(name)
    for path in sorted(EXAMPLES.glob("*.jpg")):
        make_sample(path)


if __name__ == "__main__":
    main(sys.argv[1:])
