"""Measures features: the cost of a step, the time of class pictures, and whether the classifier names them.

`python benchmarks/features.py step` compares a step with the bare gradient. `python benchmarks/features.py classes
FOLDER` draws ten classes with a bundle of EfficientNet-Lite0 with `logits` (`onnxdream export --model lite0 --layers
logits`), with views and without, as JPEG files; `--views crops` and `--views none` draw only the ones or the others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from onnxdream.models.arrays import Pixels
from onnxdream.runtime import Bundle, Execution, Sessions
from onnxdream.runtime.features.drawing.draw import draw
from onnxdream.runtime.features.excitation import most_excited
from onnxdream.runtime.features.feature import Feature, channel_numbers, layer_weights, parse_features
from onnxdream.runtime.features.settings import FeatureSettings
from onnxdream.runtime.image.files import read_picture
from onnxdream.runtime.image.formats.codec import encode_picture
from onnxdream.runtime.image.resizing import resize
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.selection import choose_provider

CLASSES = "207,483,130,340,963,985,388,281,417,972"  # retriever, castle, flamingo, zebra, pizza, daisy, panda, …
CROPS = FeatureSettings(param="maco", views="crops", steps=160)
DRAWINGS = {one.views: one for one in (CROPS, replace(CROPS, views="none", steps=4 * CROPS.steps))}
_ROUNDS = 15
_FIRST = 5  # classes that the classifier may name
_CLASSIFIED = 224  # pixels, the side of the pictures that it was trained on


def compare_steps() -> None:
    """Prints how long a step takes compared with the bare gradient, in turns."""
    machine = choose_provider(Execution()).machine
    for model, feature in (("v3-mid", "mixed4:40"), ("lite0", "block09:1")):
        sessions = Sessions(Bundle.load(model))
        for param in ("fourier", "maco", "pixels"):
            for views in ("affine", "jitter", "none"):
                _compare_steps(sessions, machine, feature, FeatureSettings(param=param, views=views, steps=_ROUNDS))


def _compare_steps(sessions: Sessions, machine: Machine, text: str, settings: FeatureSettings) -> None:
    bundle = sessions.bundle
    features = parse_features(bundle.metadata, [text])
    image = np.zeros((1, 3, settings.size, settings.size), np.float32)
    weights = np.zeros((1, sum(layer.channels for layer in bundle.metadata.layers)), np.float32)
    weights[0, channel_numbers(bundle.metadata, features)] = 1
    session = sessions.get(settings.size, settings.size, machine)
    bare, steps, before = [], [], time.perf_counter()

    def gradient() -> None:
        session.evaluate_batch(image, layer_weights(bundle.metadata, features), weights)

    def on_step(step: object) -> None:
        nonlocal before
        steps.append(time.perf_counter() - before)
        bare.append(_seconds(gradient))
        before = time.perf_counter()

    draw(features, settings, sessions, machine, None, on_step)
    ratio = float(np.median(np.array(steps[2:]) / bare[2:]))
    whole, alone = (1e3 * np.median(seconds[2:]) for seconds in (steps, bare))
    name = f"{bundle.name} {settings.size} px, {settings.param}, {settings.views}"
    print(f"{name}: step {whole:.0f} ms, bare gradient {alone:.0f} ms, ratio {ratio:.2f}", flush=True)


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def draw_classes(folder: Path, drawings: list[FeatureSettings]) -> None:
    """Draws ten classes, and says how long it takes and at which place the classifier names them."""
    machine = choose_provider(Execution()).machine
    bundle = Bundle.load("lite0-logits-imagenet")
    sessions = Sessions(bundle)
    features = parse_features(bundle.metadata, [f"logits:{CLASSES}"])
    folder.mkdir(parents=True, exist_ok=True)
    for settings in drawings:
        named = 0
        for feature in features:
            path = folder / f"{feature.file_stem}-{settings.views}.jpg"
            start = time.perf_counter()
            (drawn,) = draw([feature], settings, sessions, machine)
            seconds = time.perf_counter() - start
            path.write_bytes(encode_picture(drawn.pixels, ".jpg")[0])
            place = _best_place(read_picture(path).pixels, feature, sessions, machine)
            named += place <= _FIRST
            print(f"{feature}, {settings.views}: {seconds:.1f} s, named at place {place}", flush=True)
        print(f"{settings.views}: {named} of {len(features)} are among the first {_FIRST}", flush=True)


def _best_place(picture: Pixels, feature: Feature, sessions: Sessions, machine: Machine) -> int:
    """The best place of a class, from 1, in what the classifier sees on nine crops of half the side."""
    side = picture.shape[0] // 2
    starts = (0, side // 2, side)
    places = []
    for top in starts:
        for left in starts:
            crop = resize(picture[top : top + side, left : left + side], _CLASSIFIED, _CLASSIFIED)
            found = most_excited(crop, sessions, machine, 1000)[feature.layer]
            places.append([one.feature.channel for one in found].index(feature.channel) + 1)
    return min(places)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    subparsers = parser.add_subparsers(dest="what", required=True)
    subparsers.add_parser("step")
    classes = subparsers.add_parser("classes")
    classes.add_argument("folder", type=Path)
    classes.add_argument("--views", choices=DRAWINGS)
    words = parser.parse_args()
    if words.what == "step":
        compare_steps()
    else:
        draw_classes(words.folder, [DRAWINGS[words.views]] if words.views else list(DRAWINGS.values()))


if __name__ == "__main__":
    main()
