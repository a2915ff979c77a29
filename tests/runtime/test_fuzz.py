"""Bundles and pictures that are damaged at random, from a fixed seed: each works or is refused in one clean line.

They are read in a process of its own, by this file run as a script, since damaged data may crash native code.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, message, noise

from onnxdream.models.contract import METADATA_KEY, Metadata
from onnxdream.models.errors import OnnxdreamError
from onnxdream.runtime import Bundle
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.onnx_file import read_model_file
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.image.files import read_picture
from onnxdream.runtime.image.formats.kinds import missing_reader
from onnxdream.runtime.image.formats.tiff import HEIGHT, WIDTH, Directory
from onnxdream.runtime.provider.machine import Machine

# The limits of the whole process, in bytes and seconds: a damaged size must not use up memory or time.
_MAX_MEMORY, _MAX_SECONDS = 6 * 2**30, 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_FACTS: dict[str, Any] = json.loads(read_model_file(TINY_BYTES).metadata[METADATA_KEY])
_ODD_VALUES = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -1e308, 1e308, float("nan"), float("inf"), 0.5),
    *("", "\x1b[31mred", "two\nlines", "\ud800", "\u202egnp.exe", "x" * 100_000, "1.0", "1.1", "0.9", "1.0\n"),
    *([], [1], [0, 0], [4096, 4096], [-1, 1], [1e308, 2e308], [[]], ["a", "a"], {}, {"": {}}, [{}], [None] * 1000),
)


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths, as keys and indices, to every value within a JSON value."""
    yield path
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield from paths_in(value[key], (*path, key))


def odd_facts(dice: random.Random) -> str:
    """A bundle's metadata of which one or two values are replaced, lost or renamed, or whose text is damaged."""
    facts = json.loads(json.dumps(_FACTS))
    for _ in range(dice.randint(1, 2)):
        part = dice.choice(list(facts))  # chosen first, since most of the values are in the many checks
        *above, last = dice.choice([(part, *path) for path in paths_in(facts[part])])
        holder = facts
        for key in above:
            holder = holder[key]
        match dice.randrange(6):
            case 0:
                del holder[last]
            case 1 if isinstance(holder, dict):
                holder[f"{last}\x1b"] = holder.pop(last)
            case _:
                holder[last] = copy.deepcopy(dice.choice(_ODD_VALUES))
    text = json.dumps(facts)
    if dice.random() < 0.2:
        at = dice.randrange(len(text))
        text = text[:at] + dice.choice(["", "[" * 5000, "\0", "\x1b", "}", '"', "9" * 5000, "é"]) + text[at + 1 :]
    return text


def with_facts(text: str) -> bytes:
    """The tiny bundle with that text as its metadata."""
    sound = message((14, message((1, METADATA_KEY), (2, read_model_file(TINY_BYTES).metadata[METADATA_KEY]))))
    assert TINY_BYTES.count(sound) == 1
    other = message((14, message((1, METADATA_KEY), (2, text.encode(errors="surrogatepass")))))
    return TINY_BYTES.replace(sound, other)


