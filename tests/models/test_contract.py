"""The metadata of a bundle: what was written is read back, and anything else is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from onnxdream.models.arrays import Size
from onnxdream.models.contract import (
    SCHEMA,
    BundleError,
    BundleFormatError,
    BundleNotFoundError,
    BundleVersionError,
    Check,
    Layer,
    Memory,
    Metadata,
    Weights,
    export_command,
)

METADATA = Metadata(
    backbone="tiny",
    layers=(Layer("low", 14, 2), Layer("hôhe", 8, 8), Layer("logits", 2, 8, is_global=True)),
    objective="mean",
    smallest_size=Size(19, 21),
    weights=Weights("birds.keras", "0" * 64, "CC-BY 4.0"),
    precision="fp32",
    opset=17,
    exporter={"onnxdream": "0.1.0", "onnx": "1.23.2"},
    verification=(Check("noise 19x19", "low", 1.5e-7, 0.999999, 1.00001), Check("flat", "mixed signs", 0.0, 1, 1)),
    border=2,
    memory=Memory(2.5e7, 1700.0),
    class_names=("crane", "great white heron, Ardea occidentalis"),
)


def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(METADATA.to_json())
    return parsed


def paths(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yields the path of every value in a JSON document; of lists only the first item is visited."""
    if at:
        yield at
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*at, key))
    if isinstance(value, list):
        yield from paths(value[0], (*at, 0))


def with_value(at: tuple[str | int, ...], change: Callable[[Any], Any]) -> str:
    """Returns the metadata's JSON with the value at a path changed."""
    data: Any = document()
    parent = data
    for step in at[:-1]:
        parent = parent[step]
    parent[at[-1]] = change(parent[at[-1]])
    return json.dumps(data)


PATHS = list(paths(json.loads(METADATA.to_json())))
OPTIONAL = ("is_global", "class_names")
KEYS = [p for p in PATHS if isinstance(p[-1], str) and p[0] != "exporter" and p[-1] not in OPTIONAL] + [("exporter",)]
WRONG: dict[str, object] = {
    "null": None,
    "true": True,
    "false": False,
    "a list of null": [None],
    "an object": {"name": None},
    "a control character": "mixed0\x1b[31m",
    "a line break": "mixed0\nmixed1",
    "half a surrogate pair": "\ud800",
    "not a number": float("nan"),
    "infinity": float("inf"),
    "a huge whole number": 10**400,
    "a huge negative": -(10**400),
    "nested lists": [[[[[[[[]]]]]]]],
}


def test_metadata_survives_a_round_trip_through_json() -> None:
    assert Metadata.from_json(METADATA.to_json()) == METADATA
    assert METADATA.layer_names == ("low", "hôhe", "logits")
    assert document()["schema"] == "{}.{}".format(*SCHEMA)
    assert set(document()) == {"schema", *asdict(METADATA)}


@pytest.mark.parametrize("at", KEYS, ids=str)
def test_a_missing_key_is_named(at: tuple[str | int, ...]) -> None:
    data: Any = document()
    parent = data
    for step in at[:-1]:
        parent = parent[step]
    del parent[at[-1]]
    name = re.escape(".".join(map(str, at)))
    with pytest.raises(BundleFormatError, match=rf"lacks {name}\b"):
        Metadata.from_json(json.dumps(data))


