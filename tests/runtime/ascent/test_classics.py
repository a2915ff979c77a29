"""The presets of classic programs, compared with plain loops of these programs over TensorFlow's GradientTape.

The loops follow the originals' definitions and share nothing with the runtime: they use TensorFlow's gradient of the
stock Keras model, TensorFlow's resizing and numpy's arithmetic. The ascent is chaotic, so pictures are compared after
ten steps (both within the first octave and spread over all octaves), and losses over the whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from exports import unverified
from numpy.typing import NDArray

tf = pytest.importorskip("tensorflow")

from onnxdream.models.arrays import Floats, Size  # noqa: E402
from onnxdream.models.backbones import find_backbone  # noqa: E402
from onnxdream.runtime import Bundle, Execution, Settings, Step, dream, preset  # noqa: E402
from onnxdream.runtime.ascent import evaluator as evaluator_module  # noqa: E402

Gradient = Callable[[Floats], tuple[Floats, Floats]]
Shift = tuple[int, int]

V3 = find_backbone("v3")
CPU = Execution("cpu", 2)
MEAN, L2 = ("mixed0", "mixed2"), ("mixed0", "mixed1", "mixed2")


@dataclass
class Trace:
    """The course of a reference loop.

    `losses` are float32 [layers] before each update; `images` are float32 [height, width, 3] after each update, in the
    octave's size; `finished` is the result.
    """

    losses: list[Floats] = field(default_factory=list)
    images: list[Floats] = field(default_factory=list)
    finished: Floats | None = None

    def step(self, losses: Floats, image: Floats) -> None:
        self.losses.append(losses)
        self.images.append(image)


# Pictures, bundles and gradients


def photo(height: int, width: int) -> NDArray[np.uint8]:
    """Returns soft shapes with edges and a little grain, uint8 [height, width, 3], within a part of the range."""
    rng = np.random.default_rng(5)
    soft = cv2.resize(rng.random((6, 7, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        centre = int(rng.integers(width)), int(rng.integers(height))
        colour = tuple(float(value) for value in rng.random(3))
        cv2.circle(soft, centre, int(rng.integers(4, 25)), colour, -1, cv2.LINE_AA)
    soft += 0.05 * rng.standard_normal(soft.shape).astype(np.float32)
    return (20 + 200 * np.clip(soft, 0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def export(reference: Callable[[str], Any]) -> Callable[..., Bundle]:
    """Exports layers of Inception-v3 with random weights, without the verification that other tests cover."""
    from onnxdream.export import bundle as stage

    def make(layers: tuple[str, ...], objective: str = "mean", border: int = 0) -> Bundle:
        with unverified(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage, "load", lambda *_: reference("v3"))
            data, _ = stage.make_bundle(stage.ExportRequest(V3, layers, "random", 0, objective, border))
        return Bundle.load(data)

    return make


@pytest.fixture(scope="module")
def mean_bundle(export: Callable[..., Bundle]) -> Bundle:
    return export(MEAN)


@pytest.fixture(scope="module")
def activations(reference: Callable[[str], Any]) -> Callable[[tuple[str, ...]], Any]:
    """Cuts the stock model to some layers."""
    import keras

    def cut(layers: tuple[str, ...]) -> Any:
        model = reference("v3").model
        return keras.Model(model.input, [model.get_layer(layer).output for layer in layers])

    return cut


def tape(model: Any, loss: Callable[[Any], Any], weights: Floats | None = None) -> Gradient:
    """Computes losses and the gradient of their weighted sum by GradientTape, for images float32 [height, width, 3]."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3])])
    def both(image: Any) -> Any:
        with tf.GradientTape() as recorded:
            recorded.watch(image)
            losses = tf.stack([loss(activation) for activation in tf.nest.flatten(model(image[None], training=False))])
            total = tf.reduce_sum(losses if weights is None else losses * weights)
        return losses, recorded.gradient(total, image)

    def gradient(image: Floats) -> tuple[Floats, Floats]:
        losses, image_gradient = both(tf.constant(image))
        return losses.numpy(), image_gradient.numpy()

    return gradient


