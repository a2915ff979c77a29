"""The colours of a dream: how the setting is written, and the colour matrices compared with plain numpy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures_fixture import noise

from onnxdream.models.arrays import Floats
from onnxdream.models.contract import Metadata
from onnxdream.runtime.bundle.bundle import Bundle
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.dream.run import dream
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.image.files import read_picture
from onnxdream.runtime.image.processor import ImageProcessor
from onnxdream.runtime.image.resizing import shrink
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.settings import colours as colours_module
from onnxdream.runtime.settings.colours import (
    Colours,
    apply_colour_matrix,
    imagenet_colours,
    own_colours,
    parse_colours,
)
from onnxdream.runtime.settings.presets import preset
from onnxdream.runtime.settings.settings import Execution, Settings

OWN = Settings(steps=4, step_size=0.03, colours="own", snapshots=(), execution=Execution("cpu", 1))
IDENTITY = np.eye(3)


@pytest.fixture(scope="module")
def tiny(tiny_path: Path) -> Bundle:
    return Bundle.load(tiny_path)


@pytest.fixture(scope="module")
def facts(tiny: Bundle) -> Metadata:
    return tiny.metadata


def image(height: int = 37, width: int = 51, offset: float = 0.0) -> Floats:
    """Returns an image whose three colours are correlated."""
    random = np.random.default_rng(3)
    mixed = random.normal(size=(3, 3)) @ random.normal(0, 0.3, (3, height * width))
    return (mixed + offset).reshape(3, height, width).astype(np.float32)


def reference(picture: Floats) -> NDArray[np.float64]:
    """Returns the covariance by numpy's own function, scaled to a trace of 3."""
    covariance = np.cov(picture.reshape(3, -1).astype(np.float64))
    return covariance / (np.trace(covariance) / 3)


# What can be written


@pytest.mark.parametrize(
    ("text", "expected", "has"),
    [
        ("free", Colours("free"), False),
        ("own", Colours("own", 1.0), True),
        ("own:0.7", Colours("own", 0.7), True),
        ("own:0", Colours("own", 0.0), True),
        ("own:1", Colours("own", 1.0), True),
        ("imagenet", Colours("imagenet"), True),
        ("lightness", Colours("lightness"), False),
    ],
)
def test_colours_are_read(text: str, expected: Colours, has: bool) -> None:
    assert parse_colours(text) == expected
    assert parse_colours(text).has_matrix == has


@pytest.mark.parametrize(
    "value",
    [
        "",
        "own:",
        "own:1.1",
        "own:-0.1",
        "own:nan",
        "own:much",
        "own:0.5:1",
        "imagenet:0.5",
        "free:1",
        ":0.5",
        "OWN",
        3,
        None,
        [],
    ],
)
def test_other_values_are_refused_with_the_possible_ones(value: Any) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings(colours=value)
    expected = "colours must be free, own, a share of own from 0 to 1 as in own:0.7, imagenet or lightness, not "
    assert str(refusal.value) == expected + repr(value)


# The picture's own


@pytest.mark.parametrize("offset", [0.0, 0.9, 1000.0])
def test_own_colours_are_the_picture_s_covariance_with_trace_3(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = image(offset=offset)
    found = own_colours(picture, 1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(picture), rtol=1e-6)
    assert np.trace(found) == pytest.approx(3, abs=1e-6)
    assert np.abs(found - IDENTITY).max() > 0.2
    monkeypatch.setattr(colours_module, "_BLOCK", 100)  # the last block is not full
    np.testing.assert_allclose(own_colours(picture, 1.0), found, rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.7])
def test_a_share_is_mixed_with_the_identity(share: float) -> None:
    expected = share * reference(image()) + (1 - share) * IDENTITY
    np.testing.assert_allclose(own_colours(image(), share), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "picture", [np.full((3, 20, 30), 0.1, np.float32), np.array([[[0.3]], [[-1]], [[0.7]]], np.float32)]
)
def test_one_colour_all_over_leaves_the_identity(picture: Floats) -> None:
    np.testing.assert_array_equal(own_colours(picture, 1.0), IDENTITY)


