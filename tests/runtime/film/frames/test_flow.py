"""Optical flow and warping, on pictures whose motion is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pictures_fixture import noise, photograph

from onnxdream.models.arrays import Image, Pixels, Size
from onnxdream.runtime.film.frames.flow import DisFlow, Motion, motion_between

WALL = cv2.normalize(cv2.GaussianBlur(noise(260, 420), (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX)


def view(top: int, left: int, height: int = 160, width: int = 240) -> Pixels:
    """What a camera sees of the wall."""
    return np.ascontiguousarray(WALL[top : top + height, left : left + width])


def planes(frame: Pixels) -> Image:
    return np.ascontiguousarray(np.moveaxis(frame.astype(np.float32), 2, 0))


@pytest.mark.parametrize(("down", "right"), [(0, 3), (2, 5), (-3, 0), (0, -7)])
def test_the_flow_finds_how_the_camera_moved(down: int, right: int) -> None:
    earlier, frame = view(30, 60), view(30 + down, 60 + right)
    motion = motion_between(frame, earlier, DisFlow())
    inner = motion.backward[24:-24, 24:-24]
    errors = np.hypot(inner[..., 0] - right, inner[..., 1] - down)
    assert np.median(errors) < 0.3
    assert motion.trusted_share > 0.85


def test_warping_takes_what_belongs_to_the_picture_along() -> None:
    earlier, frame = view(30, 60), view(32, 65)
    motion = motion_between(frame, earlier, DisFlow())
    warped = motion.warped(planes(earlier))
    inside = np.abs(warped - planes(frame))[:, 8:-8, 8:-8]
    assert inside.mean() < 0.25 * np.abs(planes(earlier) - planes(frame))[:, 8:-8, 8:-8].mean()


def test_an_image_of_another_size_is_warped_by_the_same_motion() -> None:
    """A flow is in pixels of its own size."""
    backward = np.zeros((10, 20, 2), np.float32)
    backward[..., 0] = 1.0  # each pixel was one to the right
    image = np.tile(np.arange(40, dtype=np.float32), (3, 20, 1))
    warped = Motion(backward, np.ones((10, 20), np.float32)).warped(image)
    np.testing.assert_allclose(warped[:, :, :36], image[:, :, :36] + 2, atol=1e-4)
    assert not warped[:, :, -1].any()  # it comes from outside the picture


def test_what_was_hidden_is_not_trusted() -> None:
    """A square moves across the wall: what it uncovers, and what the camera's frame did not hold, was not there."""
    square = np.ascontiguousarray(255 - WALL[:60, 300:360])
    earlier, frame = view(30, 60), view(30, 60)
    earlier[50:110, 60:120] = square
    frame[50:110, 80:140] = square
    motion = motion_between(frame, earlier, DisFlow())
    trust = motion.trust_at(Size(160, 240))
    assert trust[55:105, 64:76].mean() < 0.55  # uncovered
    assert trust[:, 180:].mean() > 0.95
    assert trust[55:105, 90:130].mean() > 0.9  # the square itself


def test_what_comes_into_the_picture_is_not_trusted() -> None:
    motion = motion_between(view(30, 80), view(30, 60), DisFlow())
    assert motion.trust[:, -15:].mean() < 0.1
    assert motion.trust[:, :-40].mean() > 0.9


def test_another_brightness_of_the_same_picture_is_trusted() -> None:
    darker = (view(30, 60) * 0.6).astype(np.uint8)
    assert motion_between(darker, view(30, 60), DisFlow()).trusted_share > 0.9


def test_other_pictures_are_not_trusted() -> None:
    other = cv2.flip(photograph(160, 240), -1)
    assert motion_between(other, view(30, 60), DisFlow()).trusted_share < 0.5


def test_a_tiny_frame_has_no_flow() -> None:
    frame = view(0, 0, 9, 12)
    motion = motion_between(frame, frame, DisFlow())
    assert not motion.backward.any()
    assert motion.trust.min() > 0.99


def test_large_frames_are_compared_at_a_smaller_size() -> None:
    large = cv2.resize(WALL, (1280, 792))
    assert motion_between(large, large, DisFlow()).backward.shape == (317, 512, 2)