def of_a_wrong_type() -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yields the path of every value with a name in `WRONG`."""
    for at in PATHS:
        for name, value in WRONG.items():
            if not (at[-1] == "is_global" and isinstance(value, bool)):
                yield at, name


@pytest.mark.parametrize(("at", "wrong"), list(of_a_wrong_type()), ids=str)
def test_a_value_of_a_wrong_type_is_refused(at: tuple[str | int, ...], wrong: str) -> None:
    with pytest.raises(BundleError) as error:
        Metadata.from_json(with_value(at, lambda _: WRONG[wrong]))
    message = str(error.value)
    assert message.isprintable()
    assert len(message) < 200


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("layers",), []),
        (("layers", 0, "name"), 3),
        (("layers", 0, "channels"), "14"),
        (("layers", 0, "channels"), 14.0),
        (("layers", 0, "channels"), 0),
        (("layers", 0, "channels"), 10**7),
        (("layers", 0, "stride"), -2),
        (("layers", 0, "stride"), -1),
        (("layers", 1, "name"), "low"),
        (("smallest_size",), [19]),
        (("smallest_size",), [19, 0]),
        (("smallest_size",), [19, 10**9]),
        (("smallest_size",), [19.0, 19.0]),
        (("opset",), "17"),
        (("opset",), -17),
        (("exporter", "onnx"), 1.23),
        (("exporter",), {"on\nnx": "1"}),
        (("verification", 0, "cosine"), "1"),
        (("weights",), "random"),
        (("class_names",), ["crane"]),
        (("class_names",), ["crane", 2]),
        (("layers", 2, "name"), "scores"),  # class names without the layer that they belong to
        (("layers", 2, "is_global"), 1),
    ],
)
def test_a_value_out_of_bounds_is_refused(at: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(BundleFormatError, match=r"export the bundle again|update onnxdream"):
        Metadata.from_json(with_value(at, lambda _: value))


def test_whole_numbers_are_accepted_as_floats() -> None:
    text = with_value(("memory",), lambda _: {"fixed": 7, "per_pixel": 255})
    assert Metadata.from_json(text).memory == Memory(7.0, 255.0)


def test_a_layer_sees_a_part_of_the_picture_and_has_no_class_names_unless_the_metadata_says_so() -> None:
    data = document()
    del data["layers"][2]["is_global"], data["class_names"]
    metadata = Metadata.from_json(json.dumps(data))
    assert not any(layer.is_global for layer in metadata.layers)
    assert metadata.class_names == ()


# Bundles of the former contract


def former(**changes: object) -> str:
    """The metadata as it was while each network had an input range of its own."""
    data = document() | {"input_range": [-1.0, 1.0], "channel_order": "RGB"}
    del data["class_names"]
    data["layers"] = [{"name": name, "channels": 8, "stride": 2} for name in ("mixed4", "mixed5")]
    data |= {"backbone": "v3", "border": 0, "weights": {"source": "imagenet-8bit", "sha256": "", "licence": ""}}
    return json.dumps({**data, **changes})


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, ""),
        ({"objective": "l2", "border": 2}, " --objective l2 --border 2"),
        ({"precision": "fp16"}, " --precision fp16"),
        ({"weights": {"source": "random", "sha256": "", "licence": ""}}, " --weights random"),
        ({"weights": {"source": "my birds.keras", "sha256": "", "licence": ""}}, " --weights 'my birds.keras'"),
    ],
)
def test_a_bundle_of_the_former_contract_is_refused_with_the_command_that_exports_it_again(
    changes: dict[str, object], options: str
) -> None:
    command = f"onnxdream export --model v3 --layers mixed4,mixed5{options}"
    for text in (former(**changes), former(**changes, channel_order="BGR")):
        with pytest.raises(BundleVersionError) as error:
            Metadata.from_json(text)
        assert str(error.value) == f"it was made by an earlier onnxdream: export it again with {command}"
    missing = json.loads(former(**changes))
    del missing["channel_order"]
    with pytest.raises(BundleVersionError, match="export it again with"):
        Metadata.from_json(json.dumps(missing))


@pytest.mark.parametrize(
    "changes",
    [{"backbone": 3}, {"layers": []}, {"layers": "mixed4"}, {"border": "2"}, {"border": -2}, {"weights": None}],
    ids=str,
)
def test_a_damaged_bundle_of_the_former_contract_is_refused_without_a_command(changes: dict[str, object]) -> None:
    with pytest.raises(BundleVersionError, match=r"^it was made by an earlier onnxdream: export the bundle again$"):
        Metadata.from_json(former(**changes))


def test_a_bundle_of_the_former_contract_with_control_characters_is_damaged() -> None:
    with pytest.raises(BundleFormatError, match="control characters"):
        Metadata.from_json(former(backbone="v3\x1b[31m"))


def test_the_command_that_exports_a_bundle_leaves_out_defaults() -> None:
    assert export_command("v3", ("mixed0", "mixed1")) == "onnxdream export --model v3 --layers mixed0,mixed1"
    assert METADATA.export_command.startswith(
        "onnxdream export --model tiny --layers 'low,hôhe,logits' --weights birds"
    )


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        ("1.1", "update onnxdream"),
        ("2.0", "update onnxdream"),
        ("10.1", "update onnxdream"),
        ("0.9", "export the bundle again"),
        ("0.99", "export the bundle again"),
    ],
)
def test_another_contract_version_is_refused_with_a_remedy(schema: str, advice: str) -> None:
    with pytest.raises(BundleVersionError, match=f"follows contract {schema}, this onnxdream follows 1.0: {advice}$"):
        Metadata.from_json(json.dumps({**document(), "schema": schema}))


@pytest.mark.parametrize(
    "schema", ["", "1", "one", "-1.0", "1.0.0", "²", "².0", "9" * 5000, "2.\x1b[31m", " 1.0", "1.0\n"]
)
def test_a_malformed_contract_version_is_refused(schema: str) -> None:
    with pytest.raises(BundleFormatError) as error:
        Metadata.from_json(json.dumps({**document(), "schema": schema}))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "3",
        "[]",
        '"onnxdream"',
        "{}",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"schema": "1.0", "opset": ' + "9" * 5000 + "}",
        "\x00",
        "NaN",
    ],
    ids=lambda text: text[:12],
)
def test_text_that_is_not_metadata_is_refused(text: str) -> None:
    with pytest.raises(BundleFormatError):
        Metadata.from_json(text)


@pytest.mark.parametrize("depth", range(50, 1001, 50))
def test_deep_nesting_anywhere_raises_a_bundle_error(depth: int) -> None:
    nest = "[" * depth + "]" * depth
    for at in (("exporter", "onnx"), ("layers", 0, "name"), ("class_names",), ("weights",)):
        text = with_value(at, lambda _: "NEST").replace('"NEST"', nest)
        with pytest.raises(BundleError):
            Metadata.from_json(text)


def test_every_error_is_a_bundle_error_and_a_built_in_exception() -> None:
    assert issubclass(BundleFormatError, BundleError)
    assert issubclass(BundleFormatError, ValueError)
    assert issubclass(BundleVersionError, BundleError)
    assert issubclass(BundleNotFoundError, BundleError)
    assert issubclass(BundleNotFoundError, FileNotFoundError)
