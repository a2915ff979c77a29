"""The endless zoom: where the camera moves to, tones that hold, loops, and films that continue."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, noise

from onnxdream.models.arrays import Pixels
from onnxdream.runtime import Bundle, Execution, Sessions, Settings, Step, dream
from onnxdream.runtime.errors import DivergedError, SettingsError
from onnxdream.runtime.film.frames.zoom import ZoomDream, faded, moved
from onnxdream.runtime.film.settings import Camera

TINY = Bundle.load(TINY_BYTES)
SETTINGS = Settings(steps=3, step_size=0.02, octaves=2, jitter=4, colours="own", execution=Execution("cpu", 1))
PICTURE = noise(60, 80)


def pictures(camera: Camera, settings: Settings = SETTINGS) -> list[Pixels]:
    return [frame.pixels for frame in ZoomDream(PICTURE, TINY, settings, camera).frames()]


@pytest.mark.parametrize(
    ("camera", "place"),
    [
        (Camera(zoom=1.5), (99.5 + 1.5 * 40, 49.5 + 1.5 * 20)),
        (Camera(zoom=0.5), (99.5 + 0.5 * 40, 49.5 + 0.5 * 20)),
        (Camera(zoom=1, rotate=90), (99.5 + 20, 49.5 - 40)),  # anticlockwise: from the right to the top
        (Camera(zoom=2, centre=(0.6, 0.55)), (119.5 + 2 * 20, 54.5 + 2 * 15)),
    ],
)
def test_a_point_moves_to_where_geometry_says(camera: Camera, place: tuple[float, float]) -> None:
    y, x = np.mgrid[:100, :200]
    spot = np.exp(-((x - 139.5) ** 2 + (y - 69.5) ** 2) / (2 * 2.0**2)).astype(np.float32)
    (found,) = moved(spot[None], camera)
    found[np.hypot(x - place[0], y - place[1]) > 15] = 0  # reflections
    mass = found / found.sum()
    np.testing.assert_allclose(((mass * x).sum(), (mass * y).sum()), place, atol=0.05)


def test_the_first_frame_is_the_dream_of_the_picture() -> None:
    (first,) = islice(ZoomDream(PICTURE, TINY, SETTINGS, Camera()).frames(), 1)
    assert first.begins_shot
    np.testing.assert_array_equal(first.pixels, dream(PICTURE, TINY, SETTINGS).picture)


def test_a_later_frame_is_the_one_before_moved_and_dreamed_on() -> None:
    still = replace(SETTINGS, step_size=1e-9)
    first, second = pictures(Camera(zoom=1.1, rotate=3, seconds=2, fps=1), still)
    matrix = cv2.getRotationMatrix2D((39.5, 29.5), 3, 1.1)
    expected = cv2.warpAffine(first, matrix, (80, 60), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    # Up to a linear map of the colours, which holds the tones.
    correlation = np.corrcoef(expected.ravel().astype(float), second.ravel().astype(float))[0, 1]
    assert correlation > 0.99
    dreamed = pictures(Camera(zoom=1.1, rotate=3, seconds=2, fps=1))[1]
    assert np.abs(dreamed.astype(float) - second).mean() > 1


@pytest.mark.parametrize("zoom", [1.04, 0.96])
def test_means_and_contrasts_hold_over_30_frames(zoom: float) -> None:
    frames = np.stack(pictures(Camera(zoom=zoom, rotate=1.5, seconds=30, fps=1))).astype(float)
    means, contrasts = frames.mean(axis=(1, 2)), frames.std(axis=(1, 2))
    assert np.abs(means - means[0]).max() < 0.5
    np.testing.assert_allclose(contrasts, np.broadcast_to(contrasts[0], contrasts.shape), rtol=0.02)
    greyness = [np.corrcoef(frame.reshape(-1, 3).T)[0, 2] for frame in frames]
    np.testing.assert_allclose(greyness, greyness[0], atol=0.02)


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1)])
def test_a_camera_moves_over_a_picture_that_is_one_pixel_wide(size: tuple[int, int]) -> None:
    """With OpenCV 5.0, a reflection at its border never returned, and no signal ended it."""
    image = np.random.default_rng(0).uniform(-1, 1, (3, *size)).astype(np.float32)
    seen = moved(image, Camera(zoom=1.1, rotate=3, seconds=2, fps=1))
    assert seen.shape == image.shape
    assert np.isfinite(seen).all()


@pytest.mark.parametrize("loop", [False, True])
def test_a_film_continues_bit_for_bit(loop: bool) -> None:
    camera = Camera(seconds=6, fps=1.6 if loop else 1, loop=loop, rotate=1)
    whole = pictures(camera)
    first = ZoomDream(PICTURE, TINY, SETTINGS, camera)
    begun = [frame.pixels for frame in islice(first.frames(), 3)]
    rest = ZoomDream(PICTURE, TINY, SETTINGS, camera, state=first.state)
    continued = [frame.pixels for frame in rest.frames()]
    assert len(begun) + len(continued) == len(whole) == camera.count
    np.testing.assert_array_equal([*begun, *continued], whole)


def test_on_step_ends_the_film_before_its_frame() -> None:
    steps: list[Step] = []

    def on_step(step: Step) -> bool:
        steps.append(step)
        return len(steps) == 12

    film = ZoomDream(PICTURE, TINY, SETTINGS, Camera(seconds=5, fps=1))
    # The whole dream evaluates its result, too: 7 calls; the second frame then has 6.
    assert len(list(film.frames(on_step))) == 1
    assert film.state is not None
    assert film.state.number == 1
    assert [frame.loss for frame in film.frames()] == [
        frame.loss for frame in ZoomDream(PICTURE, TINY, SETTINGS, Camera(seconds=5, fps=1)).frames()
    ][1:]


def test_a_loop_ends_where_it_begins() -> None:
    camera = Camera(zoom=1.1, seconds=4, fps=4, loop=True)
    frames = [frame.astype(float) for frame in pictures(camera)]
    assert len(frames) == 16
    steps = [np.abs(later - frame).mean() for frame, later in pairwise(frames)]
    assert np.abs(frames[0] - frames[-1]).mean() < 1.5 * np.median(steps)
    contrasts = [frame.std() for frame in frames]
    np.testing.assert_allclose(contrasts, np.median(contrasts), rtol=0.03)
    plain = pictures(replace(camera, loop=False))
    np.testing.assert_array_equal(frames[:12], plain[4:])  # the first second is what the end is faded into


def test_a_loop_of_few_frames_fades_half_of_them() -> None:
    assert len(pictures(Camera(seconds=3, fps=1, loop=True))) == 3
    assert len(pictures(Camera(seconds=1, fps=1, loop=True))) == 1


def test_a_fade_has_the_contrast_of_its_frames_and_their_means() -> None:
    random = np.random.default_rng(0)
    end, beginning = random.integers(60, 190, (2, 200, 300, 3), np.uint8)
    for share in (0.1, 0.5, 0.8):
        mix = faded(end, beginning, share)
        contrast = (1 - share) * _contrast(end) + share * _contrast(beginning)
        assert _contrast(mix) == pytest.approx(contrast, rel=0.01)
        means = (1 - share) * end.mean((0, 1)) + share * beginning.mean((0, 1))
        np.testing.assert_allclose(mix.mean((0, 1)), means, atol=0.5)
    np.testing.assert_array_equal(faded(end, end, 0.5), end)


def _contrast(pixels: Pixels) -> float:
    return float((pixels - pixels.mean(axis=(0, 1))).std())


def test_16_bits_stay_and_transparency_is_left_out() -> None:
    logged: list[str] = []
    picture = noise(60, 80, channels=4, dtype=np.uint16)
    (frame,) = ZoomDream(picture, TINY, SETTINGS, Camera(seconds=1, fps=1), log=logged.append).frames()
    assert (frame.pixels.dtype, frame.pixels.shape) == (np.uint16, (60, 80, 3))
    assert any("transparency" in line for line in logged)


def test_a_zoom_may_begin_in_noise() -> None:
    settings = replace(SETTINGS, noise=(48, 40))
    assert [frame.pixels.shape for frame in ZoomDream(None, TINY, settings, Camera(seconds=2, fps=1)).frames()] == [
        (40, 48, 3)
    ] * 2


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"settings": replace(SETTINGS, colours="lightness")}, "choose own or free"),
        ({"settings": replace(SETTINGS, layer_weights={"lov": 1.0})}, "the nearest are low"),
        ({"sessions": Sessions(Bundle.built_in("lite0"))}, "the sessions are not those"),
    ],
)
def test_mistakes_are_explained(choices: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ZoomDream(PICTURE, TINY, **{"settings": SETTINGS, **choices})


def test_a_diverged_frame_ends_the_film() -> None:
    settings = replace(SETTINGS, gradient_norm="none", step_size=1e9, clip=False)
    with pytest.raises(DivergedError, match="frame 0 is not a finite number: choose a smaller --step-size"):
        list(ZoomDream(PICTURE, TINY, replace(settings, steps=40), Camera()).frames())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"zoom": 3}, "zoom must be a number from 0.5 to 2"),
        ({"centre": (0.5,)}, "centre must be x and y as parts of the picture"),
        ({"centre": (0.5, 1.5)}, "centre must be a number from 0 to 1"),
        ({"seconds": 0}, "seconds must be a number from 0.01"),
        ({"loop": 1}, "loop must be true or false"),
        ({"steps_next": 0}, "steps next must be a whole number"),
    ],
)
def test_a_camera_s_settings_are_checked(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Camera(**values)