def test_one_level_in_one_pixel_is_a_covariance() -> None:
    picture = np.full((3, 20, 30), 0.1, np.float32)
    picture[1, 4, 5] += np.float32(1e-5)
    np.testing.assert_allclose(own_colours(picture, 1.0), np.diag([0, 3, 0]), atol=1e-6)


# ImageNet's


def test_imagenet_colours_are_those_of_lucid() -> None:
    """Compares with `color_correlation_svd_sqrt` in lucid/optvis/param/color.py."""
    root = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    covariance = root @ root.T
    found = imagenet_colours()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, covariance / (np.trace(covariance) / 3), atol=1e-6)
    assert np.trace(found) == pytest.approx(3, abs=1e-6)


# The matrix of an image processor


@pytest.mark.parametrize("colours", ["free", "lightness"])
def test_free_colours_have_no_matrix(colours: str, facts: Metadata) -> None:
    assert ImageProcessor(noise(40, 50), facts, replace(OWN, colours=colours)).colour_matrix() is None


@pytest.mark.parametrize("normalization", ["minmax", "backbone"])
@pytest.mark.parametrize("channels", [3, 4])
def test_own_colours_are_those_of_the_shrunk_picture_without_its_alpha(
    normalization: Any, channels: int, facts: Metadata
) -> None:
    settings = replace(OWN, normalization=normalization, max_size=40, octaves=3, octaves_above=1)
    processor = ImageProcessor(noise(80, 100, channels), facts, settings)
    found = processor.colour_matrix()
    assert found is not None
    assert processor.size == (32, 40)
    np.testing.assert_allclose(found, reference(processor.base((32, 40))), rtol=1e-5)
    half = ImageProcessor(noise(80, 100, channels), facts, replace(settings, colours="own:0.5")).colour_matrix()
    np.testing.assert_allclose(half, (found + IDENTITY) / 2, rtol=1e-5)


def test_noise_has_no_colours_of_its_own(facts: Metadata) -> None:
    settings = replace(OWN, noise=(50, 40))
    np.testing.assert_array_equal(ImageProcessor(noise(40, 50), facts, settings).colour_matrix(), IDENTITY)  # type: ignore[arg-type]
    imagenet = ImageProcessor(noise(40, 50), facts, replace(settings, colours="imagenet")).colour_matrix()
    np.testing.assert_array_equal(imagenet, imagenet_colours())  # type: ignore[arg-type]


# In a dream


def test_a_matrix_multiplies_every_pixel() -> None:
    gradient, matrix = image(), own_colours(image(20, 20), 1.0)
    expected = np.einsum("cd,dhw->chw", matrix.astype(np.float64), gradient)
    np.testing.assert_allclose(apply_colour_matrix(gradient, matrix), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "choices", [{}, {"optimizer": "adam", "jitter": 5, "octaves": 2}, {"tv": 0.2, "l2": 0.1, "blur": 0.7}]
)
@pytest.mark.parametrize("pixels", [None, 128 * 128])
def test_a_grey_picture_stays_grey(choices: dict[str, Any], pixels: int | None, tiny: Bundle) -> None:
    grey = np.repeat(noise(180, 140)[..., :1], 3, axis=2)
    settings = replace(OWN, execution=Execution("cpu", 1, tile_pixels=pixels), **choices)
    found = dream(grey, tiny, settings)
    assert (found.record.octaves[-1].tiles > 1) == (pixels is not None)
    colours = np.ptp(found.picture.astype(int), axis=2)
    assert colours.max() <= 1
    assert np.abs(found.picture.astype(int) - grey).mean() > 3
    free = dream(grey, tiny, replace(settings, colours="free"))
    assert np.ptp(free.picture.astype(int), axis=2).max() > 10