@pytest.fixture(scope="module")
def mean_gradient(activations: Callable[[tuple[str, ...]], Any]) -> Gradient:
    return tape(activations(MEAN), tf.reduce_mean)


# What the loops share


def bilinear(image: Floats, size: Size) -> Floats:
    """Resizes an image as all the classics do: tf.image.resize without antialiasing."""
    resized: Floats = tf.image.resize(image, size).numpy()
    return resized


def to_range(pixels: NDArray[Any]) -> Floats:
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_pixels(image: Floats) -> Floats:
    return np.float32(255) * (image + np.float32(1)) / np.float32(2)


def shifts(reach: int, seed: int = 0) -> Iterator[Shift]:
    """Yields the shifts of a run's steps. The classics draw theirs without a seed, so these are the runtime's."""
    number = 0
    while True:
        down, right = np.random.default_rng((seed, number)).integers(-reach, reach + 1, 2)
        yield int(down), int(right)
        number += 1


# The classics


def tutorial_simple(x: Floats, gradient: Gradient, steps: int, trace: Trace) -> Floats:
    for _ in range(steps):
        losses, g = gradient(x)
        g /= g.std() + 1e-8
        x = np.clip(x + np.float32(0.01) * g, -1, 1)
        trace.step(losses, x)
    return x


def tutorial_octaves(pixels: NDArray[np.uint8], gradient: Gradient, steps: int) -> Trace:
    trace = Trace()
    base = np.array(pixels.shape[:2], np.float32)
    image = pixels.astype(np.float32)
    for n in range(-2, 3):
        height, width = (base * np.float32(1.3**n)).astype(np.int32)
        x = tutorial_simple(to_range(bilinear(image, (height, width))), gradient, steps, trace)
        image = to_pixels(x).astype(np.uint8).astype(np.float32)
    trace.finished = to_range(bilinear(image, pixels.shape[:2]))
    return trace


def tutorial_tiled(pixels: NDArray[np.uint8], gradient: Gradient, steps: int, side: int) -> Trace:
    trace = Trace()
    base = np.array(pixels.shape[:2], np.float32)
    x = to_range(pixels)
    rolls = shifts(512)
    for n in range(-2, 3):
        height, width = (base * np.float32(1.3**n)).astype(np.int32)
        x = bilinear(x, (height, width))
        for _ in range(steps):
            shift = next(rolls)
            rolled = np.roll(x, shift, axis=(0, 1))
            g, losses = np.zeros_like(x), []
            for top in range(0, height, side)[:-1] or [0]:
                for left in range(0, width, side)[:-1] or [0]:
                    window = np.s_[top : top + side, left : left + side]
                    loss, image_gradient = gradient(rolled[window])
                    g[window] += image_gradient
                    losses.append(loss)
            g = np.roll(g, (-shift[0], -shift[1]), axis=(0, 1))
            g /= g.std() + 1e-8
            x = np.clip(x + np.float32(0.01) * g, -1, 1)
            trace.step(np.mean(losses, axis=0), x)
    trace.finished = x
    return trace


def keras_example(pixels: NDArray[np.uint8], gradient: Gradient, steps: int, weights: Floats, max_loss: float) -> Trace:
    trace = Trace()
    original = to_range(pixels)
    sizes = [tuple(int(side / 1.4**i) for side in pixels.shape[:2]) for i in (2, 1, 0)]
    shrunk = bilinear(original, sizes[0])
    x = original
    for size in sizes:
        x = bilinear(x, size)
        for _ in range(steps):
            losses, g = gradient(x)
            g /= max(float(np.abs(g).mean()), 1e-6)
            x = x + np.float32(0.01) * g
            trace.step(losses, x)
            if losses @ weights > max_loss:
                break
        x = x + (bilinear(original, size) - bilinear(shrunk, size))
        shrunk = bilinear(original, size)
    trace.finished = x
    return trace


