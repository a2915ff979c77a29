"""The command `features` with other objectives than channels: guides, directions, positions and walks."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, TINY_LITE_BYTES, Command, in_this_process, listing, load, photograph, save

from onnxdream.models.arrays import Floats
from onnxdream.runtime import Sessions
from onnxdream.runtime.features import command
from onnxdream.runtime.features.drawing import draw as draw_module
from onnxdream.runtime.features.drawing.draw import Drawn, draw
from onnxdream.runtime.features.feature import channels_of, layer_weights
from onnxdream.runtime.features.request import FeatureRequest, parse_feature_request
from onnxdream.runtime.image.files import read_picture

FEW = ("--size", "32", "--steps", "4", "--threads", "1", "--provider", "cpu", "--output", "out", "--model", "tiny.onnx")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with bundles, two pictures and a direction."""
    path = tmp_path / "here"
    path.mkdir()
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    (path / "lite.onnx").write_bytes(TINY_LITE_BYTES)
    save(path / "day.png", photograph(32, 28))  # seen as it is: guides are shrunk to the size of the pictures
    save(path / "night.png", 255 - photograph(28, 32)[::-1])
    np.save(path / "weights.npy", np.linspace(-1, 1, 12, dtype=np.float32))
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    run = in_this_process(capfd)
    return lambda *words: run("features", *words)


def record(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / f"{name}.json").read_text())
    return found


def request(*texts: str, **options: Any) -> FeatureRequest:
    given = {"model": "tiny.onnx", "size": 32, "steps": 60, "views": "none", "provider": "cpu", "threads": 1}
    return parse_feature_request(list(texts), {**given, **options})


def drawn(request: FeatureRequest) -> Drawn[Any]:
    sessions = Sessions(request.bundle)
    (found,) = draw(request.aims(sessions, lambda line: None), request.settings, sessions, request.choice.machine)
    return found


def means(found: FeatureRequest, image: Floats, positions: Floats | None = None) -> Floats:
    """The channel means of an image, of all layers."""
    sessions, metadata = Sessions(found.bundle), found.bundle.metadata
    height, width = image.shape[1:]
    session = sessions.get(height, width, found.choice.machine, takes_positions=positions is not None)
    weights = np.zeros((1, sum(layer.channels for layer in metadata.layers)), np.float32)
    found_means: Floats = session.evaluate_batch(image[None], layer_weights(metadata, []), weights, positions)[0][0]
    return found_means


def image_of(pixels: Any) -> Floats:
    image: Floats = (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)
    return image


def cosine(one: Floats, other: Floats) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        (("mid", "--direction", "day.png,night.png"), "mid-from-day-to-night"),
        (("mid", "--guide", "day.png"), "mid-caricature-of-day"),
        (("mid", "low", "--guide", "day.png", "--guide-by", "cosine"), "mid-low-like-day"),
        (("mid:2", "--position", "mid:0.5,0.25"), "mid-2-at-0.5-0.25"),
    ],
)
def test_a_picture_and_its_record_are_written(words: tuple[str, ...], stem: str, run: Command, folder: Path) -> None:
    finished = run(*words, *FEW)
    assert finished.code == 0, finished.err
    assert listing(folder / "out") == {f"{stem}.png", f"{stem}.json"}
    assert f"saved as out/{stem}.png" in finished.err.replace("\\", "/")
    assert load(folder / "out" / f"{stem}.png").shape == (32, 32, 3)
    found = record(folder, stem)
    assert found["pictures"][0]["file"] == f"{stem}.png"
    assert found["pictures"][0]["steps"] == found["settings"]["steps"] == 4
    again = run(*words, *FEW)
    assert again.code == 1
    assert "exists: choose another --output, or replace it with --overwrite" in again.err
    assert run(*words, *FEW, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("words", "more", "fewer"),
    [
        (("mid:2", "--position", "mid:0.5,0.25"), ("--diversity", "2"), ()),
        (("mid:2,1",), ("--walk", "4"), ("--walk", "3")),
    ],
)
def test_fewer_pictures_leave_none_of_the_call_that_is_overwritten(
    words: tuple[str, ...], more: tuple[str, ...], fewer: tuple[str, ...], run: Command, folder: Path
) -> None:
    assert run(*words, *fewer, *FEW).code == 0
    expected = listing(folder / "out")
    assert run(*words, *more, *FEW, "--overwrite").code == 0
    assert listing(folder / "out") > expected
    assert run(*words, *fewer, *FEW, "--overwrite").code == 0
    assert listing(folder / "out") == expected


