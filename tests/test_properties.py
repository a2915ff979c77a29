"""Settings, records, config files and command lines drawn at random: each is accepted and kept, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from pictures_fixture import TINY_BYTES, noise, save

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from onnxdream.models.errors import OnnxdreamError  # noqa: E402
from onnxdream.runtime.dream.record import read_record  # noqa: E402
from onnxdream.runtime.dream.request import parse_request  # noqa: E402
from onnxdream.runtime.errors import RecordError, SettingsError  # noqa: E402
from onnxdream.runtime.settings.options import OPTIONS  # noqa: E402
from onnxdream.runtime.settings.presets import PRESETS  # noqa: E402
from onnxdream.runtime.settings.settings import Execution, Settings, settings_from_dict  # noqa: E402

# The same cases in every run, however slow the machine is.
steady = settings(max_examples=300, deadline=None, derandomize=True, database=None)
NAMES = [field.name for field in fields(Settings) if field.name != "execution"]
# Every value that some preset gives a setting, the defaults among them.
KNOWN = {name: [getattr(preset.settings, name) for preset in PRESETS.values()] for name in NAMES}

numbers = st.one_of(st.integers(-2, 10), st.integers(), st.floats(), st.floats(0, 2))
known_words = st.sampled_from(["own:0.5", "1:0", "low:1,-2", "strongest:3", "l2", "1GB", "none"])
words = st.one_of(st.text(max_size=8), known_words)
scalars = st.one_of(st.none(), st.booleans(), numbers, words)
pairs, lists = st.tuples(numbers, numbers), st.lists(scalars, max_size=3)
anything = st.one_of(scalars, lists, pairs, st.dictionaries(words, scalars, max_size=2))


def refusal(act: Callable[[], object], error: type[Exception] = OnnxdreamError) -> str | None:
    """The message with which an error refuses something; None if nothing is refused."""
    try:
        act()
    except error as raised:
        return str(raised)
    return None


@st.composite
def changes(draw: Any) -> dict[str, Any]:
    """A few settings with values that are known, or anything."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    return {name: draw(st.one_of(st.sampled_from(KNOWN[name]), anything)) for name in names}


@steady
@given(changes())
def test_settings_are_kept_by_their_record_or_refused(chosen: dict[str, Any]) -> None:
    if refusal(lambda: Settings(**chosen), SettingsError) is None:
        accepted = Settings(**chosen)
        assert settings_from_dict(json.loads(json.dumps(asdict(accepted), allow_nan=False))) == accepted


@steady
@given(st.dictionaries(st.sampled_from([field.name for field in fields(Execution)]), anything, max_size=3))
def test_executions_are_json_or_refused(chosen: dict[str, Any]) -> None:
    if refusal(lambda: Execution(**chosen), SettingsError) is None:
        accepted = asdict(Execution(**chosen))
        assert json.loads(json.dumps(accepted, allow_nan=False)) == accepted


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def record_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The record of a real dream."""
    from onnxdream.runtime import Bundle, dream

    made = dream(noise(36, 44), Bundle.load(TINY_BYTES), Settings(steps=2, execution=Execution("cpu", 1)))
    return made.record.to_json()


@steady
@given(st.data())
def test_a_changed_record_is_read_or_refused(record_text: str, data: Any) -> None:
    record = json.loads(record_text)
    holder = data.draw(st.sampled_from([record, record["settings"], record["execution"], record["octaves"][0]]))
    holder[data.draw(st.sampled_from([*holder, "unknown"]))] = data.draw(json_values)
    message = refusal(lambda: read_record(json.dumps(record), "record.json").settings_to_repeat(), RecordError)
    assert message is None or message.startswith("record.json")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and the tiny bundle."""
    folder = tmp_path_factory.mktemp("here")
    save(folder / "bears.png", noise(36, 44))
    (folder / "tiny.onnx").write_bytes(TINY_BYTES)
    return folder


@steady
@given(st.dictionaries(st.sampled_from([option.name for option in OPTIONS if option.in_files]), anything, max_size=4))
def test_a_config_file_is_accepted_or_refused(here: Path, keys: dict[str, Any]) -> None:
    lines = [f"{key} = {toml(value)}" for key, value in keys.items()]
    (here / "run.toml").write_text("\n".join(lines), encoding="utf-8", errors="replace")
    options = {"config": here / "run.toml", "model": str(here / "tiny.onnx"), "provider": "cpu"}
    assert refusal(lambda: parse_request(options, with_images=True)) != ""


def toml(value: object) -> str:
    """A value as TOML has it, more or less."""
    if isinstance(value, float):
        return repr(value).replace("infinity", "inf")
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value).replace("null", '""').encode("utf-8", "replace").decode()


# What the command line makes of the words behind an option, by the option's type.
PARSED = {str: words, Path: words, int: st.integers(), float: st.floats(), bool: st.just(True)}


@st.composite
def parsed_options(draw: Any) -> dict[str, Any]:
    """A few options of the command line with values of their types."""
    chosen = draw(st.lists(st.sampled_from(OPTIONS), unique=True, max_size=4))
    return {option.name: draw(PARSED.get(option.type, st.lists(words, min_size=1, max_size=2))) for option in chosen}


@steady
@given(parsed_options(), st.booleans())
def test_options_are_accepted_or_refused(here: Path, options: dict[str, Any], with_images: bool) -> None:
    request = {"model": str(here / "tiny.onnx"), "provider": "cpu", **options}
    assert refusal(lambda: parse_request(request, with_images)) != ""
