"""Films from Python: what carries over from frame to frame, and what does not."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, noise, photograph

from onnxdream.models.arrays import Pixels
from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.ascent.step import Step
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.film.frames.coherence import DreamedFrame, FilmDream, dream_film
from onnxdream.runtime.film.frames.exposure import visibility
from onnxdream.runtime.film.frames.shots import LOOK_AHEAD
from onnxdream.runtime.film.settings import Coherence

TINY = Bundle.load(TINY_BYTES)
SETTINGS = Settings(steps=4, step_size=0.03, octaves=2, jitter=3, execution=Execution("cpu", 1))
WALL = cv2.normalize(cv2.GaussianBlur(noise(120, 400), (0, 0), 1.2), None, 0, 255, cv2.NORM_MINMAX)
OTHER = np.ascontiguousarray(cv2.applyColorMap(photograph(64, 96)[..., 2], cv2.COLORMAP_AUTUMN))


def view(left: int) -> Pixels:
    return np.ascontiguousarray(WALL[20:84, left : left + 96])


def pan(frames: int, step: int = 2) -> list[Pixels]:
    return [view(step * i) for i in range(frames)]


def film(frames: Sequence[Pixels | None], settings: Settings = SETTINGS, **options: object) -> list[DreamedFrame]:
    return list(FilmDream(TINY, settings, Coherence(steps_next=2), **options).frames(frames))


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_the_first_frame_is_the_whole_dream_and_each_frame_has_its_dream() -> None:
    frames = pan(5)
    found = film(frames)
    whole = dream(frames[0], TINY, replace(SETTINGS, normalization="backbone")).picture
    np.testing.assert_array_equal(found[0].pixels, whole)
    assert [frame.begins_shot for frame in found] == [True, False, False, False, False]
    assert all(
        frame.pixels.shape == (64, 96, 3) and difference(frame.pixels, source) > 2
        for frame, source in zip(found, frames, strict=True)
    )


def test_a_dream_moves_along_with_the_picture() -> None:
    """In a pan by 2 pixels, the change of a frame is much nearer to the moved change before than to the unmoved one."""
    frames = pan(4)
    shown = [frame.pixels.astype(np.float32) - source for frame, source in zip(film(frames), frames, strict=True)]
    moved = np.mean([np.abs(now[:, :-8] - before[:, 2:-6]).mean() for before, now in pairwise(shown)])
    unmoved = np.mean([np.abs(now[:, :-8] - before[:, :-8]).mean() for before, now in pairwise(shown)])
    assert moved < 0.6 * unmoved


def test_a_film_flickers_less_than_frames_dreamed_apart() -> None:
    frames = pan(4)
    apart = [dream(frame, TINY, replace(SETTINGS, normalization="backbone")).picture for frame in frames]
    together = [frame.pixels for frame in film(frames)]

    def flicker(shown: list[Pixels]) -> float:
        return float(
            np.mean([np.square(now[:, :-8].astype(float) - before[:, 2:-6]).mean() for before, now in pairwise(shown)])
        )

    assert flicker(together) < 0.6 * flicker(apart)


def test_a_frozen_shot_keeps_its_exposure() -> None:
    found = [frame.pixels for frame in film([view(0)] * 25)]
    means, deviations = ([float(function(frame)) for frame in found] for function in (np.mean, np.std))
    assert max(abs(mean - means[0]) for mean in means) < 1
    assert max(abs(deviation / deviations[0] - 1) for deviation in deviations) < 0.05


def test_a_cut_resets_everything() -> None:
    frames = [*pan(3), OTHER, OTHER]
    found = film(frames)
    assert [frame.begins_shot for frame in found] == [True, False, False, True, False]
    # The second shot is what a film of it alone is, but for its jitter, which is that of its number.
    alone = film([OTHER, OTHER], replace(SETTINGS, seed=1))
    for after, frame in zip(found[3:], alone, strict=True):
        np.testing.assert_array_equal(after.pixels, frame.pixels)


def test_a_flash_resets_nothing_and_leaves_no_trace() -> None:
    """The frame after a flash continues from the frame before it."""
    frames = pan(6)
    flash = np.full_like(frames[0], 255)
    flashed = [*frames[:3], flash, *frames[4:]]
    found = film(flashed)
    assert sum(frame.begins_shot for frame in found) == 1
    np.testing.assert_array_equal(found[3].pixels, flash)  # it shows nothing, so it is not dreamed
    plain = film(frames)
    assert difference(found[5].pixels, plain[5].pixels) < 0.5 * difference(plain[5].pixels, frames[5])


def test_a_flash_that_shows_the_picture_is_dreamed_but_carries_nothing_over() -> None:
    frames = pan(6)
    flash = (frames[3] * 0.3 + 178).astype(np.uint8)
    found = film([*frames[:3], flash, *frames[4:]])
    assert sum(frame.begins_shot for frame in found) == 1
    assert difference(found[3].pixels, flash) > 2
    gap = film([*frames[:3], None, *frames[4:]])  # the frame after it continues from the same one
    np.testing.assert_array_equal(found[4].pixels, gap[4].pixels)


def test_a_fade_to_black_ends_in_black_and_what_follows_is_a_new_shot() -> None:
    fade = [1.0, 0.6, 0.3, 0.1, 0.03]
    levels = [*fade, *[0.0] * (LOOK_AHEAD + 2), *reversed(fade)]
    frames = [(view(0) * level).astype(np.uint8) for level in levels]
    found = film(frames)
    black = len(fade) + LOOK_AHEAD + 2 + 1  # the faintest frame counts as black
    assert [i for i, frame in enumerate(found) if frame.begins_shot] == [0, black]
    changes = [difference(frame.pixels, source) for frame, source in zip(found, frames, strict=True)]
    assert changes[len(fade) : black] == [0.0] * (black - len(fade))
    assert 0 < changes[3] < changes[0]


def test_a_missing_frame_is_the_one_before_it() -> None:
    frames = [None, view(0), None, view(2)]
    found = film(frames)
    assert [(frame.begins_shot, frame.is_repeated) for frame in found] == [(True, False), (False, True), (False, False)]
    np.testing.assert_array_equal(found[1].pixels, found[0].pixels)


def test_a_frame_that_cannot_be_dreamed_is_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxdream.runtime.film.frames import coherence

    frames = pan(4)
    plain = film(frames)
    real, calls = coherence._ascend, iter(range(4))
    monkeypatch.setattr(coherence, "_ascend", lambda *given: "diverged" if next(calls) == 2 else real(*given))
    found = film(frames)
    assert [frame.is_repeated for frame in found] == [False, False, True, False]
    np.testing.assert_array_equal(found[2].pixels, plain[1].pixels)


def test_after_a_frame_that_cannot_be_dreamed_its_shot_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later frames are compared with it, so that shots begin where they begin without dreaming."""
    from onnxdream.runtime.film.frames import coherence

    frames = pan(4)
    real, calls = coherence._ascend, iter(range(4))
    monkeypatch.setattr(coherence, "_ascend", lambda *given: "diverged" if next(calls) == 2 else real(*given))
    dreaming = FilmDream(TINY, SETTINGS, Coherence(steps_next=2))
    for _ in zip(range(3), dreaming.frames(frames), strict=False):
        pass
    assert dreaming.state is not None
    assert dreaming.state.shot is not None
    np.testing.assert_array_equal(dreaming.state.shot.seen.frame, frames[2])


