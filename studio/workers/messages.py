"""What the server and its worker say to each other over their connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from ...models.arrays import Size
from ...runtime.provider.machine import Machine
from ...runtime.settings.changes import Change
from ...runtime.settings.settings import Execution, Settings

Order = Literal["pause", "go", "step", "stop", "leave", "change", "watch", "unwatch"]
End = Literal["finished", "stopped", "diverged", "failed"]


@dataclass(frozen=True)
class Load:
    """Loads a bundle ahead, named as for `Bundle.load`, and opens the provider."""

    bundle: str
    execution: Execution


@dataclass(frozen=True)
class Task:
    """A dream to begin, or to resume from the checkpoint beside `output`.

    `output` is the path of its picture. `changes` of the settings are made on the way. `held` begins it paused, but for
    so many `steps`; `stops` ends it at once, so that it has a result.
    """

    job: str
    picture: Path
    bundle: str
    settings: Settings
    output: Path
    mask: Path | None = None
    guide: Path | None = None
    resumes: bool = False
    held: bool = False
    steps: int = 0
    watched: bool = False
    stops: bool = False
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Word:
    """What the server wants of the job that the worker has; `change` has settings, as a config file holds them.

    `leave` ends a paused job for another one, or any job for the studio to end: it will continue from its checkpoint.
    """

    job: str
    order: Order
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Leave:
    """The worker has to end."""


@dataclass(frozen=True)
class Ready:
    """The worker can dream; `machine` is what it computes on, None where that failed."""

    machine: Machine | None


@dataclass(frozen=True)
class Started:
    """A job's run is prepared."""

    job: str
    octaves: tuple[Size, ...]
    steps: int
    provider: str


@dataclass(frozen=True)
class Note:
    """A line for the user."""

    job: str
    line: str


@dataclass(frozen=True)
class Progress:
    """The position of a job after `step` updates; `losses` are the totals of the steps since the last message.

    `octaves` and `steps` are those of the whole run with the settings of now.
    """

    job: str
    step: int
    octave: int
    size: Size
    losses: tuple[tuple[int, float], ...]
    octave_starts: tuple[int, ...]
    octaves: tuple[Size, ...]
    steps: int
    seconds: float


@dataclass(frozen=True)
class Frame:
    """A picture of a job for the screen, a JPEG. `size` is that of the octave; `loss` may be None."""

    job: str
    step: int
    octave: int
    size: Size
    loss: float | None
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True)
class Held:
    """A job is paused, and its checkpoint is written."""

    job: str


@dataclass(frozen=True)
class Changed:
    """Settings of a job were changed; `settings` are now those of the run, and `given` those that were asked for."""

    job: str
    change: Change
    given: dict[str, Any]
    settings: Settings


@dataclass(frozen=True)
class Refused:
    """Settings of a job could not be changed."""

    job: str
    given: dict[str, Any]
    line: str


@dataclass(frozen=True)
class Ended:
    """The last message on a job. `left` is whether it ended only because of the word `leave`, and will continue."""

    job: str
    end: End
    seconds: float = 0.0
    error: str | None = None
    left: bool = False
    megapixel_steps: float = 0.0


@dataclass(frozen=True)
class Died:
    """A worker has ended amid whatever it did; `how` says so in words, `connection` was the one to it."""

    how: str
    connection: Connection
