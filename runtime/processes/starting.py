"""Starting a process that talks with its driver over a connection, and how it has ended."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import DreamError


class ProcessError(DreamError, OSError):
    """The system lets no further process begin."""


def start_process(target: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Starts `target(connection, *arguments)` in a process of its own; returns it and the other end of the connection.

    The connection ends with either process. The new one never receives Ctrl-C, SIGTERM or SIGHUP.
    """
    context = multiprocessing.get_context("spawn")
    connection, its_connection = context.Pipe()
    process = context.Process(target=target, args=(its_connection, *arguments), daemon=True)
    with _signals_blocked():
        process.start()
    its_connection.close()  # so that the connection ends with the process
    return process, connection


def how_it_ended(code: int | None) -> str:
    """Returns in words how a process has ended, by its exit code."""
    if code is not None and code < 0:
        return f"was killed (signal {-code}{', as where memory runs out' if code == -9 else ''})"
    return f"has ended (exit code {code})"


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
