"""Starting a process that talks with its driver over a connection, and how it has ended."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ...models.child import code_command
from ..errors import DreamError

# Runs the code of the `-c` that follows.
_SAFE_START = code_command("del sys.argv[0]; exec(sys.argv.pop(1))")[1:]
_STARTING = threading.Lock()


class ProcessError(DreamError, OSError):
    """The system lets no further process begin."""


def start_process(target: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Starts `target(connection, *arguments)` in a process of its own; returns it and the other end of the connection.

    The connection ends with either process. The new one never receives Ctrl-C, SIGTERM or SIGHUP, and imports nothing
    from the current folder on its way to `target`.
    """
    context = multiprocessing.get_context("spawn")
    connection, its_connection = context.Pipe()
    process = context.Process(target=target, args=(its_connection, *arguments), daemon=True)
    with _STARTING, _current_folder_left_out(), _signals_blocked():
        process.start()
    its_connection.close()  # so that the connection ends with the process
    return process, connection


def how_it_ended(code: int | None) -> str:
    """Returns in words how a process has ended, by its exit code."""
    if code is not None and code < 0:
        return f"was killed (signal {-code}{', as where memory runs out' if code == -9 else ''})"
    return f"has ended (exit code {code})"


@contextmanager
def _current_folder_left_out() -> Iterator[None]:
    """What multiprocessing starts meanwhile, as `python FLAGS -c CODE`, has a path as `code_command` makes it."""
    commands: Any = util  # the function is not for others, but the flags cannot be given otherwise
    flags = commands._args_from_interpreter_flags
    commands._args_from_interpreter_flags = lambda: [*flags(), *_SAFE_START]
    try:
        yield
    finally:
        commands._args_from_interpreter_flags = flags


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process that is started meanwhile never receives Ctrl-C, SIGTERM or SIGHUP: its driver tells it to stop."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # whose start would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
