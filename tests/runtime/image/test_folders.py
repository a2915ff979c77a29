"""The pictures found in folders, and the line on those that are left out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from picture_bytes import PROFILE, encoded
from pictures_fixture import encode_into

from onnxdream.runtime.errors import NoPicturesError, PictureNotFoundError, PictureReadError
from onnxdream.runtime.image import folders
from onnxdream.runtime.image.folders import find_pictures, is_result, read_suffixes
from onnxdream.runtime.image.formats.codec import WRITTEN_SUFFIXES

RECORD = {"bundle": {}, "settings": {}}
PIXELS = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture(autouse=True)
def plain_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """AVIF and GIF are read, HEIC is not, whatever is installed."""
    monkeypatch.setattr(folders, "missing_reader", lambda kind: "install it" if kind == "HEIC" else None)


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names_in(folder: Path, recursive: bool = False) -> tuple[list[str], list[str]]:
    """The pictures found in a folder, by their paths inside it, and the lines that were logged."""
    lines: list[str] = []
    return [os.path.relpath(path, folder) for path in find_pictures([folder], recursive, lines.append)], lines


def write_dream(folder: Path, name: str, *others: str) -> None:
    """Writes files as a dream leaves them: a picture with a note, and a record that lists it and `others`."""
    fill(folder, *others)
    encode_into(folder / name, PIXELS, note="{}")
    record = {**RECORD, "files": [name, *others]}
    (folder / name).with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")


def test_a_folder_s_pictures_are_listed_by_name(tmp_path: Path) -> None:
    fill(tmp_path, "b.JPG", "a.png", "american-dream-house.png", "c.tiff", "d.jfif", "e.gif", "f.avif", "notes.txt")
    fill(tmp_path, ".hidden.png", "folder.png/inside.png")
    (tmp_path / "link.png").symlink_to("folder.png")
    pictures = ["a.png", "american-dream-house.png", "b.JPG", "c.tiff", "d.jfif", "e.gif", "f.avif"]
    assert names_in(tmp_path) == (pictures, [])
    both = find_pictures([tmp_path / "b.JPG", tmp_path])
    assert [os.path.basename(path) for path in both] == ["b.JPG", *pictures]


def test_the_results_of_dreams_are_left_out_with_one_line(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    write_dream(tmp_path, "a-dream.png", "a-dream-losses.png", "a-dream-losses.csv", "a-dream-step0100.png")
    write_dream(tmp_path, "named.jpg", "named-step0001.jpg")
    (tmp_path / "a-dream.json").rename(tmp_path / "kept.json")
    pictures, lines = names_in(tmp_path)
    assert pictures == ["a-dream-losses.png", "a-dream-step0100.png", "a.png"]
    (tmp_path / "kept.json").rename(tmp_path / "a-dream.json")
    pictures, lines = names_in(tmp_path)
    assert pictures == ["a.png"]
    assert lines == [f"{tmp_path}: left out 5 files: a-dream-losses.png and 4 more (the result of a dream)"]
    assert list(find_pictures([tmp_path / "a-dream.png"])) == [str(tmp_path / "a-dream.png")]


def test_the_snapshots_of_an_unfinished_dream_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "a-dream-step0100.png", "a-dream.checkpoint", "b-step0100.png")
    assert names_in(tmp_path)[0] == ["a.png", "b-step0100.png"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[1]",
        '"files"',
        '{"files": ["a.png"]}',
        '{"bundle": 1, "settings": 2}',
        '{"bundle": 1, "settings": 2, "files": "a.png"}',
        '{"bundle": 1, "settings": 2, "files": [["a.png"], {}, null, 1]}',
        '{"bundle": 1, "settings": 2, "files": ["../a.png", "b.png"]}',
        "\udcff",
        "1" * 10_000,
    ],
)
def test_a_json_file_that_is_not_a_record_of_a_picture_does_not_hide_it(tmp_path: Path, text: str) -> None:
    fill(tmp_path, "a.png")
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogateescape"))
    assert names_in(tmp_path) == (["a.png"], [])


def test_a_record_that_is_a_pipe_or_too_large_is_not_read(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png")
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps({**RECORD, "files": ["b.png"]}) + " " * 2**24, encoding="utf-8")
    assert names_in(tmp_path)[0] == ["a.png", "b.png"]


def test_a_note_is_recognised_only_in_a_png(tmp_path: Path) -> None:
    encode_into(tmp_path / "noted.png", PIXELS, PROFILE, note="{}")
    assert is_result(tmp_path / "noted.png")
    (tmp_path / "plain.png").write_bytes(encoded(".png", PIXELS))
    (tmp_path / "short.png").write_bytes(encoded(".png", PIXELS)[:40])
    assert not is_result(tmp_path / "plain.png")
    assert not is_result(tmp_path / "short.png")
    assert not is_result(tmp_path / "missing.png")


def test_pictures_that_are_not_read_are_counted_with_the_reasons(tmp_path: Path) -> None:
    fill(tmp_path, "IMG_1.HEIC", "IMG_2.heif", "IMG_3.HEIC", "a.png", "b.nef", "clip.mov", "notes.txt")
    pictures, lines = names_in(tmp_path)
    assert pictures == ["a.png"]
    assert lines == [
        f"{tmp_path}: left out 4 files: IMG_1.HEIC and 2 more (HEIC is not read yet: install it), "
        "b.nef (camera raw is not read)"
    ]


def test_folders_inside_follow_in_order_without_links_and_hidden_ones(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "z.png",
        "b/2.png",
        "b/1.png",
        "b/inside/3.png",
        "a/4.png",
        "a/5.nef",
        ".thumbnails/6.png",
        "c/notes.txt",
    )
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    write_dream(tmp_path / "b", "1-dream.png")
    pictures, lines = names_in(tmp_path, recursive=True)
    assert pictures == ["z.png", "a/4.png", "b/1.png", "b/2.png", "b/inside/3.png"]
    assert lines == [
        f"{tmp_path}: left out 2 files: a/5.nef (camera raw is not read), b/1-dream.png (the result of a dream)"
    ]
    assert names_in(tmp_path) == (["z.png"], [])


def test_a_folder_without_pictures_and_a_missing_path_are_reported(tmp_path: Path) -> None:
    fill(tmp_path, "a.heic")
    lines: list[str] = []
    with pytest.raises(NoPicturesError) as caught:
        list(find_pictures([tmp_path], log=lines.append))
    assert str(caught.value) == (
        f"{tmp_path}: has no pictures (.png, .jpg, .jpeg, .webp, .tif, .tiff, .jfif, .bmp, .gif, .avif) other than "
        "hidden ones and earlier dreams; name another folder, or the files"
    )
    assert len(lines) == 1
    fill(tmp_path, "inside/a.png")
    with pytest.raises(NoPicturesError, match=r"or the files, or add --recursive$"):
        list(find_pictures([tmp_path]))
    with pytest.raises(PictureNotFoundError, match="no such picture"):
        list(find_pictures([tmp_path / "a.heic", tmp_path / "missing.png"]))
    with pytest.raises(PictureReadError, match="cannot be read"):
        list(find_pictures([tmp_path / ("long" * 100)]))


def test_a_name_that_is_not_utf_8_is_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    encode_into(tmp_path / f"{name}.png", PIXELS)
    write_dream(tmp_path, f"{name}-dream.png")
    assert names_in(tmp_path)[0] == [f"{name}.png"]


def test_every_suffix_that_is_written_is_also_read() -> None:
    assert set(WRITTEN_SUFFIXES) < set(read_suffixes())
