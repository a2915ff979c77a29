"""Processes that do tasks: what they say, what they keep, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnxdream.runtime.processes.pool import Died, Pool
from onnxdream.runtime.processes.starting import ProcessError
from onnxdream.runtime.processes.worker import Finished, Stops, Tell

STEPS = 2000


class Counting:
    """Counts its tasks from a number on; a negative task ends its process, and "wait" lasts until it is stopped."""

    def __init__(self, start: int) -> None:
        self._count = start

    def __call__(self, task: int | str, tell: Tell, stops: Stops) -> int:
        self._count += 1
        tell(f"task {task}")
        if isinstance(task, int) and task < 0:
            os._exit(-task)
        for _ in range(STEPS if task == "wait" else 0):
            if stops():
                return -1
            time.sleep(0.05)
        return self._count


def taken_from(*tasks: int | str) -> Callable[[], int | str | None]:
    left = list(tasks)
    return lambda: left.pop(0) if left else None


def test_a_process_keeps_what_it_has_from_one_task_and_one_call_to_the_next() -> None:
    found: list[Any] = []
    with Pool[Any](1, Counting, 10, lambda: False) as pool:
        for tasks in ((1, 2), (3,)):
            found += pool.messages(taken_from(*tasks))
    expected = [(task, message) for task in (1, 2, 3) for message in (f"task {task}", Finished(10 + task))]
    assert found == expected
    assert not multiprocessing.active_children()


def test_no_more_processes_are_started_than_there_are_tasks() -> None:
    with Pool[Any](3, Counting, 0, lambda: False) as pool:
        assert len([message for _, message in pool.messages(taken_from(1, 2)) if message == Finished(1)]) == 2
        assert len(multiprocessing.active_children()) == 2


@pytest.mark.skipif(os.name != "posix", reason="needs exit codes as POSIX has them")
def test_a_process_that_ends_is_told_and_replaced() -> None:
    with Pool[Any](1, Counting, 0, lambda: False) as pool:
        found = [one for one in pool.messages(taken_from(-7, 1)) if not isinstance(one[1], str)]
    assert found == [(-7, Died("has ended (exit code 7)")), (1, Finished(1))]


@pytest.mark.skipif(os.name != "posix", reason="limits the open files")
def test_a_process_that_cannot_be_started_is_an_error_in_a_line() -> None:
    """As where a container may have only so many processes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    tasks = [2, 1]

    def take() -> int:
        if len(tasks) == 1:
            lowest = os.dup(2)  # the number of the next file
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        return tasks.pop()

    try:
        with (
            pytest.raises(
                ProcessError, match=r"^worker 2 of 3 cannot be started \(Too many open files\): choose fewer"
            ),
            Pool[Any](3, Counting, 0, lambda: False) as pool,
        ):
            list(pool.messages(take))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not multiprocessing.active_children()


def test_an_interruption_ends_what_is_begun_and_begins_nothing() -> None:
    said: list[Any] = []
    take = taken_from("wait", "wait", "never")
    with Pool[Any](2, Counting, 0, lambda: len(said) >= 2) as pool:
        for _, message in pool.messages(take):
            said.append(message)
    assert said[:2] == ["task wait"] * 2
    assert said[2:] == [Finished(-1)] * 2
    assert take() == "never"


def test_a_process_imports_nothing_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of pictures from elsewhere may hold a module, which would run as soon as they are dreamed by workers."""
    for module in ("multiprocessing", "random", "json", "select"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('a module of the current folder')")
    monkeypatch.chdir(tmp_path)
    with Pool[Any](1, Counting, 0, lambda: False) as pool:
        assert [one for _, one in pool.messages(taken_from(1)) if not isinstance(one, str)] == [Finished(1)]