def test_an_earlier_state_continues_to_the_bit() -> None:
    frames = [*pan(4), OTHER, OTHER]
    plain = film(frames)
    for done in (2, 4, 5):
        begun = FilmDream(TINY, SETTINGS, Coherence(steps_next=2))
        for _, _ in zip(range(done), begun.frames(iter(frames)), strict=False):
            pass
        rest = film(frames[done:], state=begun.state)
        for frame, expected in zip(rest, plain[done:], strict=True):
            np.testing.assert_array_equal(frame.pixels, expected.pixels)
            assert (frame.loss, frame.begins_shot) == (expected.loss, expected.begins_shot)


def test_on_step_ends_a_film_before_the_frame() -> None:
    steps: list[int] = []

    def on_step(step: Step) -> bool:
        steps.append(step.number)
        return len(steps) > 12

    found = list(FilmDream(TINY, SETTINGS, Coherence(steps_next=2)).frames(pan(9), on_step))
    assert 1 <= len(found) < 9


def test_a_mask_and_a_guide_hold_for_all_frames() -> None:
    mask = np.zeros((64, 96), bool)
    mask[:, :40] = True
    frames = pan(3)
    for frame, source in zip(film(frames, mask=mask, guide=noise(50, 50, seed=4)), frames, strict=True):
        np.testing.assert_array_equal(frame.pixels[:, 40:], source[:, 40:])
        assert (frame.pixels[:, :36] != source[:, :36]).any()


def test_frames_may_change_their_size_and_their_depth() -> None:
    deep = noise(70, 90, dtype=np.uint16)
    found = film([view(0), deep, deep])
    assert [frame.begins_shot for frame in found] == [True, True, False]
    assert [(frame.pixels.shape, frame.pixels.dtype) for frame in found[1:]] == [((70, 90, 3), np.uint16)] * 2


def test_a_film_is_a_generator_of_arrays_which_reads_only_a_little_ahead() -> None:
    read = 0

    def endless() -> Iterator[Pixels]:
        nonlocal read
        while True:
            read += 1
            yield view(0)

    frames = dream_film(endless(), TINY, SETTINGS, Coherence(steps_next=1))
    assert [next(frames).shape for _ in range(3)] == [(64, 96, 3)] * 3
    assert read <= 3 + LOOK_AHEAD


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"coherence": {}}, r"coherence is made with Coherence\(…\), not dict"),
        ({"state": {}}, "state is that of an earlier FilmDream, not dict"),
        ({"choice": "cpu"}, "choice is what choose_provider returns, not str"),
        ({"flow": 3}, "flow is a function that is called with two frames, not int"),
        ({"earlier_shots": "2"}, "earlier shots are a number, not str"),
        ({"log": 3}, "log is a function that is called with a line, not int"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=f"^{words}$"):
        next(dream_film(pan(1), TINY, SETTINGS, **wrong))


def test_the_arguments_are_those_of_a_film_dream() -> None:
    ours, theirs = (inspect.signature(one).parameters for one in (dream_film, FilmDream))
    assert [(one.name, one.kind, one.annotation) for one in ours.values()][1:] == [
        (one.name, one.kind, one.annotation) for one in theirs.values()
    ]


@pytest.mark.parametrize("wrong", [{"persist": 1.1}, {"persist": -1}, {"steps_next": 0}, {"steps_next": "many"}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong)).replace("_", " ")):
        Coherence(**wrong)


def test_the_pictures_here_are_visible() -> None:
    """The tests above show nothing if their frames were blank."""
    assert visibility(np.moveaxis(OTHER.astype(np.float32) / 127.5 - 1, 2, 0)) == 1
