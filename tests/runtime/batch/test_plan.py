"""The plan of many pictures: what is gathered, what is dreamed first, what is done, and under which names."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from picture_bytes import exif_block, png_chunk, with_exif
from pictures_fixture import TINY_BYTES, encode_into, listing, noise, save

from onnxdream.runtime import Bundle, Execution, Settings
from onnxdream.runtime.batch.plan import Plan, gather_pictures, settings_hash
from onnxdream.runtime.batch.receipts import MANIFEST, Manifest
from onnxdream.runtime.dream.writer import Job
from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.image.source import Source


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(Bundle.load(TINY_BYTES), Settings(steps=2, execution=Execution("cpu", 1)), tmp_path / "out")


def planned(job: Job, paths: list[Path]) -> list[str]:
    """The stems of the pictures in the order in which they are dreamed."""
    assert job.output is not None
    with Manifest(job.output) as manifest:
        return [task.source.path.stem for task in Plan(job, map(Source, paths), manifest).tasks]


def finish(job: Job, paths: list[Path]) -> dict[str, str]:
    """Notes all that is not done as done, without a dream; returns the results' names by the pictures'."""
    assert job.output is not None
    names = {}
    with Manifest(job.output) as manifest:
        plan = Plan(job, map(Source, paths), manifest)
        while plan.tasks:
            task = plan.tasks.popleft()
            assignment = plan.begin(task)
            assert assignment is not None
            assignment.result.write_bytes(b"a dream")
            manifest.add(replace(assignment.receipt, state="done"))
            names[task.source.name] = assignment.result.name
    return names


# Gathering


def test_pictures_are_gathered_from_files_and_folders_each_once(tmp_path: Path) -> None:
    first, second = (save(tmp_path / f"{name}.png", noise(9, 9)) for name in "ab")
    encode_into(tmp_path / "a-dream.png", noise(9, 9), note="{}")
    errors: list[str] = []
    lines: list[str] = []
    given = [second, tmp_path, first, tmp_path / "c.png"]
    gathered, failed = gather_pictures(given, errors.append, tmp_path, lines.append)
    assert [source.path for source in gathered] == [second, first]
    assert lines == [f"{tmp_path}: left out 1 file: a-dream.png (the result of a dream)"]
    assert failed == 1
    assert len(errors) == 1
    assert "c.png: no such picture" in errors[0]


def test_a_missing_picture_with_the_name_of_an_example_causes_a_hint(tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    save(examples / "bears.jpg", noise(9, 9))
    errors: list[str] = []
    gather_pictures([Path("bears.jpg"), Path("x" * 5000 + "/bears.jpg")], errors.append, examples)
    assert errors[0].endswith(f"(did you mean {examples / 'bears.jpg'}?)")
    assert "File name too long" in errors[1]


# Order


def test_large_pictures_come_first_and_those_of_one_size_follow_each_other(job: Job, tmp_path: Path) -> None:
    sizes = {"a": (60, 80), "b": (80, 60), "c": (30, 40), "d": (41, 30), "e": (60, 80)}
    paths = [save(tmp_path / f"{name}.png", noise(*size)) for name, size in sizes.items()]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert planned(job, [broken, tmp_path / "lost.png", *paths]) == ["a", "e", "b", "d", "c", "broken", "lost"]
    small = replace(job, settings=replace(job.settings, max_size=40))
    assert planned(small, paths) == ["a", "c", "e", "b", "d"]


def test_a_picture_on_its_side_is_ordered_by_its_upright_size(job: Job, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{name}.png", noise(*size)) for name, size in {"a": (60, 80), "b": (80, 60)}.items()]
    on_its_side = tmp_path / "c.png"
    on_its_side.write_bytes(with_exif(paths[0].read_bytes(), exif_block(6)))
    assert planned(job, [on_its_side, *paths]) == ["a", "b", "c"]  # and not c, of the same pixels, before b


def test_a_picture_without_pixels_is_ordered_last(job: Job, tmp_path: Path) -> None:
    path, empty = save(tmp_path / "a.png", noise(9, 9)), tmp_path / "empty.png"
    data = path.read_bytes()
    empty.write_bytes(data[:8] + png_chunk(b"IHDR", bytes(8) + data[24:29]) + data[33:])
    assert planned(job, [empty, path]) == ["a", "empty"]


def test_a_picture_that_is_named_in_two_ways_is_planned_once(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", noise(9, 9))
    (tmp_path / "link").symlink_to(tmp_path)
    assert planned(job, [path, tmp_path / "out" / ".." / "a.png", tmp_path / "link" / "a.png"]) == ["a"]


def test_a_plan_of_many_pictures_takes_little_memory(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(tmp_path / "in" / "0.png", noise(9, 9))
    for number in range(1, 2000):
        os.link(first, tmp_path / "in" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    try:
        gathered, _ = gather_pictures([Path("in")], [].append, tmp_path)
        with Manifest(tmp_path / "out") as manifest:
            plan = Plan(job, gathered, manifest)
            kept = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    assert len(plan.tasks) == 2000
    kept = kept.filter_traces([tracemalloc.Filter(False, "*pathlib*")])  # the table of all names, which it enlarges
    assert sum(trace.size for trace in kept.traces) / 2000 < 260


# Names


def test_the_same_stem_in_two_kinds_and_folders_gets_names_of_its_own(job: Job, tmp_path: Path) -> None:
    sizes = {"a.jpg": 9, "a.png": 9, "more/A.png": 30, "more/b.png": 9}  # the largest is dreamed first
    paths = [save(tmp_path / name, noise(size, size)) for name, size in sizes.items()]
    assert finish(job, paths) == {
        "a.jpg": "a-dream.png",
        "a.png": "a-dream-2.png",
        "A.png": "A-dream-3.png",  # on some disks, A-dream.png would be a-dream.png
        "b.png": "b-dream.png",
    }


def test_names_do_not_depend_on_the_order_of_the_dreams(job: Job, tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.jpg", noise(9, 9)), save(tmp_path / "a.png", noise(30, 30))]
    assert planned(job, paths) == ["a", "a"]
    assert list(finish(job, paths).items()) == [("a.png", "a-dream-2.png"), ("a.jpg", "a-dream.png")]


def test_a_picture_that_comes_later_does_not_take_the_name_of_another(job: Job, tmp_path: Path) -> None:
    later, first = save(tmp_path / "a.jpg", noise(9, 9)), save(tmp_path / "a.png", noise(9, 9))
    assert finish(job, [first]) == {"a.png": "a-dream.png"}
    assert finish(job, [later, first]) == {"a.jpg": "a-dream-2.png"}
    assert finish(job, [later, first]) == {}


def test_a_name_that_any_file_has_is_not_taken(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", noise(9, 9))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a-dream.json").write_bytes(b"mine")
    assert finish(job, [path]) == {"a.png": "a-dream-2.png"}


# What is done


def test_what_is_done_and_unchanged_is_not_planned_again(job: Job, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{name}.png", noise(9, 9)) for name in "ab"]
    finish(job, paths)
    with Manifest(tmp_path / "out") as manifest:
        plan = Plan(job, map(Source, paths), manifest)
        assert (plan.done, len(plan.tasks)) == (2, 0)
        assert str(plan) == "2 pictures: 2 done already, 0 to dream"


def test_a_changed_picture_changed_settings_and_a_lost_result_are_dreamed(job: Job, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{name}.png", noise(9, 9)) for name in "abc"]
    finish(job, paths)
    os.utime(paths[0], ns=(1, 1))
    (tmp_path / "out" / "b-dream.png").unlink()
    assert planned(job, paths) == ["a", "b"]
    assert finish(job, paths) == {"a.png": "a-dream-2.png", "b.png": "b-dream.png"}
    assert planned(replace(job, settings=replace(job.settings, seed=1)), paths) == ["a", "b", "c"]
    (tmp_path / "mask.png").write_bytes(b"a mask")
    masked = replace(job, mask=tmp_path / "mask.png")
    finish(masked, paths)
    assert planned(masked, paths) == []
    (tmp_path / "mask.png").write_bytes(b"another mask")
    assert planned(masked, paths) == ["a", "b", "c"]


def test_the_machine_does_not_change_the_settings_hash_but_the_precision_does(job: Job) -> None:
    def with_execution(execution: Execution) -> Job:
        return replace(job, settings=replace(job.settings, execution=execution))

    assert settings_hash(with_execution(Execution("auto", 8, memory=10**9))) == settings_hash(job)
    assert settings_hash(with_execution(Execution(precision="bf16"))) != settings_hash(job)


def test_overwriting_dreams_again_under_the_same_names(job: Job, tmp_path: Path) -> None:
    paths = [save(tmp_path / name, noise(9, 9)) for name in ("a.jpg", "a.png")]
    names = finish(job, paths)
    again = replace(job, overwrite=True, settings=replace(job.settings, seed=1))
    assert finish(again, paths) == names
    assert planned(replace(again, overwrite=False), paths) == []
    assert planned(job, paths) == ["a", "a"]  # their results have been replaced


@pytest.mark.parametrize("result", ["../victim.png", "{folder}/victim.png", "deep/victim.png", "..", "victim"])
def test_a_receipt_whose_result_is_elsewhere_does_not_count(job: Job, tmp_path: Path, result: str) -> None:
    path = save(tmp_path / "a.png", noise(9, 9))
    finish(job, [path])
    manifest = tmp_path / "out" / MANIFEST
    manifest.write_text(manifest.read_text().replace("a-dream.png", result.format(folder=tmp_path)))
    assert finish(replace(job, overwrite=True), [path]) == {"a.png": "a-dream.png"}
    assert not [name for name in listing(tmp_path) if "victim" in name]


def test_a_picture_that_another_call_has_begun_is_left_to_it_while_it_lives(job: Job, tmp_path: Path) -> None:
    source = Source(save(tmp_path / "a.png", noise(9, 9)))
    with Manifest(tmp_path / "out") as manifest:
        with Manifest(tmp_path / "out") as other:
            plan, other_plan = Plan(job, [source], manifest), Plan(job, [source], other)
            assert other_plan.begin(other_plan.tasks[0])
            assert plan.begin(plan.tasks[0]) is None
        assignment = plan.begin(plan.tasks[0])
    assert assignment is not None
    assert assignment.earlier is not None
    assert (assignment.earlier.state, assignment.result.name) == ("begun", "a-dream.png")


def test_a_name_is_given_back_where_its_receipt_cannot_be_written(job: Job, tmp_path: Path) -> None:
    """As on a full disk: otherwise the next call would take another name, and an empty checkpoint would stay."""
    resource = pytest.importorskip("resource")
    source = Source(save(tmp_path / "a.png", noise(9, 9)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Manifest(tmp_path / "out") as manifest:
        plan = Plan(job, [source], manifest)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            with pytest.raises(OutputError, match="File too large"):
                plan.begin(plan.tasks[0])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert listing(tmp_path / "out") == {MANIFEST}
