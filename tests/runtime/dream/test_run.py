"""One run from Python: what it takes, and what an interrupt leaves."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, noise, save

from onnxdream.models.interrupts import interruptible
from onnxdream.runtime import Bundle, Dream, Execution, Sessions, Settings, Step, dream, prepare
from onnxdream.runtime.errors import DreamError, SettingsError
from onnxdream.runtime.image.source import noise_picture

FEW = Settings(steps=3, step_size=0.02, execution=Execution("cpu", 1))
TINY = Bundle.load(TINY_BYTES)
PICTURE = noise(40, 53)


def test_a_picture_a_mask_and_a_guide_may_be_paths_and_a_bundle_a_name(home: Path, tmp_path: Path) -> None:
    library = home / "bundles"
    library.mkdir(parents=True)
    (library / "tiny.onnx").write_bytes(TINY_BYTES)
    mask, guide = np.tri(40, 53, dtype=bool), noise(60, 60, seed=3)
    paths = {
        "mask": save(tmp_path / "m.png", (mask * np.uint8(255))[..., None].repeat(3, axis=2)),
        "guide": str(save(tmp_path / "g.png", guide)),
    }
    by_path = dream(save(tmp_path / "p.png", PICTURE), "tiny", FEW, **paths)  # type: ignore[arg-type]
    by_array = dream(PICTURE, TINY, FEW, mask=mask, guide=guide)
    np.testing.assert_array_equal(by_path.picture, by_array.picture)
    np.testing.assert_array_equal(by_path.losses, by_array.losses)
    assert (by_array.picture != PICTURE).any()
    np.testing.assert_array_equal(by_array.picture[~mask], PICTURE[~mask])


def test_a_grey_picture_and_guide_are_dreamed_in_colour() -> None:
    grey = PICTURE[..., 0]
    found = dream(grey, TINY, FEW, guide=grey[::-1].copy())
    assert found.picture.shape == (40, 53, 3)
    colours = np.stack([grey] * 3, axis=2)
    np.testing.assert_array_equal(found.picture, dream(colours, TINY, FEW, guide=colours[::-1].copy()).picture)


def test_settings_may_be_a_preset_s_name() -> None:
    assert prepare(PICTURE, Bundle.built_in("v3-mid-l2"), "feathers").settings.octaves > 1
    assert prepare(PICTURE, TINY, None).settings == Settings()


async def awaited(step: Step) -> None:
    """An `on_step` as a program with asyncio may have it: its coroutine would count as True, and stop the dream."""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"picture": None}, "the picture is None, which cv2.imread returns"),
        ({"picture": 3}, "not int"),
        ({"bundle": None}, "a bundle is .* not NoneType"),
        ({"bundle": 3}, "a bundle is .* not int"),
        ({"settings": {"steps": 3}}, r"not dict: write Settings\(\*\*settings\)"),
        ({"settings": 3}, "settings are Settings, the name of a preset or None, not int"),
        ({"settings": "feather"}, "did you mean feathers"),
        ({"on_step": PICTURE}, "on_step is a function .* not ndarray"),
        ({"mask": "lost.png"}, "lost.png: no such picture"),
        ({"mask": [0]}, "a mask is an array, .* not list"),
        ({"guide": 3.0}, "a guide is an array, .* not float"),
        ({"changes": [1]}, r"changes are a list of Change, .* not \[1\]"),
        ({"changes": "abc"}, "changes are a list of Change, .* not 'abc'"),
        ({"changes": 3}, "changes are a list of Change, .* not 3"),
        ({"log": 3}, "log is a function .* not int"),
        ({"on_step": awaited}, "on_step is awaited by nobody: give a function that is not async"),
        ({"state": {}}, r"state is what step\.fetch_state returns, not dict"),
        ({"choice": "cpu"}, "choice is what choose_provider returns, not str"),
        ({"sessions": 3}, r"sessions are made with Sessions\(bundle\), not int"),
        ({"sessions": Sessions(Bundle.built_in())}, r"not those of bundle: make them with Sessions\(bundle\)"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(DreamError, match=words) as refused:
        dream(**{"picture": PICTURE, "bundle": TINY, "settings": FEW, **wrong})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", ["lite0", None, TINY_BYTES])
def test_sessions_are_those_of_a_bundle_not_of_its_name(given: Any) -> None:
    with pytest.raises(SettingsError, match=rf"a Bundle, not {type(given).__name__}: write Sessions\(Bundle\.load\("):
        Sessions(given)


def test_dreams_can_be_told_apart_and_kept_in_a_set() -> None:
    one, other = dream(PICTURE, TINY, FEW), dream(PICTURE, TINY, FEW)
    assert one == one
    assert one != other
    assert [one, other].index(other) == 1
    assert len({one, other}) == 2


def test_a_preparation_ascends_once() -> None:
    preparation = prepare(PICTURE, TINY, FEW)
    preparation.ascend()
    with pytest.raises(DreamError, match="a preparation ascends once: call prepare again"):
        preparation.ascend()


def test_noise_needs_no_picture() -> None:
    settings = replace(FEW, noise=(53, 40), seed=7)
    found = dream(None, TINY, settings)
    expected = dream(noise_picture(53, 40, 7).pixels, TINY, replace(settings, noise=None))
    np.testing.assert_array_equal(found.picture, expected.picture)
    assert found.record.settings.noise == (53, 40)


def test_noise_contradicts_a_picture() -> None:
    with pytest.raises(SettingsError, match="noise is dreamed instead of a picture: give None"):
        dream(PICTURE, TINY, replace(FEW, noise=(53, 40)))


# Interrupts.


@contextmanager
def handled_by(handler: Any) -> Iterator[None]:
    """Lets a function handle Ctrl-C, as a program's or Python's own does."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is handler, "the dream has left another handler"
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt_at(number: int, times: int = 1) -> Any:
    def on_step(step: Step) -> None:
        if step.number == number:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return on_step


