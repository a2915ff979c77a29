"""Cuts, and what only looks like one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pictures_fixture import photograph

from onnxdream.models.arrays import Pixels
from onnxdream.runtime.film.frames.shots import LOOK_AHEAD, change_between, is_another_picture, with_following

WALL = photograph(200, 700)
OTHER = np.ascontiguousarray(cv2.flip(cv2.applyColorMap(photograph(160, 240)[..., 0], cv2.COLORMAP_AUTUMN), 0))


def view(left: int) -> Pixels:
    return np.ascontiguousarray(WALL[20:180, left : left + 240])


def lit(frame: Pixels, level: int) -> Pixels:
    return np.full_like(frame, level)


def test_a_slow_camera_stays_in_its_shot() -> None:
    assert change_between(view(0), view(4), [view(8), view(12)]) == "same"


def test_another_picture_is_a_cut() -> None:
    assert change_between(view(0), OTHER, [OTHER] * LOOK_AHEAD) == "cut"
    assert change_between(view(0), OTHER, []) == "cut"  # the last frame


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("length", [1, 3])
def test_a_flash_is_no_cut(level: int, length: int) -> None:
    before, after = view(0), view(8)
    flash = lit(before, level)
    following = [*[flash] * (length - 1), after, after]
    assert change_between(before, flash, following) == "flash"
    assert change_between(before, after, [after]) == "same"  # as before the flash


def test_a_light_that_stays_on_begins_a_shot() -> None:
    assert change_between(view(0), lit(view(0), 255), [lit(view(0), 255)] * LOOK_AHEAD) == "cut"


def test_a_fast_camera_is_no_cut() -> None:
    frames = [np.ascontiguousarray(OTHER[:, ::-1] if i % 2 else OTHER) for i in range(4)]  # each as far from the next
    assert change_between(frames[0], frames[1], [view(0)]) != "cut"


def test_a_frame_of_another_size_is_a_cut() -> None:
    assert change_between(view(0), view(0)[:100], []) == "cut"


def test_little_trust_and_other_colours_are_another_picture() -> None:
    assert is_another_picture(view(0), OTHER, lambda: 0.2)
    assert not is_another_picture(view(0), OTHER, lambda: 0.9)
    assert not is_another_picture(view(0), view(10), lambda: 0.2)


def test_frames_come_with_those_that_follow() -> None:
    frames = [np.full((2, 2, 3), i, np.uint8) for i in range(7)]
    found = list(with_following([frames[0], None, *frames[1:]]))
    assert [None if frame is None else int(frame[0, 0, 0]) for frame, _ in found] == [0, None, 1, 2, 3, 4, 5, 6]
    assert [[int(other[0, 0, 0]) for other in following] for _, following in found][:3] == [
        [1, 2, 3],
        [1, 2, 3, 4],
        [2, 3, 4, 5],
    ]
    assert found[-1][1] == []
