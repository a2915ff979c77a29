"""What a notebook shows of an object: a few words, never its arrays or bytes."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, noise, save

from onnxdream.runtime import Bundle, Dream, Execution, Preparation, Sessions, Settings, dream, prepare
from onnxdream.runtime.ascent.step import State
from onnxdream.runtime.deploying.reference import Reference
from onnxdream.runtime.dream.writer import Job
from onnxdream.runtime.image.files import read_picture
from onnxdream.runtime.image.formats.kinds import read_container
from onnxdream.runtime.image.processor import Mask

BULKY = re.compile(r"\b(bytes|Buffer|NDArray|Floats|Image|Losses|Pixels|Positions|Tile)\b")
PICTURE = noise(300, 400)
SETTINGS = Settings(steps=1, optimizer="adam", colours="own", execution=Execution("cpu", 1, tile_pixels=10_000))


def dataclasses_of(room: str) -> list[type[Any]]:
    """The dataclasses that are defined in the modules of a room."""
    package = importlib.import_module(f"onnxdream.{room}")
    names = [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    found = [value for name in names for value in vars(importlib.import_module(name)).values()]
    kinds = {value for value in found if isinstance(value, type) and dataclasses.is_dataclass(value)}
    return sorted(
        (kind for kind in kinds if kind.__module__.startswith(package.__name__)), key=lambda kind: kind.__name__
    )


@pytest.mark.parametrize("room", ["models", "runtime"])
def test_no_dataclass_shows_arrays_or_bytes(room: str) -> None:
    found = dataclasses_of(room)
    assert len(found) > 8
    for kind in found:
        if hasattr(kind.__repr__, "__wrapped__"):  # made by dataclasses, with all fields
            types = {field.name: str(field.type) for field in dataclasses.fields(kind) if field.repr}
            bulky = [name for name, of in types.items() if BULKY.search(of) and not of.startswith("Callable")]
            assert not bulky, (kind, bulky)


def objects(folder: Path) -> list[object]:
    """One of each kind that holds arrays or bytes and that a user may see, of a size as in real life."""
    bundle = Bundle.load(TINY_BYTES)
    path = save(folder / "picture.png", PICTURE)
    states: list[State] = []
    preparation = prepare(PICTURE, bundle, SETTINGS)
    dreamed = preparation.ascend(lambda step: states.append(step.fetch_state()))
    return [
        bundle,
        Bundle.built_in(),
        Bundle.built_in().source,
        Sessions(bundle),
        preparation,
        preparation.tile_plan,
        preparation.tile_plan.tiles[0],
        dreamed,
        dream(PICTURE, bundle, Settings(steps=1)),
        *states,
        read_picture(path),
        read_container(path.read_bytes()),
        Mask(np.ones((300, 400), np.float32)),
        Reference(PICTURE, np.ones(3, np.float32), np.ones((3, 300, 400), np.float32)),
    ]


def test_the_reprs_are_short(tmp_path: Path) -> None:
    for thing in objects(tmp_path):
        shown = repr(thing)
        assert len(shown) < 500, (type(thing), len(shown))
        assert "array(" not in shown
        assert type(thing).__name__ in shown
        assert shown.isascii()  # `print` to a file may not encode more, as on Windows


def test_a_job_shows_its_bundle_in_a_few_words() -> None:
    job = Job(Bundle.built_in(), Settings())
    assert "<Bundle v3-low: v3, 3 layers>" in repr(job)


def test_the_main_reprs_say_what_a_notebook_user_wants_to_know() -> None:
    preparation = prepare(noise(40, 53), Bundle.load(TINY_BYTES), Settings(steps=2, octaves=2))
    assert repr(preparation) == "<Preparation of 53x40, 2 octaves with bundle on cpu>"
    dreamed = preparation.ascend()
    assert isinstance(dreamed, Dream)
    assert isinstance(preparation, Preparation)
    first, last = dreamed.record.first_loss, dreamed.record.last_loss
    assert repr(dreamed) == f"<Dream 53x40: loss {first:.4g} to {last:.4g} in 4 steps, finished>"
