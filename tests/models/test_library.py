"""How bundles are named, where they are stored, and how they are found by name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from onnxdream.models import library
from onnxdream.models.assembly import DEFAULT
from onnxdream.models.backbones import BACKBONES, Backbone, UnknownBackboneError, find_backbone
from onnxdream.models.contract import BundleNotFoundError
from onnxdream.models.files import atomic_write
from onnxdream.models.library import NoHomeError, bundle_folder, bundle_name, bundle_paths, find_bundle

V3 = find_backbone("v3")
IRV2 = find_backbone("inception-resnet-v2")


def add_bundles(home: Path, *stems: str) -> list[Path]:
    """Adds empty bundles to the library, each one second newer than the one before."""
    paths = [home / "bundles" / f"{stem}.onnx" for stem in stems]
    for age, path in enumerate(paths):
        atomic_write(path, b"")
        os.utime(path, (1_700_000_000 + age, 1_700_000_000 + age))
    return paths


def test_the_environment_variable_sets_the_folder_of_the_library(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bundle_folder() == home / "bundles"
    monkeypatch.delenv("ONNXDREAM_HOME")
    default = bundle_folder()
    assert default.parts[-2:] == ("onnxdream", "bundles")
    assert default.is_absolute()
    monkeypatch.setenv("ONNXDREAM_HOME", "")
    assert bundle_folder() == default


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        (bundle_name(V3, ("mixed0", "mixed1", "mixed2"), "imagenet"), "v3-paper-low-imagenet"),
        (bundle_name(V3, ("mixed8", "mixed9", "mixed10"), "imagenet"), "v3-paper-high-text-imagenet"),
        (bundle_name(V3, ("mixed2", "mixed1", "mixed0"), "random"), "v3-mixed2-mixed1-mixed0-random"),
        (bundle_name(V3, ("mixed0",), "random7", "l2"), "v3-mixed0-random7-l2"),
        (bundle_name(IRV2, ("block35_2_mixed", "block35_4_mixed"), "birds"), "inception-resnet-v2-paper-low-birds"),
    ],
)
def test_a_bundle_is_named_after_backbone_layers_and_weights(name: str, stem: str) -> None:
    assert name == f"{stem}.onnx"


def test_many_layers_are_shortened_to_their_number_and_a_hash() -> None:
    many = tuple(f"block35_{n}_mixed" for n in range(1, 11))
    name = bundle_name(IRV2, many, "imagenet")
    assert name.startswith("inception-resnet-v2-10-layers-")
    assert len(name) < 70
    assert name == bundle_name(IRV2, many, "imagenet")
    assert name != bundle_name(IRV2, many[::-1], "imagenet")


def test_bundles_are_listed_newest_first(home: Path) -> None:
    assert bundle_paths() == []
    paths = add_bundles(home, "oldest", "middle", "newest")
    (home / "bundles" / ".half-written.onnx.abc").write_bytes(b"")
    (home / "bundles" / ".hidden.onnx").write_bytes(b"")
    (home / "bundles" / "notes.txt").write_bytes(b"")
    assert bundle_paths() == paths[::-1]


def test_a_bundle_is_found_by_its_path(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_bundles(home, "mine")
    path = tmp_path / "mine"
    path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert find_bundle(str(path)) == path
    assert find_bundle("~/mine") == path
    assert find_bundle("mine").resolve() == path.resolve()  # a file takes precedence over a name in the library


def test_a_bundle_is_found_by_its_name_and_by_a_prefix_of_it(home: Path) -> None:
    low, low_l2, high = add_bundles(home, "tiny-paper-low-random", "tiny-paper-low-random-l2", "tiny-paper-high-random")
    assert find_bundle("tiny-paper-low-random") == low  # an exact match, although it is a prefix of another name
    assert find_bundle("tiny-paper-low-random-") == low_l2
    assert find_bundle("tiny-paper-h") == high


@pytest.mark.parametrize("suffix", ["", ".onnx"])
def test_the_default_bundle_is_found_by_its_name(suffix: str) -> None:
    assert find_bundle(DEFAULT.path.stem + suffix) == DEFAULT.path


@pytest.mark.parametrize("answer", [RuntimeError("could not determine the home directory"), Path("~/.local/share/x")])
def test_without_a_home_folder_there_are_the_built_in_bundles(
    answer: Path | RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def user_data_path(*_: object, **__: object) -> Path:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.delenv("ONNXDREAM_HOME")
    monkeypatch.setattr(library.platformdirs, "user_data_path", user_data_path)
    assert bundle_paths() == []
    assert find_bundle(DEFAULT.path.stem) == DEFAULT.path
    with pytest.raises(BundleNotFoundError, match="set HOME or ONNXDREAM_HOME"):
        find_bundle("mine")
    with pytest.raises(NoHomeError, match="set HOME or ONNXDREAM_HOME"):
        bundle_folder()


def test_an_ambiguous_prefix_is_refused_with_all_matches(home: Path) -> None:
    add_bundles(home, "tiny-low-random", "tiny-low-imagenet", "tiny-high-random")
    with pytest.raises(BundleNotFoundError) as error:
        find_bundle("tiny-low")
    assert "tiny-low-imagenet, tiny-low-random: give more" in str(error.value)
    assert "tiny-high" not in str(error.value)


@pytest.mark.parametrize("name", ["nothing", "tiny-random", "Tiny-low", "../bundles/tiny-low-random", "\0"])
def test_a_missing_bundle_is_refused_with_helpful_commands(name: str, home: Path) -> None:
    add_bundles(home, "tiny-low-random")
    with pytest.raises(BundleNotFoundError, match="no such file") as error:
        find_bundle(name)
    for part in (str(home / "bundles"), "`info`", "`export`"):
        assert part in str(error.value)


def test_a_folder_is_refused_as_a_folder(home: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BundleNotFoundError, match=r"is a folder: give the \.onnx file in it"):
        find_bundle(str(tmp_path / "folder"))


def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "file.onnx"
    atomic_write(path, b"first")
    assert path.read_bytes() == b"first"

    def fail(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    atomic_write(tmp_path / "whole", b"")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("refused", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_is_written_where_modes_cannot_be_set_and_nothing_is_synced(
    refused: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(refused, "refused")

    for function in ("chmod", "fchmod", "umask", "fsync"):
        monkeypatch.setattr(os, function, refuse)
    atomic_write(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"


def test_a_disk_that_fails_to_sync_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        atomic_write(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_the_greatest_length_is_written(tmp_path: Path) -> None:
    atomic_write(tmp_path / ("x" * 250 + ".onnx"), b"data")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["v3", "V3", "inception-v3", "Inception-V3"])
def test_a_backbone_is_found_by_its_names_in_any_case(name: str) -> None:
    assert find_backbone(name) is V3


def test_an_unknown_backbone_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UnknownBackboneError, match=r"unknown model 'inception-v2' \(did you mean inception-v3\?\)"
    ) as error:
        find_backbone("inception-v2")
    for backbone in BACKBONES:
        assert all(name in str(error.value) for name in backbone.names)


def test_no_two_backbones_share_a_name() -> None:
    names = [name for backbone in BACKBONES for name in backbone.names]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() for name in names)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_a_layer_set_is_recognised_by_its_layers_and_their_order(backbone: Backbone) -> None:
    for name, members in backbone.layer_sets.items():
        assert backbone.set_of(members) == name
        assert backbone.set_of(members[::-1]) is None


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x", "x" * 5000, "a\0b"])
def test_a_name_that_is_not_a_valid_path_is_refused(name: str) -> None:
    with pytest.raises(BundleNotFoundError, match="no model"):
        find_bundle(name)


def test_a_dangling_link_is_not_listed(home: Path) -> None:
    folder = home / "bundles"
    folder.mkdir(parents=True)
    (folder / "gone.onnx").symlink_to(folder / "nowhere.onnx")
    assert bundle_paths() == []
