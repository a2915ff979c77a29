"""Makes the fixtures, the files that all systems are given: bundle, weights, picture and reference gradient.

`python benchmarks/fixtures.py FOLDER BACKBONE LAYER_SET OBJECTIVE WIDTHxHEIGHT...` runs in the environment
`tensorflow`. From one set of seeded random weights it makes the bundle, Keras's weight file, and the folded forward
graph as a list of operators with an archive of kernels. For each size it makes an image and TensorFlow's gradient of
the sum of the layers' losses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rows import Case, WidthHeight

from onnxdream.export.bundle import ExportRequest, make_bundle
from onnxdream.export.folding.fold import fold
from onnxdream.export.forward import Convolution, Forward
from onnxdream.export.reference_model import ReferenceModel
from onnxdream.export.weights import load
from onnxdream.models.arrays import Floats, Image, Size
from onnxdream.models.backbones import Backbone, find_backbone

SEED = 0
BUNDLE, WEIGHTS, FORWARD, KERNELS = "bundle.onnx", "keras.weights.h5", "forward.json", "forward.npz"


def make(
    folder: Path, backbone: Backbone, layers: tuple[str, ...], sizes: list[WidthHeight], objective: str = "mean"
) -> None:
    """Makes the fixtures of a backbone's layers at some sizes, and writes them into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    data, _ = make_bundle(ExportRequest(backbone, layers, weights="random", seed=SEED, objective=objective))
    (folder / BUNDLE).write_bytes(data)
    model = load(backbone, "random", SEED).model
    model.save_weights(folder / WEIGHTS)
    forward = fold(model, backbone.preprocessing).cut(layers)
    np.savez(folder / KERNELS, **_arrays(forward))
    reference = ReferenceModel(model, layers, objective, preprocessing=backbone.preprocessing)
    for size in sizes:
        case = Case(folder, size)
        picture = draw_picture(size)
        image = to_image(picture)
        np.save(case.picture, picture)
        np.save(case.image, image)
        np.save(case.gradient, reference_gradient(reference, image))
    facts = {
        "backbone": backbone.name,
        "builder": backbone.builder,
        "include_top": backbone.include_top,
        "preprocessing": [backbone.preprocessing.scale, backbone.preprocessing.offset],
        "layers": layers,
        "objective": objective,
        "operators": [operator_facts(op) for op in forward.operators],
        "gflop": {Case(folder, size).size_name: gflop(forward, size) for size in sizes},
    }
    (folder / FORWARD).write_text(json.dumps(facts))


def draw_picture(size: WidthHeight) -> NDArray[np.uint8]:
    """Draws noise of several scales, uint8 [height, width, 3], which is as rich in detail as a photograph.

    Flat areas would give equal values in a pooling window, whose gradient is then ambiguous.
    """
    rng = np.random.default_rng((SEED, *size))
    width, height = size
    total = np.zeros((height, width, 3), np.float32)
    for scale in (64, 16, 4, 1):
        coarse = rng.uniform(-1, 1, (-(-height // scale), -(-width // scale), 3)).astype(np.float32)
        total += cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    return np.rint(255 * (total - total.min()) / (total.max() - total.min())).astype(np.uint8)


def to_image(picture: NDArray[np.uint8]) -> Image:
    """Converts a picture, uint8 [height, width, 3], into an image, float32 [3, height, width] from -1 to 1."""
    image = picture.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(image, np.float32)


def reference_gradient(model: ReferenceModel, image: Image) -> Image:
    """Returns the gradient of the sum of the layers' losses, computed by GradientTape on the original Keras model."""
    gradients = model.losses_and_gradients(np.ascontiguousarray(image.transpose(1, 2, 0))).gradients
    return np.ascontiguousarray(gradients.sum(axis=0).transpose(2, 0, 1).astype(np.float32))


def gflop(forward: Forward, size: WidthHeight) -> float:
    """Returns the GFLOP of all convolutions in a step, forward and backward.

    Each direction takes two operations, a multiplication and an addition, for each weight and each output pixel.
    """
    width, height = size
    sizes = forward.sizes(Size(height, width))
    convolutions = [op for op in forward.operators if isinstance(op, Convolution)]
    return sum(4 * op.kernel.size * sizes[op.name][0] * sizes[op.name][1] for op in convolutions) / 1e9


def _arrays(forward: Forward) -> dict[str, Floats]:
    """Returns the convolutions' kernels, [output channels, input channels, height, width], and biases."""
    convolutions = [op for op in forward.operators if isinstance(op, Convolution)]
    kernels = {f"{op.name}/kernel": np.ascontiguousarray(op.kernel.transpose(3, 2, 0, 1)) for op in convolutions}
    return {**kernels, **{f"{op.name}/bias": op.bias for op in convolutions}}


def operator_facts(op: Any) -> dict[str, Any]:
    """Returns an operator's kind and attributes as JSON values, without its weights."""
    facts = {key: value for key, value in vars(op).items() if key not in ("kernel", "bias", "origin")}
    return {"kind": type(op).__name__, **facts}


if __name__ == "__main__":
    target, name, layer_set, objective, *texts = sys.argv[1:]
    chosen = find_backbone(name)
    wanted = [(int(width), int(height)) for width, height in (text.split("x") for text in texts)]
    make(Path(target), chosen, chosen.layer_sets[layer_set], wanted, objective)
