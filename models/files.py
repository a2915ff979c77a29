"""Writing a file atomically: it appears complete or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

# What a file system answers that cannot do what it is asked: some network and user-space ones.
_NOT_SUPPORTED = (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


def expand_user(path: str | Path) -> Path:
    """Returns a path whose `~` or `~user` at the beginning is replaced by the home folder, as shells do.

    That of an unknown user stays, unlike with `Path.expanduser`, because a file may have such a name.
    """
    return Path(os.path.expanduser(path))


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file next to `path` that is renamed to `path` at the end, so no reader ever sees half of it.

    Creates missing folders. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            sync(file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_path(path: Path, suffix: str = ".part") -> Path:
    """Returns a free hidden path next to `path`, for a file that will be renamed to it once it is complete."""
    return path.with_name(f"{_temporary_stem(path)}{secrets.token_hex(8)}{suffix}")


def remove_leftovers(*paths: Path) -> None:
    """Removes the temporary files of these paths that a killed process has left; call it where none can be alive."""
    for path in paths:
        for leftover in path.parent.glob(f"{_temporary_stem(path)}*"):
            with suppress(OSError):
                leftover.unlink()


def _temporary_stem(path: Path) -> str:
    """Returns the start of the names of a path's temporary files; a hash keeps them short."""
    return f".onnxdream-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}-"


def lock_alone(path: Path, resources: ExitStack) -> None:
    """Holds the lock of a file, which is made, until the resources are closed or this process ends.

    Where the file system has no locks, nothing is held. Raises BlockingIOError while another process holds it, and
    OSError.
    """
    with suppress(ImportError):
        import fcntl  # which Windows lacks

        file = resources.enter_context(path.open("w"))
        with _where_supported():
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync(file: IO[bytes]) -> None:
    """Waits until a file is on its disk, where the file system can tell. Raises OSError."""
    with _where_supported():
        os.fsync(file.fileno())


@contextmanager
def _where_supported() -> Iterator[None]:
    """Goes on where the file system cannot do what it is asked. Raises OSError for what else goes wrong."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def atomic_write(path: Path, data: bytes) -> None:
    """Writes bytes to a file atomically (see `atomic_file`). Raises OSError."""
    with atomic_file(path) as file:
        file.write(data)