def caffe_deepdream(pixels: NDArray[np.uint8], gradient: Gradient, steps: int) -> Trace:
    trace = Trace()
    octaves = [to_range(pixels)]
    for i in range(1, 4):
        octaves.append(bilinear(octaves[-1], tuple(int(side / 1.4**i) for side in pixels.shape[:2])))
    detail = np.zeros_like(octaves[-1])
    rolls = shifts(32)
    for number, base in enumerate(reversed(octaves)):
        if number:
            detail = bilinear(detail, base.shape[:2])
        x = base + detail
        for _ in range(steps):
            shift = next(rolls)
            losses, g = gradient(np.roll(x, shift, axis=(0, 1)))
            x = np.roll(x, shift, axis=(0, 1)) + np.float32(1.5 / 127.5) / np.abs(g).mean() * g
            x = np.clip(np.roll(x, (-shift[0], -shift[1]), axis=(0, 1)), -1, 1)
            trace.step(losses, x)
        detail = x - base
    trace.finished = x
    return trace


def paper(pixels: NDArray[np.uint8], gradient: Gradient, steps: int, step_size: float) -> Trace:
    """Computes eq. 1 and eq. 2, with the gradient divided by its standard deviation and the image clipped."""
    trace = Trace()
    x_min, x_max = float(pixels.min()), float(pixels.max())
    x = ((pixels - x_min) / (x_max - x_min) * 2 - 1).astype(np.float32)
    for _ in range(steps):
        losses, g = gradient(x)
        x = np.clip(x + np.float32(step_size) * g / g.std(), -1, 1)
        trace.step(losses, x)
    trace.finished = x
    return trace


# The comparison


def psnr(image: Floats, expected: Floats) -> float:
    """Returns the peak signal-to-noise ratio in dB, for images in the range from -1 to 1."""
    assert image.shape == expected.shape
    return float(10 * np.log10(4 / max(1e-12, np.mean(np.square(image.astype(np.float64) - expected)))))


def assert_follows(pixels: NDArray[np.uint8], bundle: Bundle, settings: Settings, trace: Trace) -> None:
    """Asserts that the picture after ten steps, the sizes of all octaves and all losses are those of the loop."""
    images: list[Floats] = []

    def keep(step: Step) -> None:
        images.append(step.fetch_state().image.transpose(1, 2, 0).copy())

    dreamed = dream(pixels, bundle, settings, keep)
    assert len(dreamed.losses) == len(trace.losses) + 1
    number = min(10, settings.steps - 1)  # after an octave's last step the runtime is in the next octave
    assert psnr(images[number], trace.images[number - 1]) >= 40
    expected = np.array(trace.losses)
    np.testing.assert_allclose(dreamed.losses[:-1], expected, rtol=0.01)
    assert abs(expected[-1] / expected[0] - 1).max() > 0.05  # otherwise the comparison would prove nothing
    assert len(np.unique([image.shape for image in trace.images], axis=0)) == len(dreamed.record.octaves)
    assert {image.shape for image in images} == {image.shape for image in trace.images}


def assert_ends_alike(pixels: NDArray[np.uint8], bundle: Bundle, settings: Settings, trace: Trace) -> None:
    """Asserts that a run whose octaves are all within the first ten steps ends with the loop's picture."""
    dreamed = dream(pixels, bundle, settings)
    assert len(dreamed.losses) - 1 == len(trace.losses) <= 12
    assert trace.finished is not None
    assert psnr(to_range(dreamed.picture), np.clip(trace.finished, -1, 1)) >= 40
    np.testing.assert_allclose(dreamed.losses[:-1], np.array(trace.losses), rtol=0.01)


def test_tutorial(mean_bundle: Bundle, mean_gradient: Gradient) -> None:
    pixels = photo(100, 120)
    trace = Trace()
    tutorial_simple(to_range(pixels), mean_gradient, 100, trace)
    assert_follows(pixels, mean_bundle, preset("tutorial", layer_weights=None, execution=CPU), trace)