def interrupt_once_taken_over() -> None:
    """Interrupts a dream that has begun, at any step."""
    end = time.monotonic() + 60
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.1))
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("tile_pixels", [None, 1000])
def test_an_interrupt_returns_the_picture_so_far(number: int, tile_pixels: int | None) -> None:
    settings = replace(FEW, octaves=2, optimizer="adam", execution=Execution("cpu", 1, tile_pixels=tile_pixels))
    sessions = Sessions(TINY)
    with handled_by(signal.default_int_handler):
        found = dream(PICTURE, TINY, settings, interrupt_at(number), sessions=sessions)
        assert (found.record.ended, found.record.steps_done) == ("stopped", number)
        expected = dream(PICTURE, TINY, settings, lambda step: step.number == number)
        np.testing.assert_array_equal(found.picture, expected.picture)
        np.testing.assert_array_equal(found.losses, expected.losses)
        # The sessions are sound.
        again = dream(PICTURE, TINY, settings, sessions=sessions)
    np.testing.assert_array_equal(again.picture, dream(PICTURE, TINY, settings).picture)
    assert again.record.ended == "finished"


def test_an_interrupt_without_a_callback_stops_too() -> None:
    """It comes from another thread at any time, as in a notebook."""
    with handled_by(signal.default_int_handler):
        preparation = prepare(PICTURE, TINY, replace(FEW, steps=1_000_000))
        thread = threading.Thread(target=interrupt_once_taken_over)
        thread.start()
        found = preparation.ascend()
        thread.join()
    assert found.record.ended == "stopped"
    assert len(found.losses) == found.record.steps_done + 1
    again = dream(PICTURE, TINY, replace(FEW, steps=1_000_000), lambda step: step.number == found.record.steps_done)
    np.testing.assert_array_equal(found.picture, again.picture)


def test_a_second_interrupt_is_raised() -> None:
    with handled_by(signal.default_int_handler), pytest.raises(KeyboardInterrupt):
        dream(PICTURE, TINY, FEW, interrupt_at(1, times=2))
    assert dream(PICTURE, TINY, FEW).record.ended == "finished"


def test_a_program_that_handles_interrupts_itself_keeps_handling_them() -> None:
    seen: list[int] = []

    def handler(number: int, frame: object) -> None:
        seen.append(number)

    with handled_by(handler):
        assert dream(PICTURE, TINY, FEW, interrupt_at(1, times=2)).record.ended == "finished"
    assert seen == [signal.SIGINT] * 2


def test_the_command_line_s_second_ctrl_c_is_not_taken_over() -> None:
    """Its first one may come before the dream begins."""
    with interruptible() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            dream(PICTURE, TINY, FEW, interrupt_at(1))


def test_a_dream_in_another_thread_leaves_interrupts_alone() -> None:
    found: list[Dream] = []
    handlers: list[Any] = []
    with handled_by(signal.default_int_handler):
        run = lambda: found.append(dream(PICTURE, TINY, FEW, lambda step: handlers.append(signal.getsignal(2))))  # noqa: E731
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert found[0].record.ended == "finished"
    assert set(handlers) == {signal.default_int_handler}


def test_a_dream_within_a_dream_stops_the_outer_one() -> None:
    inner: list[Dream] = []

    def on_step(step: Step) -> None:
        if step.number == 1:
            inner.append(dream(PICTURE, TINY, FEW, interrupt_at(1)))

    with handled_by(signal.default_int_handler):
        outer = dream(PICTURE, TINY, FEW, on_step)
    assert inner[0].record.ended == "finished"
    assert (outer.record.ended, outer.record.steps_done) == ("stopped", 1)
