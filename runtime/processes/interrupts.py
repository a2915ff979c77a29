"""Ctrl-C, and a notebook's button to interrupt, as a request to stop instead of an exception at any point."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    stop_requested = False

    def on_signal(number: int, frame: object) -> None:
        nonlocal stop_requested
        stop_requested = True
        signal.signal(signal.SIGINT, _interrupt)

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: stop_requested
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interruptible_where_nothing_else_is() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C into a request to stop; yields a function that returns whether there was one.

    A second Ctrl-C acts as usual. This happens only in a main thread in which Ctrl-C raises KeyboardInterrupt, Python's
    default. Elsewhere, Ctrl-C is left to whatever handles it, such as a server or the command line: the function
    returns False.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with _interruptible() as interrupted:
            yield interrupted
    else:
        yield lambda: False


def _interrupt(number: int, frame: object) -> None:
    """Does what Python's default does, but is another function: a dream must not take over the second Ctrl-C."""
    raise KeyboardInterrupt
