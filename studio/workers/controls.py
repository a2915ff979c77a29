"""What the server wants of the job that the worker dreams, heard by one thread and obeyed by another."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import Any, Literal

from .messages import Task, Word


class Controls:
    """Keeps the words on the current job until its next step. Words on other jobs are ignored: they came too late."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._job = ""
        self._is_paused = self._has_to_stop = self._has_to_leave = self._is_watched = self._holds = False
        self._steps = 0
        self._changes: deque[dict[str, Any]] = deque()

    def begin(self, task: Task) -> None:
        """From now on, words are on this task."""
        with self._changed:
            self._job, self._is_paused, self._steps, self._is_watched = task.job, task.held, task.steps, task.watched
            self._has_to_stop = task.stops
            self._has_to_leave = self._holds = False
            self._changes.clear()

    def hear(self, word: Word) -> None:
        with self._changed:
            if word.job != self._job:
                return
            self._obey(word)
            self._changed.notify_all()

    def _obey(self, word: Word) -> None:
        if word.order in ("pause", "go"):
            self._is_paused, self._steps = word.order == "pause", 0
        elif word.order == "step":
            self._steps += 1
        elif word.order == "stop":
            self._has_to_stop = True
        elif word.order == "leave":
            self._has_to_leave = True
        elif word.order == "change":
            self._changes.append(word.settings)
        else:
            self._is_watched = word.order == "watch"

    @property
    def is_watched(self) -> bool:
        return self._is_watched

    @property
    def has_to_leave(self) -> bool:
        """Whether the job ends only because of the word `leave`, and will continue."""
        return self._has_to_leave and not self._has_to_stop

    def decide(self) -> bool:
        """Decides whether the job waits at this step, and returns it. A pause that comes later holds the next one."""
        with self._changed:
            self._holds = self._is_paused and not (self._steps or self._has_to_stop or self._has_to_leave)
            return self._holds

    @property
    def holds(self) -> bool:
        """Whether the job waits at this step, as it was decided."""
        return self._holds

    def take_change(self) -> dict[str, Any] | None:
        """Returns the next settings to change, if any."""
        with self._changed:
            return self._changes.popleft() if self._changes else None

    def wait(self) -> Literal["go", "stop", "change"]:
        """Blocks while the job is held; returns what to do: take a step, end the job, or take a change."""
        with self._changed:
            while True:
                if self._has_to_stop or self._has_to_leave:
                    return "stop"
                if self._changes:
                    return "change"
                if self._steps:
                    self._steps -= 1
                    return "go"
                if not (self._is_paused and self._holds):
                    return "go"
                self._changed.wait()