def test_the_channel_means_take_the_proportions_of_a_guide(folder: Path) -> None:
    found = request("mid", guide="day.png", guide_by="cosine")
    picture = drawn(found)
    layer = channels_of(found.bundle.metadata, "mid")
    target = means(found, image_of(read_picture(folder / "day.png").pixels))[layer]
    own = means(found, image_of(picture.pixels))[layer]
    noise = means(found, image_of(drawn(request("mid", guide="day.png", guide_by="cosine", steps=1)).pixels))[layer]
    assert picture.loss == pytest.approx(cosine(own, target), abs=0.01)
    assert cosine(own, target) > max(0.99, cosine(noise, target))


def test_a_caricature_exceeds_its_guide(folder: Path) -> None:
    assert drawn(request("mid", guide="day.png")).loss > 1  # the guide's own value


def test_a_direction_leads_from_one_picture_to_the_other(folder: Path) -> None:
    found = request("mid", direction="day.png,night.png")
    layer = channels_of(found.bundle.metadata, "mid")
    first, second = (
        means(found, image_of(read_picture(folder / name).pixels))[layer] for name in ("day.png", "night.png")
    )
    there, back = (drawn(one) for one in (found, request("mid", direction="day.png,night.png", sign="-")))
    along = second - first
    assert (means(found, image_of(there.pixels))[layer] - means(found, image_of(back.pixels))[layer]) @ along > 0


def test_weights_of_a_direction_may_come_from_a_file(folder: Path) -> None:
    channels = next(layer.channels for layer in request("mid:0").bundle.metadata.layers if layer.name == "mid")
    weights = np.zeros(channels, np.float32)
    weights[3] = 1
    np.save(folder / "third.npy", weights)
    found = request("mid", direction="third.npy")
    sessions = Sessions(found.bundle)
    (aim,) = found.aims(sessions, lambda line: None)
    start = channels_of(found.bundle.metadata, "mid").start
    assert aim.maximised.channel_weights is not None
    assert np.flatnonzero(aim.maximised.channel_weights).tolist() == [start + 3]
    assert aim.file_stem == "mid-along-third"


def test_a_position_is_that_of_a_neuron(folder: Path) -> None:
    found = request("low:1", position=["low:0.25,0.75"])
    picture = drawn(found)
    (aim,) = found.aims(Sessions(found.bundle), lambda line: None)
    place = channels_of(found.bundle.metadata, "low").start + 1
    there = means(found, image_of(picture.pixels), aim.maximised.positions)[place]
    assert picture.loss == pytest.approx(there, rel=0.1)
    # Nothing pulls at what the neuron does not see, so that only its surroundings differ from the noise.
    noise = drawn(request("low:1", position=["low:0.25,0.75"], steps=1, step_size=1e-6))
    change = np.abs(picture.pixels.astype(int) - noise.pixels).sum(axis=2)
    assert change[:16, 16:].mean() > 2 * change[16:, :16].mean()


