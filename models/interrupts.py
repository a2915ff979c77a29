"""The signals that end a command: Ctrl-C, SIGTERM (`kill`, `docker stop`) and SIGHUP (a closed terminal).

Only what a command runs uses this module: the functions that `onnxdream.runtime` offers leave the signals of a
process alone.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Windows has no SIGHUP.
_SIGNALS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_received: int | None = None


def received() -> int | None:
    """Returns the number of the first signal that the command has received, or None."""
    return _received


def exit_code(number: int | None) -> int:
    """Returns the exit code after a signal, as shells count it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (number or signal.SIGINT)


@contextmanager
def ending_signals() -> Iterator[None]:
    """While a command runs, SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, so that it can clean up.

    They are often sent twice, so later ones are ignored.
    """
    global _received
    _received = None
    is_ending = False

    def on_signal(number: int) -> None:
        nonlocal is_ending
        if not is_ending or number == signal.SIGINT:
            is_ending = True
            raise KeyboardInterrupt

    with _handled(on_signal):
        yield


@contextmanager
def interruptible() -> Iterator[Callable[[], int | None]]:
    """Turns the first signal into a request to stop; yields a function that returns its number, or None.

    A second Ctrl-C raises KeyboardInterrupt; later SIGTERMs and SIGHUPs are ignored.
    """
    requested: int | None = None

    def on_signal(number: int) -> None:
        nonlocal requested
        if requested is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        requested = requested or number

    with _handled(on_signal):
        yield lambda: requested


@contextmanager
def _handled(on_signal: Callable[[int], None]) -> Iterator[None]:
    """Calls a function with the number of each signal; a signal that is ignored, as under `nohup`, stays ignored."""
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield
        return

    def handler(number: int, frame: object) -> None:
        global _received
        _received = _received or number
        on_signal(number)

    handled = [one for one in _SIGNALS if one == signal.SIGINT or signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
