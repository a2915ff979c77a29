"""Makes docs/gallery.md with its pictures, and the pictures of docs/methods.md.

`python docs/make_gallery.py [NAME...]` makes all pictures, or only those named. Each is the result of a command on a
built-in bundle, shrunk and saved as JPEG. A sheet shows several results side by side.
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
CAT = "examples/cat.jpg"
_BRUSH = "--octaves 5 --octave-scale 1.3 --steps 12 --step-size 0.03:0.012 --blur 1.6:0.5 --jitter 16 --colours own"
_MID = f"--model v3-mid-l2 --layers mixed3 {_BRUSH}"
_MAX_SIDE = 640


@dataclass(frozen=True)
class Example:
    """A picture of the gallery: its name, its caption, and the arguments of `onnxdream dream` that make it."""

    name: str
    text: str
    command: str


@dataclass(frozen=True)
class Sheet:
    """Pictures side by side, `columns` in a row.

    `pictures` are pairs of a label and the arguments of `dream`; without arguments `photo` itself is shown.
    """

    name: str
    pictures: tuple[tuple[str, str], ...]
    columns: int
    photo: str = PHOTO


LOOKS = tuple(
    Example(preset.name, preset.sentence, f"{PHOTO} --preset {preset.name}")
    for preset in PRESETS.values()
    if preset.bundle
)
METHODS = (
    Example(
        "paper",
        "The paper's plain gradient ascent: one scale, no jitter, 1000 small steps.",
        "examples/bears.jpg --preset paper --max-size 384",
    ),
    Example("tutorial", "TensorFlow's tutorial: 100 larger steps.", f"{PHOTO} --preset tutorial"),
    Example("octaves", "The tutorial with octaves: shapes of several sizes.", f"{PHOTO} --preset tutorial-octaves"),
    Example(
        "caffe",
        "Google's first DeepDream: the squared activations of one layer, in four octaves of ten steps.",
        "examples/penguins.jpg --preset caffe",
    ),
    Example(
        "layer", "One layer alone, in five octaves, with schedules and the picture's own colours.", f"{PHOTO} {_MID}"
    ),
    Example(
        "above",
        "Octaves above the picture's size: the dream is larger than the picture.",
        f"examples/penguins.jpg --max-size 320 {_MID} --octaves-above 2",
    ),
    Example(
        "signs",
        "One layer's activations maximised, another's minimised.",
        f"{PHOTO} --model v3-mid-l2 --layer-weights mixed4=1,mixed1=-0.5 {_BRUSH}",
    ),
    Example("channel", "A single channel.", f"examples/bears.jpg --model v3-mid-l2 --channels mixed4:717 {_BRUSH}"),
    Example(
        "strongest",
        "The three channels of a layer that the picture activates most.",
        f"examples/penguins.jpg {_MID} --pick strongest:3",
    ),
    Example(
        "weakest", "The twenty channels that it activates least.", f"examples/penguins.jpg {_MID} --pick weakest:20"
    ),
    Example(
        "guide",
        "Guided: features that the rocket's picture has more of, dreamed into the bears.",
        f"examples/bears.jpg {_MID} --guide {PHOTO}",
    ),
    Example(
        "laplacian",
        "Laplacian-pyramid normalisation of the gradient: coarse shapes grow as fast as fine ones.",
        "examples/penguins.jpg --model v3-mid --layers mixed3,mixed5 --laplacian 4 --octaves 4 --steps 15 "
        "--step-size 0.02 --jitter 16 --colours own",
    ),
    Example("tv", "A total-variation penalty suppresses fine grain.", f"{PHOTO} --model v3-low {_BRUSH} --tv 0.05"),
    Example(
        "adam",
        "Adam: every pixel has its own step size.",
        "examples/bears.jpg --model v3-mid --layers mixed4 --optimizer adam --octaves 4 --steps 15 "
        "--step-size 0.03:0.01 --blur 1 --jitter 16 --colours own",
    ),
    Example(
        "mask",
        "Only where a mask is white, with a soft edge.",
        f"examples/bears.jpg {_MID} --mask docs/gallery/mask.png --feather 40",
    ),
    Example("blend", "Half dream, half picture.", f"{PHOTO} {_MID} --blend 0.5"),
    Example(
        "noise",
        "From noise instead of a picture.",
        "--noise 480x360 --model v3-mid --layers mixed4 --detail none --colours imagenet --octaves 7 "
        "--octave-scale 1.3 --steps 14 --step-size 0.04:0.015 --blur 1.6:0.5 --jitter 16",
    ),
    Example(
        "tiles",
        "The picture at its full 1200 by 900 pixels with 500 MB of memory: tiles without seams.",
        f"examples/penguins.jpg {_MID} --max-size 0 --memory 500MB",
    ),
)
SHEETS = (
    Sheet(
        "hero",
        ((CAT, ""), (f"--preset {DEFAULT_LOOK}", f"{CAT} --preset {DEFAULT_LOOK}")),
        2,
        CAT,
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
    Sheet("looks", tuple((f"--preset {look.name}", f"{CAT} --preset {look.name}") for look in LOOKS), 4),
)


def main(names: list[str]) -> None:
    """Makes the pictures with these names, or all pictures, and the page."""
    FOLDER.mkdir(exist_ok=True)
    _draw_mask()
    for example in (*LOOKS, *METHODS):
        if not names or example.name in names:
            _save(example.name, _shrink(_dream(example.command), _MAX_SIDE))
    for sheet in SHEETS:
        if not names or sheet.name in names:
            _save(sheet.name, _compose(sheet))
    page = [
        "# Gallery",
        "",
        "Each command makes the picture below it, with the built-in networks. Credits: [NOTICE](../NOTICE).",
        "",
    ]
    for title, examples in (("Looks", LOOKS), ("Ways of dreaming", METHODS)):
        page += [f"## {title}", ""]
        for example in examples:
            page += [
                f"### {example.name}",
                "",
                example.text,
                "",
                "```bash",
                f"onnxdream dream {example.command}",
                "```",
                "",
            ]
            page += [f"![{example.text}](gallery/{example.name}.jpg)", ""]
    (ROOT / "docs" / "gallery.md").write_text("\n".join(page), encoding="utf-8")


def _dream(command: str) -> Any:
    """Runs `dream` and returns its picture, uint8 [height, width, 3] in OpenCV's order BGR."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "dream.png"
        options = [*shlex.split(command), "--snapshots=", "--output", str(output)]
        subprocess.run([sys.executable, "cli.py", "dream", *options], cwd=ROOT, check=True)
        return cv2.imread(str(output))


def _compose(sheet: Sheet) -> Any:
    """Returns the sheet's pictures in rows, each with its label below, uint8 [height, width, 3] BGR."""
    pictures = [_dream(command) if command else cv2.imread(str(ROOT / sheet.photo)) for _, command in sheet.pictures]
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


def _shrink(picture: Any, max_side: int) -> Any:
    scale = min(1.0, max_side / max(picture.shape[:2]))
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _save(name: str, picture: Any) -> None:
    cv2.imwrite(str(FOLDER / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


def _draw_mask() -> None:
    """Writes a mask that is white where the middle bear is in examples/bears.jpg."""
    mask = np.zeros((900, 1200), np.uint8)
    cv2.ellipse(mask, (640, 690), (190, 320), 0, 0, 360, 255, -1)
    cv2.imwrite(str(MASK), mask)


if __name__ == "__main__":
    main(sys.argv[1:])