def test_a_walk_is_a_row_of_pictures_from_one_channel_to_the_other(run: Command, folder: Path) -> None:
    finished = run("mid:0,2", "--walk", "4", *FEW)
    assert finished.code == 0, finished.err
    stations = [f"mid-0-to-2-{place}.png" for place in range(1, 5)]
    assert listing(folder / "out") == {*stations, "mid-0-to-2.png", "mid-0-to-2.json"}
    strip = load(folder / "out" / "mid-0-to-2.png")
    for place, name in enumerate(stations):
        np.testing.assert_array_equal(strip[:, 32 * place : 32 * place + 32], load(folder / "out" / name))
    found = record(folder, "mid-0-to-2")
    assert [picture["file"] for picture in found["pictures"]] == stations
    assert [picture["steps"] for picture in found["pictures"]] == [2, 4, 2, 2]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("mid:0,2", "--walk", "2"), "mid-0-to-2.png"),
        (("mid:0,2", "--walk", "2"), "mid-0-to-2-2.png"),
        (("mid:0", "--position", "mid:0.5,0.5", "--diversity", "2"), "mid-0-at-0.5-0.5-2.png"),
        (("mid", "--guide", "day.png"), "mid-caricature-of-day.json"),
    ],
)
def test_a_file_that_is_there_is_left_alone(words: tuple[str, ...], name: str, run: Command, folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / name).write_bytes(b"mine")
    finished = run(*words, *FEW)
    assert finished.code == 1
    assert f"{name} exists" in finished.err
    assert listing(folder / "out") == {name}
    assert (folder / "out" / name).read_bytes() == b"mine"


def interrupt_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the next drawing stop as by Ctrl-C when it has asked this many times whether it shall."""
    left = iter(range(calls))

    @contextmanager
    def interruptible() -> Iterator[Callable[[], int | None]]:
        yield lambda: None if next(left, None) is not None else signal.SIGINT

    monkeypatch.setattr(command, "interruptible", interruptible)


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        (("mid", "--guide", "day.png"), 3),
        (("mid", "--direction", "day.png,night.png", "--diversity", "2"), 3),
        (("mid:0,2", "--walk", "4"), 2),  # in its first picture
        (("mid:0,2", "--walk", "4"), 6),  # in its second
    ],
)
def test_what_was_interrupted_is_drawn_by_the_same_call(
    words: tuple[str, ...], calls: int, run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*words, *FEW, "--output", "whole").code == 0
    with monkeypatch.context() as patch:
        interrupt_after(calls, patch)
        stopped = run(*words, *FEW)
    assert stopped.code == 128 + signal.SIGINT, stopped.err
    assert "finished: the same command continues" in stopped.err
    again = run(*words, *FEW)
    assert again.code == 0, again.err
    assert listing(folder / "out") == listing(folder / "whole")
    for name in listing(folder / "out"):
        assert (folder / "out" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert "exists: choose another --output" in run(*words, *FEW).err


@pytest.mark.parametrize("words", [("mid:0,1,2",), ("mid:0,2", "--position", "mid:0.5,0.5")])
def test_what_was_interrupted_as_it_replaced_files_continues_without_overwrite(
    words: tuple[str, ...], run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it, the same command would begin anew."""
    assert run(*words, *FEW).code == 0
    with monkeypatch.context() as patch:
        patch.setattr(draw_module, "_BATCH_PIXELS", 1)
        interrupt_after(7, patch)  # in the second picture
        stopped = run(*words, *FEW, "--overwrite")
    assert stopped.err.splitlines()[-1].endswith(": the same command without --overwrite continues")
    assert "1 drawn already" in run(*words, *FEW).err


def test_only_what_is_unfinished_is_drawn_again(run: Command, folder: Path) -> None:
    words = ("mid:0,1", "--position", "mid:0.5,0.5", *FEW)
    assert run(*words).code == 0
    first, second = (folder / "out" / f"mid-{channel}-at-0.5-0.5" for channel in (0, 1))
    first.with_name(f"{first.name}.png").write_bytes(b"kept")
    path = second.with_name(f"{second.name}.json")
    path.write_text(path.read_text().replace('"steps": 4,\n   "of_steps"', '"steps": 3,\n   "of_steps"'))
    again = run(*words)
    assert again.code == 0, again.err
    assert "1 drawn already, 1 to draw" in again.err
    assert first.with_name(f"{first.name}.png").read_bytes() == b"kept"
    assert record(folder, second.name)["pictures"][0]["steps"] == 4


