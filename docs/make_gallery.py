"""Makes docs/gallery.md with its pictures, and those of docs/methods.md: `python docs/make_gallery.py [NAME...]`.

Every entry is one command on a built-in bundle; what it shows is what the command makes, shrunk to a JPEG. A sheet is
several of them beside each other. With names, only those pictures are made anew.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from onnxdream.runtime.settings.presets import DEFAULT_LOOK, PRESETS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "gallery"
MASK = FOLDER / "mask.png"
PHOTO = "examples/rocket.jpg"
_BRUSH = "--octaves 5 --octave-scale 1.3 --steps 12 --step-size 0.03:0.012 --blur 1.6:0.5 --jitter 16 --colours own"
_MID = f"--model v3-mid-l2 --layers mixed3 {_BRUSH}"
_MAX_SIDE = 640


@dataclass(frozen=True)
class Entry:
    """One picture: its name, what it shows, and the command behind `python cli.py dream`."""

    name: str
    text: str
    command: str


@dataclass(frozen=True)
class Sheet:
    """Pictures beside each other, `columns` in a row, each with a label and its command; an empty command shows the
    undreamed photograph."""

    name: str
    pictures: tuple[tuple[str, str], ...]
    columns: int


LOOKS = tuple(
    Entry(preset.name, preset.sentence, f"{PHOTO} --preset {preset.name}")
    for preset in PRESETS.values()
    if preset.bundle
)
METHODS = (
    Entry(
        "paper",
        "The paper's plain ascent: one scale, no jitter, 1000 small steps.",
        "examples/bears.jpg --preset paper --max-size 384",
    ),
    Entry("tutorial", "TensorFlow's tutorial: 100 larger steps.", f"{PHOTO} --preset tutorial"),
    Entry("octaves", "Its octaves: shapes of several sizes.", f"{PHOTO} --preset tutorial-octaves"),
    Entry(
        "caffe",
        "Google's first DeepDream: the squares of one layer, in four octaves of ten steps.",
        "examples/penguins.jpg --preset caffe",
    ),
    Entry(
        "layer", "One layer alone, in five octaves, with schedules and the picture's own colours.", f"{PHOTO} {_MID}"
    ),
    Entry(
        "above",
        "Octaves above the picture's size: the dream is larger than the picture came in.",
        f"examples/penguins.jpg --max-size 320 {_MID} --octaves-above 2",
    ),
    Entry(
        "signs",
        "One layer up, another down.",
        f"{PHOTO} --model v3-mid-l2 --layer-weights mixed4=1,mixed1=-0.5 {_BRUSH}",
    ),
    Entry("channel", "A single channel.", f"examples/bears.jpg --model v3-mid-l2 --channels mixed4:717 {_BRUSH}"),
    Entry(
        "strongest",
        "The three channels of a layer that the picture excites most.",
        f"examples/penguins.jpg {_MID} --pick strongest:3",
    ),
    Entry("weakest", "The twenty that it excites least.", f"examples/penguins.jpg {_MID} --pick weakest:20"),
    Entry(
        "guide",
        "Guided: what the rocket's picture has more of, dreamed into the bears.",
        f"examples/bears.jpg {_MID} --guide {PHOTO}",
    ),
    Entry(
        "laplacian",
        "The gradient's bands evened out: coarse shapes climb as fast as fine ones.",
        "examples/penguins.jpg --model v3-mid --layers mixed3,mixed5 --laplacian 4 --octaves 4 --steps 15 "
        "--step-size 0.02 --jitter 16 --colours own",
    ),
    Entry("tv", "Total variation pulls against fine grain.", f"{PHOTO} --model v3-low {_BRUSH} --tv 0.05"),
    Entry(
        "adam",
        "Adam: every pixel moves at its own pace.",
        "examples/bears.jpg --model v3-mid --layers mixed4 --optimizer adam --octaves 4 --steps 15 "
        "--step-size 0.03:0.01 --blur 1 --jitter 16 --colours own",
    ),
    Entry(
        "mask",
        "Only where a mask is white, its edge softened.",
        f"examples/bears.jpg {_MID} --mask docs/gallery/mask.png --feather 40",
    ),
    Entry("blend", "Half dream, half picture.", f"{PHOTO} {_MID} --blend 0.5"),
    Entry(
        "noise",
        "From noise: what a layer sees where there is nothing.",
        "--noise 480x360 --model v3-mid --layers mixed4 --detail none --colours imagenet --octaves 7 "
        "--octave-scale 1.3 --steps 14 --step-size 0.04:0.015 --blur 1.6:0.5 --jitter 16",
    ),
    Entry(
        "tiles",
        "The whole picture, 1200 by 900 pixels, in 500 MB: tiles without seams.",
        f"examples/penguins.jpg {_MID} --max-size 0 --memory 500MB",
    ),
)
SHEETS = (
    Sheet(
        "hero",
        (("examples/rocket.jpg", ""), (f"--preset {DEFAULT_LOOK}", f"{PHOTO} --preset {DEFAULT_LOOK}")),
        2,
    ),
    Sheet(
        "colours",
        (
            ("the photograph", ""),
            ("--colours free", f"{PHOTO} {_MID} --colours free"),
            ("--colours own", f"{PHOTO} {_MID} --colours own"),
            ("--colours own:0.7", f"{PHOTO} {_MID} --colours own:0.7"),
            ("--colours imagenet", f"{PHOTO} {_MID} --colours imagenet"),
            ("--colours lightness", f"{PHOTO} {_MID} --colours lightness"),
        ),
        3,
    ),
    Sheet(
        "schedules",
        tuple(
            (options, f"{PHOTO} {_MID} {options}")
            for options in (
                "--step-size 0.03 --blur 0.5",
                "--step-size 0.012 --blur 1.6",
                "--step-size 0.03:0.012 --blur 1.6:0.5",
            )
        ),
        3,
    ),
    Sheet(
        "looks", tuple((f"--preset {look.name}", f"examples/penguins.jpg --preset {look.name}") for look in LOOKS), 3
    ),
)


def main(names: list[str]) -> None:
    """Makes the pictures of these names, or all, and the page."""
    FOLDER.mkdir(exist_ok=True)
    _draw_mask()
    for entry in (*LOOKS, *METHODS):
        if not names or entry.name in names:
            _save(entry.name, _fitted(_dreamed(entry.command), _MAX_SIDE))
    for sheet in SHEETS:
        if not names or sheet.name in names:
            _save(sheet.name, _laid_out(sheet))
    page = [
        "# Gallery",
        "",
        "Made by `python docs/make_gallery.py`, on built-in bundles. Credits: [NOTICE](../NOTICE).",
        "",
    ]
    for title, entries in (("Looks", LOOKS), ("Ways of dreaming", METHODS)):
        page += [f"## {title}", ""]
        for entry in entries:
            page += [
                f"### {entry.name}",
                "",
                entry.text,
                "",
                "```bash",
                f"python cli.py dream {entry.command}",
                "```",
                "",
            ]
            page += [f"![{entry.text}](gallery/{entry.name}.jpg)", ""]
    (ROOT / "docs" / "gallery.md").write_text("\n".join(page), encoding="utf-8")


def _dreamed(command: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "dream.png"
        words = [sys.executable, "cli.py", "dream", *shlex.split(command), "--snapshots=", "--output", str(output)]
        subprocess.run(words, cwd=ROOT, check=True)
        return cv2.imread(str(output))


def _laid_out(sheet: Sheet) -> Any:
    """The pictures in rows, each in a tile of one width with its label below."""
    pictures = [_dreamed(command) if command else cv2.imread(str(ROOT / PHOTO)) for _, command in sheet.pictures]
    width = 1200 // sheet.columns
    height = round(pictures[0].shape[0] * width / pictures[0].shape[1])
    tiles = []
    for picture, (label, _) in zip(pictures, sheet.pictures, strict=True):
        picture = cv2.resize(picture, (width - 6, height), interpolation=cv2.INTER_AREA)
        tile = cv2.copyMakeBorder(picture, 0, 30, 3, 3, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        cv2.putText(tile, label, (6, height + 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA)
        tiles.append(tile)
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % sheet.columns)
    rows = [np.hstack(tiles[start : start + sheet.columns]) for start in range(0, len(tiles), sheet.columns)]
    return np.vstack(rows)


def _fitted(picture: Any, longest: int) -> Any:
    scale = min(1.0, longest / max(picture.shape[:2]))
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _save(name: str, picture: Any) -> None:
    cv2.imwrite(str(FOLDER / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


def _draw_mask() -> None:
    """White where the middle bear stands in examples/bears.jpg."""
    mask = np.zeros((900, 1200), np.uint8)
    cv2.ellipse(mask, (640, 690), (190, 320), 0, 0, 360, 255, -1)
    cv2.imwrite(str(MASK), mask)


if __name__ == "__main__":
    main(sys.argv[1:])
