"""Files: the lock of a folder, and what a file system does that has none."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from pathlib import Path

import pytest

from onnxdream.models.files import lock_alone

fcntl = pytest.importorskip("fcntl")


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """From now on, locks are answered with this error."""

    def flock(file: object, operation: int) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_lock_is_held_alone_until_it_is_given_back(tmp_path: Path) -> None:
    with ExitStack() as second:
        with ExitStack() as first:
            lock_alone(tmp_path / "lock", first)
            with pytest.raises(BlockingIOError):
                lock_alone(tmp_path / "lock", second)
        lock_alone(tmp_path / "lock", second)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_no_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse(monkeypatch, number)
    with ExitStack() as resources:
        lock_alone(tmp_path / "lock", resources)


def test_a_lock_that_fails_otherwise_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno.EIO)
    with ExitStack() as resources, pytest.raises(OSError, match="refused") as caught:
        lock_alone(tmp_path / "lock", resources)
    assert not isinstance(caught.value, BlockingIOError)
