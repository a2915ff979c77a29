"""A worker: a process that dreams one picture after another, as its driver says over a connection."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from ..ascent.ascent import Step
from ..dream.checkpoint import Checkpoint
from ..dream.job import dream_and_save
from ..dream.record import Record
from ..dream.run import Preparation
from ..dream.writer import Callbacks, Job, Log
from ..image.source import Source
from .assigned import Dreamer, dream_assigned
from .plan import Assignment
from .receipts import hold_lock
from .terminal import describe_result

STOP = "stop"


def work(connection: Connection, lock: Path) -> None:
    """Dreams what is assigned until the driver closes the connection or ends.

    `connection` carries the job, assignments and STOP, which ends the current dream, to the worker, and lines for the
    user and receipts back. Its sessions stay open from one picture to the next. `lock` is the lock file of the driver's
    call.
    """
    try:
        job: Job = connection.recv()
    except (EOFError, OSError):  # the driver has gone
        return
    mailbox = _Mailbox(connection)
    with ExitStack() as stack:
        with suppress(OSError):
            hold_lock(lock, stack)
        while True:
            assignment = mailbox.assignments.get()
            connection.send(dream_assigned(job, assignment, dreamer(connection.send, mailbox.stops.is_set)))


class _Mailbox:
    """Receives what the driver sends, in a thread. Once the driver has gone, the process ends, even amid a step."""

    def __init__(self, connection: Connection) -> None:
        self.assignments: queue.SimpleQueue[Assignment] = queue.SimpleQueue()
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
                self.assignments.put(message)


def dreamer(log: Log, is_stopped: Callable[[], bool]) -> Dreamer:
    """Returns what dreams a picture until `is_stopped` says so; `log` is called with the lines for the user."""

    def dream_one(job: Job, source: Source, checkpoint: Checkpoint | None) -> Record:
        steps = 0

        def on_start(preparation: Preparation) -> None:
            nonlocal steps
            steps = preparation.max_steps

        def on_step(step: Step) -> bool:
            return is_stopped()

        dream, results = dream_and_save(job, source, Callbacks(log, on_step, on_start), checkpoint)
        log(describe_result(source, dream.record, steps, results))
        return dream.record

    return dream_one
