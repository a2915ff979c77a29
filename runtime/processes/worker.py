"""A worker: a process that does one task after another, as its driver says over a connection."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

STOP = "stop"

# Sends a message to the driver.
Tell = Callable[[Any], None]
# Whether the driver wants the current task to end.
Stops = Callable[[], bool]
# Does a task and returns its result.
Doer = Callable[[Any, Tell, Stops], Any]


@dataclass(frozen=True)
class Finished:
    """The last message on a task, with its result."""

    result: Any


def work(connection: Connection, make: Callable[[Any], Doer]) -> None:
    """Does tasks until the driver closes the connection or ends.

    `connection` carries what `make` makes a Doer of, tasks and STOP, which ends the current task, to the worker, and
    messages back. What the Doer keeps stays there from one task to the next.
    """
    try:
        setup = connection.recv()
    except (EOFError, OSError):  # the driver has gone
        return
    mailbox = _Mailbox(connection)
    do = make(setup)
    while True:
        task = mailbox.tasks.get()
        connection.send(Finished(do(task, connection.send, mailbox.stops.is_set)))


class _Mailbox:
    """Receives what the driver sends, in a thread. Once the driver has gone, the process ends, even amid a step."""

    def __init__(self, connection: Connection) -> None:
        self.tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.stops = threading.Event()
        self._connection = connection
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)
            if message == STOP:
                self.stops.set()
            else:
                self.tasks.put(message)
