"""The record of a run: what it states, what it does not reveal, and which files are refused as records."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, encode_into, noise, save

from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.bundle.choice import bundle_of
from onnxdream.runtime.dream.record import Record, read_record
from onnxdream.runtime.dream.repeat import find_file, find_source, load_record
from onnxdream.runtime.errors import DreamError, RecordError
from onnxdream.runtime.image.source import SourceFile
from onnxdream.runtime.provider.selection import choose_provider

SETTINGS = Settings(steps=3, layer_weights={"low": 1.0, "mid": -0.5}, max_size=32, execution=Execution("auto", 2))


@pytest.fixture(scope="module")
def record(tiny_path: Path) -> Record:
    """The record of a short dream of a picture file."""
    run = dream(noise(30, 40), Bundle.load(tiny_path), SETTINGS).record
    return replace(run, picture=SourceFile("bears.png", "0" * 64, "/somewhere/private/bears.png"))


def test_a_record_states_how_the_picture_was_made(record: Record, tiny_path: Path) -> None:
    assert record.bundle == SourceFile("tiny.onnx", hashlib.sha256(TINY_BYTES).hexdigest(), str(tiny_path.resolve()))
    assert record.layers == ("low", "mid", "high")
    assert record.settings == SETTINGS
    assert record.execution.provider in ("cpu", "cuda")
    assert record.execution.threads == 2
    assert [octave.size for octave in record.octaves] == [(24, 32)]
    assert [(octave.tile, octave.tiles) for octave in record.octaves] == [((24, 32), 1)]
    assert (record.steps_done, record.ended) == (3, "finished")
    assert record.last_loss > record.first_loss
    assert record.seconds >= 0
    assert {"python", "machine", "numpy", "onnxdream"} <= set(record.versions)
    assert any(name.startswith("onnxruntime") for name in record.versions)


def test_a_record_survives_json(record: Record) -> None:
    assert read_record(record.to_json(), "bears.json") == record


def test_without_paths_a_record_does_not_reveal_the_machine_s_folders(record: Record, tiny_path: Path) -> None:
    text = record.to_json(with_paths=False)
    assert "private" not in text
    assert str(tiny_path.parent) not in text
    without_paths = read_record(text, "bears.png")
    assert without_paths.bundle == SourceFile("tiny.onnx", record.bundle.sha256)
    assert without_paths.picture == SourceFile("bears.png", "0" * 64)
    assert replace(without_paths, bundle=record.bundle, picture=record.picture) == record


def test_a_repetition_has_the_provider_and_the_threads_that_the_run_used(record: Record) -> None:
    assert record.settings_to_repeat() == replace(SETTINGS, execution=record.execution)
    cpu_record = dream(noise(30, 40), Bundle.load(TINY_BYTES), replace(SETTINGS, execution=Execution("cpu"))).record
    repeated = cpu_record.settings_to_repeat().execution
    assert repeated.provider == "cpu"
    assert repeated.threads is not None
    assert repeated.tile_pixels is not None


def test_a_fallback_to_the_cpu_is_reported_and_recorded(broken_cuda: str) -> None:
    lines: list[str] = []
    record = dream(noise(20, 20), Bundle.load(TINY_BYTES), replace(SETTINGS, steps=1), log=lines.append).record
    assert (record.execution.provider, record.settings.execution.provider) == ("cpu", "auto")
    assert list(record.notices) == lines == [broken_cuda]


def test_a_notice_that_was_shown_is_recorded_and_not_repeated(broken_cuda: str) -> None:
    lines: list[str] = []
    settings = replace(SETTINGS, steps=1)
    choice = choose_provider(settings.execution)
    run = dream(noise(20, 20), Bundle.load(TINY_BYTES), settings, choice=choice, log=lines.append).record
    assert run.notices == (broken_cuda,)
    assert not lines


def test_a_bundle_from_bytes_has_no_path() -> None:
    assert dream(noise(20, 20), Bundle.load(TINY_BYTES), replace(SETTINGS, steps=1)).record.bundle.path is None


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], str]:
    def text(data: dict[str, Any]) -> str:
        change(data)
        return json.dumps(data)

    return text


BROKEN: dict[str, Callable[[dict[str, Any]], str]] = {
    "nothing": lambda data: "",
    "not JSON": lambda data: "{",
    "a list": lambda data: "[]",
    "a number": lambda data: "3",
    "an endlessly nested list": lambda data: "[" * 100_000,
    "other JSON": lambda data: '{"name": "bears"}',
    "no settings": changed(lambda data: data.pop("settings")),
    "settings of another kind": changed(lambda data: data.update(settings=[1, 2])),
    "steps below zero": changed(lambda data: data["settings"].update(steps=-1)),
    "steps beyond numbers": lambda data: json.dumps(data).replace('"step_size": 0.0005', '"step_size": 1' + "0" * 400),
    "an unknown setting": changed(lambda data: data["settings"].update(guidance="x")),
    "weights of another kind": changed(lambda data: data["settings"].update(layer_weights=["low"])),
    "an unknown provider": changed(lambda data: data["execution"].update(provider="magic")),
    "threads of another kind": changed(lambda data: data["execution"].update(threads="two")),
    "no execution": changed(lambda data: data.pop("execution")),
    "octaves of another kind": changed(lambda data: data.update(octaves=[1])),
    "an unknown key": changed(lambda data: data.update(more=1)),
    "a bundle of another kind": changed(lambda data: data.update(bundle="tiny.onnx")),
    "a path of another kind": changed(lambda data: data["bundle"].update(path=3)),
    "a path with a zero": changed(lambda data: data["bundle"].update(path="a\0b")),
    "a hash of another kind": changed(lambda data: data["picture"].update(sha256=None)),
    "a picture of another kind": changed(lambda data: data.update(picture=[1])),
    "layers of another kind": changed(lambda data: data.update(layers=5)),
    "settings as pairs": changed(lambda data: data.update(settings=[["steps", 3]])),
    "zero for no picture": changed(lambda data: data.update(picture=0)),
    "an octave with more": changed(lambda data: data["octaves"][0].update(size=[24, 32, 3])),
    "an octave of texts": changed(lambda data: data["octaves"][0].update(tiles="1")),
    "an octave of floats": changed(lambda data: data["octaves"][0].update(tile=[24.0, 32.0])),
    "octaves as an object": changed(lambda data: data.update(octaves={})),
}
WRONG: dict[str, list[Any]] = {
    "steps_done": ["many", "3", 3.0, -1, True, None, [3]],
    "ended": ["whatever", "", None, True, ["finished"], {}],
    "seconds": [None, "1.5", True, math.nan, math.inf, [1.5]],
    "first_loss": [None, "2.7", False, math.nan, -math.inf, 10**400],
    "last_loss": [None, "2.7", True, math.nan, math.inf, {}],
    "layers": ["abc", {"low": 1}, [1], [None], None],
    "notices": ["memory ran out", [1], {}, None],
    "versions": ["numpy", [], {"numpy": 2}, {"numpy": None}, None],
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_invalid_record_is_refused_in_one_line_that_names_the_file(name: str, record: Record) -> None:
    text = BROKEN[name](json.loads(record.to_json()))
    with pytest.raises(RecordError) as refused:
        read_record(text, "bears.json")
    assert str(refused.value).startswith("bears.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_value_of_another_type_is_refused_in_one_line(field: str, value: Any, record: Record) -> None:
    text = json.dumps({**json.loads(record.to_json()), field: value})
    with pytest.raises(RecordError) as refused:
        read_record(text, "bears.json")
    assert str(refused.value) == "bears.json holds no record of a dream: give the .json or the .png that a dream wrote"


def test_a_record_error_is_a_dream_error_and_a_value_error() -> None:
    assert issubclass(RecordError, DreamError)
    assert issubclass(RecordError, ValueError)


def test_a_record_is_read_from_its_file_and_from_inside_a_picture(record: Record, tmp_path: Path) -> None:
    beside, inside = tmp_path / "bears-dream.json", tmp_path / "bears-dream.png"
    beside.write_text(record.to_json())
    encode_into(inside, noise(20, 20), note=record.to_json(with_paths=False))
    assert load_record(beside) == record
    assert load_record(inside).settings == record.settings


@pytest.mark.parametrize("name", ["lost.json", "lost.png", "plain.png", "broken.png", "text.json", "folder.json"])
def test_a_file_without_a_record_is_refused(name: str, tmp_path: Path) -> None:
    save(tmp_path / "plain.png", noise(9, 9))
    (tmp_path / "broken.png").write_bytes((tmp_path / "plain.png").read_bytes()[:60])
    (tmp_path / "text.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(RecordError, match=f"record.*{name}|{name}.* holds no record"):
        load_record(tmp_path / name)


def test_the_picture_of_a_record_is_found_where_it_was_or_next_to_the_record(record: Record, tmp_path: Path) -> None:
    original, moved = save(tmp_path / "original" / "bears.png", noise(9, 9)), tmp_path / "bears.png"
    file = SourceFile("bears.png", hashlib.sha256(original.read_bytes()).hexdigest(), str(original))
    assert find_source(record.settings, file, tmp_path / "bears-dream.json").path == original
    original.rename(moved)
    assert find_file(file, tmp_path / "bears-dream.json") == moved
    assert find_file(replace(file, path=None), tmp_path / "x.json") == moved


@pytest.mark.parametrize("name", ["bears.png", "x" * 5000, "folder"])
def test_a_missing_or_changed_picture_is_reported(name: str, tmp_path: Path) -> None:
    save(tmp_path / "bears.png", noise(9, 9))
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecordError, match="is missing or has changed: put the original next to"):
        find_file(SourceFile(name, "1" * 64, str(tmp_path / name)), tmp_path / "x.json")


def test_a_record_without_a_picture_asks_for_one(record: Record, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="names no picture"):
        find_source(record.settings, None, tmp_path / "x.json")


def test_the_bundle_of_a_record_is_found_by_its_bytes(record: Record, home: Path, tmp_path: Path) -> None:
    assert bundle_of(record.bundle).data == TINY_BYTES
    moved = replace(record, bundle=replace(record.bundle, path=str(tmp_path / "gone.onnx")))
    with pytest.raises(RecordError, match=r"bundle tiny\.onnx \(SHA-256 [0-9a-f]{12}…\) was not found: copy"):
        bundle_of(moved.bundle)
    bundles = home / "bundles"
    bundles.mkdir(parents=True)
    (bundles / "broken.onnx").write_bytes(b"no bundle")
    (bundles / "renamed.onnx").write_bytes(TINY_BYTES)
    assert bundle_of(moved.bundle).path == bundles / "renamed.onnx"


def test_a_bundle_of_the_same_name_with_other_bytes_is_not_used(record: Record, tiny_path: Path) -> None:
    other = replace(record, bundle=replace(record.bundle, sha256=hashlib.sha256(b"").hexdigest()))
    assert Path(str(other.bundle.path)) == tiny_path.resolve()
    with pytest.raises(RecordError, match="was not found"):
        bundle_of(other.bundle)


def test_losses_are_recorded_as_weighted_sums() -> None:
    run = dream(noise(30, 40), Bundle.load(TINY_BYTES), SETTINGS)
    totals = run.losses @ np.array([1.0, -0.5, 0.0], np.float32)
    assert (run.record.first_loss, run.record.last_loss) == pytest.approx((totals[0], totals[-1]))