def test_tutorial_with_octaves(mean_bundle: Bundle, mean_gradient: Gradient) -> None:
    pixels = photo(131, 157)
    settings = preset("tutorial-octaves", layer_weights=None, execution=CPU)
    assert settings.steps == 50
    trace = tutorial_octaves(pixels, mean_gradient, 12)
    assert_follows(pixels, mean_bundle, replace(settings, steps=12), trace)
    trace = tutorial_octaves(pixels, mean_gradient, 2)
    assert_ends_alike(pixels, mean_bundle, replace(settings, steps=2), trace)


def test_tutorial_with_tiles(mean_bundle: Bundle, mean_gradient: Gradient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles are 96 pixels instead of 512; the last of each row and column is left out, as in the original.

    An octave has 12 steps: after 100, not even TensorFlow agrees with itself on such a small picture.
    """
    monkeypatch.setattr(evaluator_module, "_TUTORIAL_TILE", 96)
    pixels = photo(151, 181)
    trace = tutorial_tiled(pixels, mean_gradient, 12, 96)
    assert_follows(pixels, mean_bundle, preset("tutorial-tiled", layer_weights=None, steps=12, execution=CPU), trace)
    trace = tutorial_tiled(pixels, mean_gradient, 2, 96)
    assert_ends_alike(pixels, mean_bundle, preset("tutorial-tiled", layer_weights=None, steps=2, execution=CPU), trace)


def test_keras(export: Callable[..., Bundle], activations: Callable[[tuple[str, ...]], Any]) -> None:
    """Uses lower layers, with the original's border, weights and stopping rule."""
    weights = np.array([1, 1.5, 2], np.float32)

    def loss(activation: Any) -> Any:
        inside = activation[:, 2:-2, 2:-2, :]
        return tf.reduce_sum(tf.square(inside)) / tf.cast(tf.size(activation), tf.float32)

    gradient = tape(activations(L2), loss, weights)
    bundle = export(L2, "l2", 2)
    pixels = photo(150, 170)
    settings = preset("keras", layer_weights=dict(zip(L2, weights.tolist(), strict=True)), execution=CPU)
    assert settings.max_loss == 15
    trace = keras_example(pixels, gradient, 20, weights, 15)
    assert 15 < len(trace.losses) < 60  # every octave has steps, and not all of them run to the last one
    assert_follows(pixels, bundle, settings, trace)
    short = keras_example(pixels, gradient, 4, weights, np.inf)
    assert_ends_alike(pixels, bundle, replace(settings, steps=4, max_loss=None), short)


def test_caffe(export: Callable[..., Bundle], activations: Callable[[tuple[str, ...]], Any]) -> None:
    gradient = tape(activations(("mixed1",)), lambda activation: tf.reduce_mean(tf.square(activation)))
    bundle = export(("mixed1",), "l2")
    pixels = photo(150, 170)
    trace = caffe_deepdream(pixels, gradient, 10)
    assert_follows(pixels, bundle, preset("caffe", layer_weights=None, execution=CPU), trace)
    trace = caffe_deepdream(pixels, gradient, 3)
    assert_ends_alike(pixels, bundle, preset("caffe", layer_weights=None, steps=3, execution=CPU), trace)


def test_paper(mean_bundle: Bundle, mean_gradient: Gradient) -> None:
    pixels = photo(80, 100)
    settings = preset("paper", layer_weights=None, execution=CPU)
    assert (settings.steps, settings.max_size) == (1000, 512)
    trace = paper(pixels, mean_gradient, 200, settings.step_size)
    assert_follows(pixels, mean_bundle, replace(settings, steps=200), trace)


def test_the_skipped_tiles_of_the_tutorial(tmp_path: Path) -> None:
    """Compares the share of a picture that gets a gradient in a step with that computed for the original."""
    from onnxdream.runtime.image.tiles import tutorial_tiles

    for side, share in ((500, 1.0), (650, 0.62), (845, 0.37), (1024, 0.25), (2048, 0.56)):
        covered = sum(tile.area for tile in tutorial_tiles(Size(side, side), 512)) / side**2
        assert covered == pytest.approx(share, abs=0.006)
