"""What all systems are given: `python benchmarks/fixtures.py FOLDER BACKBONE LAYER_SET WIDTHxHEIGHT...`.

Runs in the environment `tensorflow`. From one set of seeded random weights it makes the bundle, Keras's weight file,
and the folded forward graph as a list of operators with an archive of kernels; and for each size an image and
TensorFlow's gradient of the sum of the layers' means.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rows import Case, Size

from onnxdream.export.bundle import ExportRequest, make_bundle
from onnxdream.export.forward import Convolution, Forward, fold
from onnxdream.export.reference_model import ReferenceModel
from onnxdream.export.weights import load
from onnxdream.models.arrays import Floats, Image
from onnxdream.models.backbones import Backbone, find_backbone

SEED = 0
BUNDLE, WEIGHTS, FORWARD, KERNELS = "bundle.onnx", "keras.weights.h5", "forward.json", "forward.npz"


def make(folder: Path, backbone: Backbone, layers: tuple[str, ...], sizes: list[Size]) -> None:
    """Fills the folder of a row."""
    folder.mkdir(parents=True, exist_ok=True)
    data, _ = make_bundle(ExportRequest(backbone, layers, weights="random", seed=SEED))
    (folder / BUNDLE).write_bytes(data)
    model = load(backbone, "random", SEED).model
    model.save_weights(folder / WEIGHTS)
    forward = fold(model).cut(layers)
    np.savez(folder / KERNELS, **_arrays(forward))
    for size in sizes:
        case = Case(folder, size)
        picture = draw(size)
        image = to_image(picture, backbone.input_range)
        np.save(case.picture, picture)
        np.save(case.image, image)
        np.save(case.gradient, reference(ReferenceModel(model, layers, "mean"), image))
    facts = {
        "backbone": backbone.name,
        "builder": backbone.builder,
        "range": backbone.input_range,
        "layers": layers,
        "operators": [_plain(op) for op in forward.operators],
        "gflop": {Case(folder, size).size_name: gflop(forward, size) for size in sizes},
    }
    (folder / FORWARD).write_text(json.dumps(facts))


def draw(size: Size) -> NDArray[np.uint8]:
    """Noise of several scales, [height, width, 3], like a photograph rich in detail: no flat area ties in a pooling."""
    rng = np.random.default_rng((SEED, *size))
    width, height = size
    total = np.zeros((height, width, 3), np.float32)
    for cell in (64, 16, 4, 1):
        coarse = rng.uniform(-1, 1, (-(-height // cell), -(-width // cell), 3)).astype(np.float32)
        total += cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    return np.rint(255 * (total - total.min()) / (total.max() - total.min())).astype(np.uint8)


def to_image(picture: NDArray[np.uint8], limits: tuple[float, float]) -> Floats:
    """The picture as the network sees it, [3, height, width]."""
    low, high = limits
    image = low + (high - low) * picture.transpose(2, 0, 1).astype(np.float32) / 255
    return np.ascontiguousarray(image, np.float32)


def reference(reference: ReferenceModel, image: Image) -> Floats:
    """Gradient of the sum of the layers' means, [3, height, width], by the tape on the stock model."""
    _, gradients = reference.losses_and_gradients(np.ascontiguousarray(image.transpose(1, 2, 0)))
    return np.ascontiguousarray(gradients.sum(axis=0).transpose(2, 0, 1).astype(np.float32))


def gflop(forward: Forward, size: Size) -> float:
    """What the convolutions cost, there and back: two operations for each weight, at each place, in each direction."""
    sizes = forward.sizes((size[1], size[0]))
    convolutions = [op for op in forward.operators if isinstance(op, Convolution)]
    return sum(4 * op.kernel.size * sizes[op.name][0] * sizes[op.name][1] for op in convolutions) / 1e9


def _arrays(forward: Forward) -> dict[str, Floats]:
    convolutions = [op for op in forward.operators if isinstance(op, Convolution)]
    kernels = {f"{op.name}/kernel": np.ascontiguousarray(op.kernel.transpose(3, 2, 0, 1)) for op in convolutions}
    return {**kernels, **{f"{op.name}/bias": op.bias for op in convolutions}}


def _plain(op: Any) -> dict[str, Any]:
    """An operator without its weights."""
    facts = {key: value for key, value in vars(op).items() if key not in ("kernel", "bias", "origin")}
    return {"kind": type(op).__name__, **facts}


if __name__ == "__main__":
    place, name, layer_set, *texts = sys.argv[1:]
    card = find_backbone(name)
    wanted = [(int(width), int(height)) for width, height in (text.split("x") for text in texts)]
    make(Path(place), card, card.layer_sets[layer_set], wanted)
