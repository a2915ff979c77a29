"""The manifest: what it keeps, what it survives, and whom it tells from whom."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pictures_fixture import listing

from onnxdream.runtime.batch.receipts import MANIFEST, Manifest, Receipt
from onnxdream.runtime.errors import OutputError


def receipt(name: str, state: str = "done", run: str = "1") -> Receipt:
    return Receipt(run, state, f"{name}.png", 9, 2**60, "settings", "bundle", f"{name}-dream.png")  # type: ignore[arg-type]


def test_a_receipt_is_one_line_that_a_later_call_reads(tmp_path: Path) -> None:
    done, failed = receipt("a"), replace(receipt("b\udcff\n", "failed"), seconds=1.5, error="it is broken")
    with Manifest(tmp_path / "deep" / "out") as manifest:
        manifest.add(done)
        manifest.add(failed)
    assert (tmp_path / "deep" / "out" / MANIFEST).read_text().count("\n") == 2
    with Manifest(tmp_path / "deep" / "out") as manifest:
        assert [manifest.latest(one.key) for one in (done, failed)] == [done, failed]
        assert manifest.owner("A-Dream.png") == "a.png"
    assert listing(tmp_path / "deep" / "out") == {MANIFEST}


def test_a_torn_last_line_costs_that_line_only(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        for name in "abc":
            manifest.add(receipt(name))
    text = (tmp_path / MANIFEST).read_bytes()
    for end in range(len(text)):
        (tmp_path / MANIFEST).write_bytes(text[:end])
        with Manifest(tmp_path) as manifest:
            manifest.add(receipt("d"))
        with Manifest(tmp_path) as manifest:
            found = [name for name in "abcd" if manifest.latest(receipt(name).key)]
        whole = text[: end + 1].count(b"\n")  # without its line break, the last line is still whole
        assert found == [*"abc"[:whole], "d"], text[:end]


def test_what_another_call_writes_is_seen(tmp_path: Path) -> None:
    with Manifest(tmp_path) as first, Manifest(tmp_path) as second:
        first.add(receipt("a"))
        second.add(receipt("b"))
        first.add(receipt("c"))
        with second.locked():
            assert all(second.latest(receipt(name).key) for name in "abc")


def test_only_one_call_writes_at_a_time(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (
        Manifest(tmp_path) as manifest,
        manifest.locked(),
        (tmp_path / MANIFEST).open("rb") as file,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_result_that_another_dream_has_replaced_is_not_the_latest(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        (tmp_path / "a-dream.png").write_bytes(b"")
        manifest.add(receipt("a"))
        assert manifest.is_done(receipt("a").key)
        manifest.add(replace(receipt("a", "begun"), settings="others"))
        assert not manifest.is_done(receipt("a").key)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_a_manifest_is_refused_with_the_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(OutputError, match=r"manifest\.jsonl \(.* not seekable.*\): .* choose another --output"):
        Manifest(tmp_path).__enter__()


def test_a_manifest_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"path": "x"}\n')
    with pytest.raises(OutputError, match=r"manifest\.jsonl was not written by onnxdream: choose another --output"):
        Manifest(tmp_path).__enter__()
    assert (tmp_path / MANIFEST).read_text() == '{"path": "x"}\n'
    assert listing(tmp_path) == {MANIFEST}


KILLED = """
import os, signal, sys
from pathlib import Path
from onnxdream.runtime.batch.receipts import Manifest, Receipt
manifest = Manifest(Path(sys.argv[1])).__enter__()
manifest.add(Receipt(manifest.run, "begun", "a.png", 9, 1, "settings", "bundle", "a-dream.png"))
print(flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_a_call_that_was_killed_is_told_from_one_that_lives(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    key = replace(receipt("a"), changed=1).key
    with Manifest(tmp_path) as manifest:
        assert manifest.is_being_dreamed(key)
        process.communicate()
        assert not manifest.is_being_dreamed(key)
    assert listing(tmp_path) == {MANIFEST}


def test_many_processes_lose_no_line(tmp_path: Path) -> None:
    program = KILLED.replace('"a.png"', "sys.argv[2] + str(number)").partition("print")[0]
    program = program.replace("manifest.add", "for number in range(50): manifest.add")
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in "ab"]
    assert [process.wait(100) for process in processes] == [0, 0]
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    assert len(set(lines)) == len(lines) == 100