def test_what_was_interrupted_with_other_settings_is_left_alone(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(3, patch)
        run("mid", "--guide", "day.png", *FEW)
    other = run("mid", "--guide", "day.png", *FEW, "--steps", "5")
    assert "mid-caricature-of-day.png exists: choose another --output" in other.err


def test_the_weights_of_a_walk_go_from_the_first_channel_to_the_last(folder: Path) -> None:
    found = request("mid:0", "low:2", walk=5)
    aims = found.aims(Sessions(found.bundle), lambda line: None)
    metadata = found.bundle.metadata
    places = [channels_of(metadata, "mid").start, channels_of(metadata, "low").start + 2]
    weights = {aim.place: aim.maximised.channel_weights for aim in aims}
    shares = [tuple(np.asarray(weights[place])[places]) for place in range(1, 6)]
    assert shares == [(1, 0), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0, 1)]
    assert [aim.place for aim in aims] == [3, 2, 4, 1, 5]
    assert [aim.follows.place if aim.follows else None for aim in aims] == [None, 3, 3, 2, 4]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("mid", "low", "--direction", "day.png,night.png"), "a direction is one in a single layer, not in mid, low"),
        (("mid:1", "--direction", "day.png,night.png"), "--direction is for whole layers: name mid instead of mid:1"),
        (("mid", "--direction", "day.png"), "give a .npy file, or two pictures"),
        (("mid", "--direction", "weights.npy"), "give a weight for each channel"),
        (("mid", "--direction", "none.npy"), "none.npy"),
        (("mid:1", "--guide", "day.png"), "--guide is for whole layers"),
        (("mid", "--guide", "none.png"), "none.png"),
        (("mid", "--guide", "day.png", "--guide-by", "surplus"), "compares with a picture, and there is none"),
        (("mid", "--guide", "day.png", "--guide-by", "magic"), "guide by 'magic': write cosine, caricature or"),
        (("mid", "--guide-by", "cosine"), "give one, as in --guide PICTURE"),
        (("mid", "--guide", "day.png", "--sign", "-"), "a guide has no opposite"),
        (("mid", "--guide", "day.png", "--diversity", "2"), "leave one of them out"),
        (("mid", "--guide", "day.png", "--direction", "weights.npy"), "contradict each other"),
        (("mid:0,1", "--walk", "3", "--guide", "day.png"), "contradict each other"),
        (("mid:0,1", "--walk", "3", "--diversity", "2"), "leave one of them out"),
        (("mid:0,1", "--walk", "1"), "walk must be"),
        (("mid:0", "--walk", "3"), "a walk is between two channels, not 1"),
        (("mid", "--walk", "3"), "a walk is between two channels, not"),
        (("mid", "--position", "mid:0.5,0.5"), "not for the atlas of a layer: name some, as in mid:0"),
        (("mid:0", "--position", "low:0.5,0.5"), "is of a layer that is not drawn"),
        (("mid:0", "low:0", "--position", "mid:0.5,0.5"), "low has no position"),
        (("mid:0", "--position", "mid:0.5"), "is not understood"),
        (("mid:0", "--position", "mid:0.5,2"), "lies outside the picture"),
        (("nothing", "--guide", "day.png"), "is not in the bundle"),
    ],
)
def test_contradictions_are_told_in_one_line(words: tuple[str, ...], reason: str, run: Command, folder: Path) -> None:
    finished = run(*words, *FEW)
    assert finished.code in (1, 2)
    (error,) = (line for line in finished.err.splitlines() if line.startswith("error: "))
    assert reason in error
    assert "Traceback" not in finished.err
    assert not (folder / "out").exists()


def test_a_layer_of_one_value_has_no_position(run: Command) -> None:
    finished = run("logits:2", "--position", "logits:0.5,0.5", *FEW[:-1], "lite.onnx")
    assert "has no position" in finished.err
