"""The signals that end a command."""

from __future__ import annotations

import os
import signal

import pytest

from onnxdream.models.interrupts import ending_signals, exit_code, interruptible, received

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGHUP")


def test_a_signal_interrupts_a_command_once_and_ctrl_c_always() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ending_signals():
        assert received() is None
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGHUP):  # the command is cleaning up
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert received() == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_stop_does_not_interrupt_until_a_second_ctrl_c(number: signal.Signals) -> None:
    with interruptible() as requested:
        assert requested() is None
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        assert requested() == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_exit_codes_are_those_of_shells() -> None:
    codes = [exit_code(number) for number in (None, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert codes == [130, 130, 143, 129]