def test_the_covariance_is_computed_once_and_not_from_the_dream(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Floats] = []
    real = ImageProcessor.colour_matrix

    def colour_matrix(processor: ImageProcessor) -> Floats | None:
        found = real(processor)
        assert found is not None
        taken.append(found)
        return found

    monkeypatch.setattr(ImageProcessor, "colour_matrix", colour_matrix)
    seen: list[Floats] = []
    dream(noise(60, 70), tiny, replace(OWN, octaves=3), lambda step: seen.append(step.fetch_state().colours))  # type: ignore[arg-type,func-returns-value]
    assert len(taken) == 1
    assert len(seen) == 13
    for matrix in seen:
        np.testing.assert_array_equal(matrix, taken[0])


def test_a_step_follows_the_gradient_multiplied_by_the_matrix(tiny: Bundle) -> None:
    """Compares one step of a dream with the bundle's gradient times numpy's covariance."""
    settings = replace(OWN, steps=1, normalization="backbone", clip=False)
    processor = ImageProcessor(noise(40, 53), tiny.metadata, settings)
    before = processor.base(processor.size)
    objective = Objective(np.ones(len(tiny.metadata.layers), np.float32))
    _, gradient = Session(tiny, 40, 53, Machine("cpu", 1)).evaluate(before, objective)
    after: list[Floats] = []
    dream(noise(40, 53), tiny, settings, lambda step: after.append(step.fetch_state().image.copy()))  # type: ignore[func-returns-value]
    direction = np.einsum("cd,dhw->chw", reference(before), gradient)
    np.testing.assert_allclose(after[1], before + 0.03 * direction / direction.std(), atol=1e-5)


def photograph(seed: int) -> NDArray[np.uint8]:
    """Returns a picture of soft light and shade with a little colour, uint8 [90, 110, 3]."""
    random = np.random.default_rng(seed)
    light = cv2.GaussianBlur(random.normal(size=(90, 110, 1)), (0, 0), 4)[..., None]
    colour = cv2.GaussianBlur(random.normal(size=(90, 110, 3)), (0, 0), 8)
    return np.clip(128 + 60 * light / light.std() + 20 * colour / colour.std(), 0, 255).astype(np.uint8)


def fine_chroma(change: NDArray[np.float64]) -> float:
    """Returns the energy of Cb and Cr without their Gaussian blur of 2 pixels."""
    planes = [change @ weights for weights in ([-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312])]
    return float(sum(np.square(plane - cv2.GaussianBlur(plane, (0, 0), 2)).mean() for plane in planes))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("colours", ["own", "imagenet"])
def test_a_matrix_reduces_fine_chroma(colours: str, seed: int, tiny: Bundle) -> None:
    """On eight such pictures it was 0.06 to 0.15 of that with free colours."""
    picture = photograph(seed)
    settings = replace(OWN, steps=12, step_size=(0.03, 0.012), blur=(1.6, 0.5), octaves=2, jitter=8)
    found, free = (
        dream(picture, tiny, replace(settings, colours=chosen)).picture.astype(np.float64) - picture
        for chosen in (colours, "free")
    )
    assert fine_chroma(found) < 0.3 * fine_chroma(free)
    assert np.abs(found).mean() > 0.5 * np.abs(free).mean()


@pytest.mark.parametrize("name", ["bears.jpg", "rocket.jpg"])
def test_with_imagenet_weights_own_colours_reduce_speckle_and_keep_the_loss(name: str) -> None:
    """At 128 pixels; docs/methods.md has the figures for more pictures at 512."""
    path = Path(__file__).parents[3] / "examples" / name
    small = shrink(read_picture(path).pixels, 128)
    settings = preset("tutorial", steps=12, step_size=(0.03, 0.012), blur=(1.6, 0.5), jitter=16, octaves=3)
    settings = replace(settings, octave_scale=1.3, normalization="minmax", detail="before", snapshots=())
    own, free = (
        dream(small, Bundle.built_in("v3-mid"), replace(settings, colours=chosen, execution=Execution("cpu", 2)))
        for chosen in ("own", "free")
    )
    chroma, free_chroma = (fine_chroma(d.picture.astype(np.float64) - small) for d in (own, free))
    assert chroma <= 0.35 * free_chroma
    assert own.record.last_loss >= 0.75 * free.record.last_loss
