"""Makes the pictures of docs/features.md.

`python docs/make_features.py params` draws the same channels with each kind of parameters, `walk` a walk, and `aims` a
guide, a direction and a neuron. With `classes FOLDER`, it puts the class pictures side by side that
`benchmarks/features.py classes FOLDER` has drawn.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from onnxdream.models.arrays import Pixels
from onnxdream.runtime import Bundle, Execution, Sessions
from onnxdream.runtime.features.drawing.draw import draw
from onnxdream.runtime.features.feature import parse_features
from onnxdream.runtime.features.settings import FeatureSettings, ParameterName
from onnxdream.runtime.provider.selection import choose_provider

FOLDER = Path(__file__).parent / "gallery"
CHANNELS = (("lite0", "block09:1"), ("lite0", "block10:47"), ("v3-mid", "mixed4:648"), ("v3-mid", "mixed5:7"))
WALK = ("block09:1,82", "--walk", "7", "--size", "128")
AIMS = (
    ("block10", "--guide", "examples/cat.jpg"),
    ("block10", "--guide", "examples/cat.jpg", "--guide-by", "cosine"),
    ("block10", "--direction", "examples/rocket.jpg,examples/cat.jpg"),
    ("block09:1", "--position", "block09:0.5,0.5"),
)
_SIDE = 224  # pixels of a picture on a sheet
_COLUMNS = 5  # of the classes
_QUALITY = 88


def params() -> None:
    """Draws each channel with each kind of parameters: a row for each kind."""
    machine = choose_provider(Execution()).machine
    rows = []
    for param in get_args(ParameterName):
        row = []
        for model, text in CHANNELS:
            sessions = Sessions(Bundle.load(model))
            features = parse_features(sessions.bundle.metadata, [text])
            (drawn,) = draw(features, FeatureSettings(param=param), sessions, machine)
            row.append(_small(drawn.pixels))
            print(param, text, flush=True)
        rows.append(np.hstack(row))
    _write("features", np.vstack(rows))


def walk() -> None:
    """Draws a walk from one channel to another."""
    _write("walk", _drawn(WALK))


def aims() -> None:
    """Draws a guide in two ways, a direction and a neuron side by side."""
    _write("aims", np.hstack([_small(_drawn(words)) for words in AIMS]))


def _drawn(words: tuple[str, ...]) -> NDArray[np.uint8]:
    """The picture, or the strip of pictures, that the command `features` draws of these words."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "onnxdream", "features", *words, "--model", "lite0", "--output", folder]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        (record,) = Path(folder).glob("*.json")
        found: NDArray[np.uint8] = cv2.imread(str(record.with_suffix(".png")))[..., ::-1]
    return found


def classes(folder: Path) -> None:
    """Puts class pictures side by side, in the order of their names."""
    pictures = [_small(cv2.imread(str(path))[..., ::-1]) for path in sorted(folder.glob("*-crops.jpg"))]
    rows = [np.hstack(pictures[start : start + _COLUMNS]) for start in range(0, len(pictures), _COLUMNS)]
    _write("classes", np.vstack(rows))


def _small(pixels: NDArray[np.uint8] | Pixels) -> NDArray[np.uint8]:
    small: NDArray[np.uint8] = cv2.resize(np.ascontiguousarray(pixels), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return small


def _write(name: str, sheet: NDArray[np.uint8]) -> None:
    path = FOLDER / f"{name}.jpg"
    assert cv2.imwrite(str(path), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


if __name__ == "__main__":
    if sys.argv[1] == "classes":
        classes(Path(sys.argv[2]))
    else:
        {"params": params, "walk": walk, "aims": aims}[sys.argv[1]]()
