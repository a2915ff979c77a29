"""JSON that onnxdream wrote is read back unchanged, and anything else is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest

from onnxdream.models.decoding import DecodeError, decoded, decoded_json


@dataclass(frozen=True)
class Part:
    name: str
    size: tuple[int, int]
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    share: float
    done: bool
    versions: dict[str, str]
    anything: Any = None
    last: Part | None = None


WHOLE = Whole(
    (Part("x", (1, 2)), Part("y", (3, 4), "b")), 0.5, True, {"numpy": "2"}, [1, {"z": None}], Part("l", (0, 0))
)


def test_a_dataclass_survives_a_round_trip_through_json() -> None:
    assert decoded_json(Whole, json.dumps(asdict(WHOLE))) == WHOLE
    assert decoded(Whole, {**json.loads(json.dumps(asdict(WHOLE))), "share": 2}).share == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": "0.5"}, "share is not a number"),
        ({"share": True}, "share is not a number"),
        ({"share": float("inf")}, "share is not a finite number"),
        ({"done": 1}, "done is not true or false"),
        ({"parts": {}}, "parts is not a list"),
        ({"parts": [{"name": "x"}]}, "it lacks parts.0.size"),
        ({"parts": [{"name": "x", "size": [1, 2], "more": 1}]}, "'more' is unknown"),
        ({"parts": [{"name": "x", "size": [1]}]}, "parts.0.size is not a list of 2"),
        ({"parts": [{"name": "x", "size": [1, 2.0]}]}, "parts.0.size.1 is not a whole number"),
        ({"parts": [{"name": "x\0", "size": [1, 2]}]}, "parts.0.name is not text without a null"),
        ({"parts": [{"name": "x", "size": [1, 2], "kind": "c"}]}, "parts.0.kind is not one of a, b"),
        ({"versions": {"numpy": 2}}, "a value of versions is not text"),
        ({"versions": []}, "versions is not an object"),
        ({"last": 1}, "last is not an object"),
    ],
)
def test_data_of_another_structure_is_refused_with_its_path(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DecodeError) as error:
        decoded(Whole, {**json.loads(json.dumps(asdict(WHOLE))), **change})
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "\x00"])
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="it is not JSON"):
        decoded_json(Whole, text)