def damaged(data: bytes, dice: random.Random, head: int, in_place: float = 0.6) -> bytes:
    """Damages bytes, mostly among the first `head`: flips, replaces by extreme values, doubles, removes or cuts off.

    `in_place` is the share of cases in which all other bytes keep their positions.
    """
    changed, kinds = bytearray(data), 3 if dice.random() < in_place else 5
    for _ in range(dice.choice([1, 1, 2, 4, 16])):
        at = dice.randrange(min(head, len(changed)) if dice.random() < 0.7 else len(changed))
        match dice.randrange(kinds):
            case 0:
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                changed[at] = dice.choice([0x00, 0x7F, 0x80, 0xFF, dice.randrange(256)])
            case 2:
                changed[at : at + 4] = dice.choice(
                    [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\0\0\xff\xff"]
                )
            case 3:
                changed[at:at] = changed[at : at + dice.randrange(1, 40)]
            case _:
                del changed[at : at + dice.randrange(1, 40)]
        if not changed:
            return b""
    return bytes(changed[: dice.randrange(len(changed))] if dice.random() < 0.1 else changed)


def pictures() -> dict[str, bytes]:
    """A small sound picture in every format that is read, some in several variants."""
    grey, colour, clear, deep = noise(24, 32, 3)[..., 0], noise(24, 32), noise(24, 32, 4), noise(24, 32, 3, np.uint16)
    progressive = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    forms: dict[str, tuple[str, Any, tuple[int, ...]]] = {
        "JPEG": (".jpg", colour, ()),
        "progressive JPEG": (".jpg", colour, progressive),
        "grey JPEG": (".jpg", grey, ()),
        "PNG": (".png", colour, ()),
        "clear PNG": (".png", clear, ()),
        "deep PNG": (".png", deep, ()),
        "WebP": (".webp", clear, (cv2.IMWRITE_WEBP_QUALITY, 80)),
        "lossless WebP": (".webp", colour, (cv2.IMWRITE_WEBP_QUALITY, 101)),
        "TIFF": (".tif", colour, ()),
        "deep TIFF": (".tif", deep, (cv2.IMWRITE_TIFF_COMPRESSION, 1)),
        "BMP": (".bmp", colour, ()),
        **({} if missing_reader("GIF") else {"GIF": (".gif", colour, ())}),
        **({} if missing_reader("AVIF") else {"AVIF": (".avif", colour, ()), "clear AVIF": (".avif", clear, ())}),
    }
    return {name: cv2.imencode(suffix, pixels, how)[1].tobytes() for name, (suffix, pixels, how) in forms.items()}


def absurd_pictures() -> dict[str, bytes]:
    """Pictures whose sound headers state more pixels than any memory can hold."""
    sound = pictures()
    huge = {"huge PNG": bytearray(sound["PNG"]), "flat PNG": bytearray(sound["PNG"])}
    huge["huge PNG"][16:24] = b"\x7f\xff\xff\xff" * 2
    huge["flat PNG"][16:24] = b"\x7f\xff\xff\xff\0\0\0\1"
    for png in huge.values():
        png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    for name in ("JPEG", "grey JPEG", "progressive JPEG"):
        jpeg = huge[f"huge {name}"] = bytearray(sound[name])
        start = next(at for at in range(2, len(jpeg)) if jpeg[at] == 0xFF and jpeg[at + 1] in (0xC0, 0xC2))
        jpeg[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    huge["huge BMP"] = bytearray(sound["BMP"])
    huge["huge BMP"][18:26] = b"\xff\xff\xff\x7f" * 2
    huge["huge clear WebP"] = bytearray(sound["WebP"])  # VP8X stores each side minus one, in 24 bits
    huge["huge clear WebP"][24:30] = b"\xff" * 6
    huge["huge TIFF"] = bytearray(Directory(sound["TIFF"]).with_numbers({WIDTH: 65535, HEIGHT: 65535}))
    # Few enough pixels to be decoded, but their data are missing.
    huge["half a huge PNG"] = bytearray(sound["PNG"])
    huge["half a huge PNG"][16:24] = b"\0\0\x3f\xff" * 2
    huge["half a huge PNG"][29:33] = zlib.crc32(huge["half a huge PNG"][12:29]).to_bytes(4, "big")
    huge["half a huge WebP"] = bytearray(sound["lossless WebP"])  # it stores each side minus one, in 14 bits
    huge["half a huge WebP"][21:25] = b"\xff\xff\xff\x0f"
    return {name: bytes(data) for name, data in huge.items()}


# The functions that run in the separate process.


def read_facts(text: str) -> None:
    """Reads metadata, which must not contain control characters, since they are printed in terminals."""
    accepted = asdict(Metadata.from_json(text))
    if any(_CONTROL.search(value) for value in values(accepted) if isinstance(value, str)):
        raise ValueError("it accepted control characters")


def values(holder: Any) -> Iterator[Any]:
    """Every key and value within a dataclass that was turned into a dictionary."""
    if isinstance(holder, dict):
        yield from holder
        yield from (inner for value in holder.values() for inner in values(value))
    elif isinstance(holder, (list, tuple)):
        yield from (inner for value in holder for inner in values(value))
    else:
        yield holder


def compute(data: bytes) -> None:
    """Loads a bundle, and computes a gradient with it unless it needs large pictures."""
    bundle = Bundle.load(data)
    height, width = bundle.metadata.smallest_size
    if max(height, width) <= 64:
        session = Session(bundle, max(height, 24), max(width, 32), Machine("cpu", 1))
        image = np.zeros((3, max(height, 24), max(width, 32)), np.float32)
        session.evaluate(image, Objective(np.ones(len(bundle.metadata.layers), np.float32)))


def read_pixels(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged"
        path.write_bytes(data)
        read_picture(path)


def cases(kind: str, count: int, dice: random.Random) -> Iterator[tuple[str, Callable[[], None]]]:
    """The names of the cases, each with the function that runs it."""
    sound = pictures()
    for name, data in absurd_pictures().items() if kind == "pictures" else ():
        yield name, lambda data=data: read_pixels(data)  # type: ignore[misc]
    for number in range(count):
        if kind == "facts":
            text = odd_facts(dice)
            yield f"facts {number}", lambda text=text: read_facts(text)  # type: ignore[misc]
        elif kind == "bundles":
            whole = with_facts(odd_facts(dice)) if number % 4 == 0 else damaged(TINY_BYTES, dice, len(TINY_BYTES), 0.95)
            yield f"bundle {number}", lambda whole=whole: compute(whole)  # type: ignore[misc]
        else:
            name = dice.choice(list(sound))
            picture = damaged(sound[name], dice, 200)
            yield f"{name} {number}", lambda picture=picture: read_pixels(picture)  # type: ignore[misc]


def run(kind: str, count: int, seed: int) -> None:
    """Runs the cases, and prints for each how it ended."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    for name, act in cases(kind, count, random.Random(seed)):
        print(f"case {name}:", end=" ", flush=True)
        try:
            act()
            print("works")
        except OnnxdreamError as error:
            print(f"unclean {str(error)!r}" if _CONTROL.search(str(error)) or not str(error) else "refused")
        except Exception as error:
            print(f"unclean {type(error).__name__}: {error!s:.300}".replace("\n", " "))


# name -> the number of cases, and how many must work and be refused at least, so that the damage is of both kinds
KINDS = {"facts": (2000, 50, 1000), "bundles": (300, 20, 100), "pictures": (1000, 100, 300)}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_data_works_or_is_refused_in_one_clean_line(kind: str) -> None:
    count, working, refused = KINDS[kind]
    child = subprocess.run(
        [sys.executable, __file__, kind, str(count), "0"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_MAX_SECONDS,
        check=False,
    )
    lines = child.stdout.splitlines()
    assert child.returncode == 0, (lines[-1:], child.stderr[-2000:])
    assert not [line for line in lines if ": unclean" in line]
    assert sum(line.endswith(": works") for line in lines) >= working
    assert sum(line.endswith(": refused") for line in lines) >= refused


def test_sound_pictures_are_read(tmp_path: Path) -> None:
    """This shows that the test above refuses pictures because of their damage."""
    for name, data in pictures().items():
        (tmp_path / name).write_bytes(data)
        assert read_picture(tmp_path / name).pixels.shape[:2] == (24, 32), name


def test_the_tiny_bundle_computes() -> None:
    compute(with_facts(json.dumps(_FACTS)))


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
