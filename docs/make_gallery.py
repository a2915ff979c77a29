"""Makes docs/gallery.md and its pictures with the embedded default bundle: `python docs/make_gallery.py [NAME...]`.

Every entry is one command; what it shows is what the command makes, shrunk to a JPEG. With names, only those pictures
are made anew.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "gallery"
MASK = FOLDER / "mask.png"
_BRUSH = "--octaves 3 --steps 30 --step-size 0.02 --jitter 16 --blur 0.7"


@dataclass(frozen=True)
class Entry:
    """One picture: its name, what it shows, and the command behind `onnxdream dream`."""

    name: str
    text: str
    command: str


ENTRIES = (
    Entry(
        "paper",
        "The paper's plain ascent: one scale, no jitter, 1000 small steps.",
        "examples/bears.jpg --max-size 384",
    ),
    Entry(
        "tutorial",
        "TensorFlow's tutorial: 100 larger steps.",
        "examples/penguins.jpg --preset tutorial --max-size 384",
    ),
    Entry(
        "octaves",
        "Three octaves, jitter against a grid of its own, and a little smoothing: shapes of several sizes.",
        f"examples/bears.jpg --max-size 480 {_BRUSH}",
    ),
    Entry(
        "above",
        "Octaves above the picture's size: small, then larger than it came in.",
        "examples/penguins.jpg --max-size 320 --octaves 3 --octaves-above 1 --steps 30 --step-size 0.02 --jitter 16",
    ),
    Entry(
        "caffe",
        "In the manner of Caffe's deepdream: 4 octaves, 10 steps each, on the layers of this bundle.",
        "examples/bears.jpg --preset caffe --max-size 480",
    ),
    Entry(
        "layer",
        "One layer alone.",
        f"examples/bears.jpg --max-size 384 --layer-weights mixed0 {_BRUSH}",
    ),
    Entry(
        "signs",
        "One layer up, another down.",
        f"examples/bears.jpg --max-size 384 --layer-weights mixed2=1,mixed0=-2 {_BRUSH}",
    ),
    Entry(
        "channel",
        "A single channel.",
        f"examples/bears.jpg --max-size 384 --layer-weights mixed2 --channels mixed2:12 {_BRUSH}",
    ),
    Entry(
        "strongest",
        "The three channels of each layer that the picture excites most.",
        f"examples/penguins.jpg --max-size 384 --pick strongest:3 {_BRUSH}",
    ),
    Entry(
        "weakest",
        "The twenty that it excites least.",
        f"examples/penguins.jpg --max-size 384 --pick weakest:20 {_BRUSH}",
    ),
    Entry(
        "guide",
        "Guided: what the penguins have more of, dreamed into the bears.",
        f"examples/bears.jpg --max-size 384 --guide examples/penguins.jpg {_BRUSH}",
    ),
    Entry(
        "laplacian",
        "The gradient's bands evened out: coarse shapes climb as fast as fine ones.",
        "examples/penguins.jpg --max-size 384 --laplacian 4 --octaves 3 --steps 20 --step-size 0.02 --jitter 16",
    ),
    Entry(
        "tv",
        "Total variation pulls against speckle.",
        f"examples/bears.jpg --max-size 384 --tv 0.03 {_BRUSH}",
    ),
    Entry(
        "adam",
        "Adam: every pixel moves at its own pace.",
        "examples/bears.jpg --max-size 384 --optimizer adam --steps 60 --step-size 0.01 --jitter 16 --blur 1",
    ),
    Entry(
        "mask",
        "Only where a mask is white, its edge softened.",
        f"examples/bears.jpg --mask docs/gallery/mask.png --feather 40 --max-size 384 {_BRUSH}",
    ),
    Entry(
        "colours",
        "The dream's lightness with the picture's colours.",
        f"examples/penguins.jpg --max-size 384 --colours lightness {_BRUSH}",
    ),
    Entry(
        "blend",
        "Half dream, half picture.",
        f"examples/bears.jpg --max-size 384 --blend 0.5 {_BRUSH}",
    ),
    Entry(
        "noise",
        "From noise: what the layers see where there is nothing.",
        "--noise 384x288 --octaves 4 --steps 40 --step-size 0.03 --jitter 16 --blur 0.7",
    ),
    Entry(
        "tiles",
        "The whole picture, 1200 by 900 pixels, in 500 MB: tiles without seams.",
        f"examples/penguins.jpg --max-size 0 --memory 500MB {_BRUSH}",
    ),
)


def main(names: list[str]) -> None:
    """Makes the pictures of these names, or all, and the page."""
    FOLDER.mkdir(exist_ok=True)
    _draw_mask()
    for entry in ENTRIES:
        if not names or entry.name in names:
            _make(entry)
    page = ["# Gallery", "", "Made by `python docs/make_gallery.py` with the embedded default bundle.", ""]
    for entry in ENTRIES:
        page += [f"## {entry.name}", "", entry.text, "", "```bash", f"python cli.py dream {entry.command}", "```", ""]
        page += [f"![{entry.text}](gallery/{entry.name}.jpg)", ""]
    (ROOT / "docs" / "gallery.md").write_text("\n".join(page), encoding="utf-8")


def _make(entry: Entry) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "dream.png"
        command = [sys.executable, "cli.py", "dream", *shlex.split(entry.command), "--snapshots=", "--output", output]
        subprocess.run([*map(str, command), "--model", "v3-low"], cwd=ROOT, check=True)
        picture = cv2.imread(str(output))
    scale = min(1.0, 640 / max(picture.shape))
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(FOLDER / f"{entry.name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


def _draw_mask() -> None:
    """White where the middle bear stands in examples/bears.jpg."""
    mask = np.zeros((900, 1200), np.uint8)
    cv2.ellipse(mask, (640, 690), (190, 320), 0, 0, 360, 255, -1)
    cv2.imwrite(str(MASK), mask)


if __name__ == "__main__":
    main(sys.argv[1:])
