"""Runs updates in numpy and as a graph, with example settings for every part of an update."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxdream.models.arrays import Floats, Image, size_of
from onnxdream.runtime.ascent.update import Update, new_slots
from onnxdream.runtime.ascent.update_graph import GraphUpdate
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.tensors import Device
from onnxdream.runtime.settings.colours import imagenet_colours, own_colours, parse_colours
from onnxdream.runtime.settings.settings import Settings

CPU = Device(Machine("cpu", 1))
LIMITS = (-1.0, 1.0)


# A part's name -> settings that turn it on; every part needs examples.
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "blur": [
        *({"blur": sigma} for sigma in (0.4, 1.3, 12.0)),
        *({"blur": ends, "steps": 4} for ends in ((1.6, 0.5), (0.0, 3.0), (2.5, 0.0))),
    ],
    "laplacian": [{"laplacian": levels} for levels in (1, 3, 9)],
    "colours": [{"colours": kind} for kind in ("own", "own:0.5", "imagenet")],
    "norm": [{"gradient_norm": kind} for kind in ("std", "l2", "mean-abs")],
    "tv": [{"tv": 0.3}],
    "l2": [{"l2": 0.2}],
    "momentum": [{"optimizer": "momentum"}, {"optimizer": "momentum", "momentum": 0.0}],
    "adam": [{"optimizer": "adam"}, {"optimizer": "adam", "momentum": 0.0}],
    "stay": [{"stay": 0.2}, {"stay": 1.0}, {"stay": 1.0, "step_size": (0.2, 0.01), "steps": 4}],
    "step": [{}, {"clip": False}, {"step_size": (0.2, 0.05), "steps": 4}],
}


ALL_PARTS = {"blur": 0.7, "laplacian": 4, "colours": "own", "tv": 0.1, "l2": 0.1, "stay": 0.3, "gradient_norm": "std"}


def random_image(size: tuple[int, int], seed: int, scale: float = 1.0) -> Image:
    """Returns random values, float32 [3, height, width]."""
    return (scale * np.random.default_rng(seed).normal(0.1, 0.5, (3, *size))).astype(np.float32)


def colours_of(settings: Settings) -> Floats | None:
    """Returns the colour matrix of the settings, float32 [3, 3]; own colours are those of a random image."""
    colours = parse_colours(settings.colours)
    if colours.kind == "imagenet":
        return imagenet_colours()
    return own_colours(random_image((9, 8), 77), colours.share) if colours.has_matrix else None


def base_for(settings: Settings, image: Image) -> Image | None:
    """Returns the undreamed image of an image, random values of its shape, if the settings need one."""
    return random_image(size_of(image), 78) if settings.stay else None


def by_numpy(
    settings: Settings, limits: tuple[float, float], image: Image, gradients: list[Image], mask: Floats | None
) -> list[Image]:
    """Returns the image and the slots after one step for each gradient; `mask` is float32 [height, width]."""
    moved, slots = image.copy(), new_slots(settings, image)
    for number, gradient in enumerate(gradients, 1):
        update = Update(settings, limits, colours_of(settings))
        update.apply(moved, gradient.copy(), slots, number, mask, base_for(settings, image))
    return [moved, *slots]


def by_graph(
    settings: Settings,
    limits: tuple[float, float],
    image: Image,
    gradients: list[Image],
    mask: Floats | None = None,
    shifts: list[tuple[int, int]] | None = None,
    device: Device = CPU,
) -> list[Image]:
    """Returns the same from the graph. Each gradient is rolled by its shift first, which the graph undoes."""
    update = GraphUpdate(settings, limits, size_of(image), device.native_machine, mask, colours_of(settings))
    undreamed = base_for(settings, image)
    base = None if undreamed is None else device.tensor(undreamed[None])
    tensors = [device.tensor(array[None].copy()) for array in (image, *new_slots(settings, image))]
    for number, gradient in enumerate(gradients, 1):
        shift = shifts[number - 1] if shifts else (0, 0)
        rolled = device.tensor(np.roll(gradient, shift, axis=(1, 2))[None])
        found = [device.empty(tensor.shape) for tensor in tensors]
        bound = update.bind(tensors[0], rolled, tensors[1:], found, base)
        bound.feed(update.inputs(number, shift))
        bound.run()
        tensors = found
    return [tensor.fetch()[0] for tensor in tensors]
