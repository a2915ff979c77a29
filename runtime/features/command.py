"""Draws features at the terminal: with progress, until a signal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from ...models.arrays import Floats
from ...models.interrupts import interruptible
from ..bundle.choice import describe
from ..bundle.sessions import Sessions
from ..dream.writer import Log
from .atlas import Atlas
from .drawing.aim import Subject
from .drawing.draw import DrawingStep, Drawn, batches, draw
from .pictures import Pictures
from .progress import FeatureProgress
from .request import FeatureRequest

S = TypeVar("S", bound=Subject)


class _Folder(Protocol[S]):
    """A folder that subjects are drawn into."""

    @property
    def is_empty(self) -> bool: ...

    def missing(self, subjects: list[S]) -> list[S]: ...

    def start_of(self, subjects: list[S]) -> Floats | None: ...

    def add(self, drawn: list[Drawn[S]]) -> None: ...

    def finish(self) -> Path: ...


def draw_at_terminal(request: FeatureRequest, log: Log, is_quiet: bool = False) -> int | None:
    """Draws features into a folder, with an atlas of them; returns the number of the signal that ended it, or None.

    Ctrl-C, SIGTERM or SIGHUP ends it after the current step, with the pictures so far; the same call then continues
    an atlas. Raises DreamError and BundleError.
    """
    for line in describe(request.bundle):
        log(line)
    log(request.choice.notice or f"provider: {request.choice.machine.provider_text}")
    sessions, settings = Sessions(request.bundle), request.settings
    with interruptible() as interrupted:
        if request.ways:
            aims = request.aims(sessions, log)
            pictures = Pictures(request, aims)
            with FeatureProgress(aims, settings.steps, log, is_quiet) as progress:
                _draw(pictures, aims, request, sessions, progress, interrupted)
            return interrupted()
        features = request.features
        with (
            Atlas(request.output, request.bundle, settings, request.spectrum, request.overwrite) as atlas,
            FeatureProgress(features, settings.steps, log, is_quiet) as progress,
        ):
            _draw(atlas, features, request, sessions, progress, interrupted)
        return interrupted()


def _draw(
    folder: _Folder[S],
    subjects: list[S],
    request: FeatureRequest,
    sessions: Sessions,
    progress: FeatureProgress[S],
    interrupted: Callable[[], int | None],
) -> None:
    settings, machine = request.settings, request.choice.machine
    missing = folder.missing(subjects)
    progress.start(len(subjects) - len(missing))
    for batch in _batches(missing, request):

        def on_step(step: DrawingStep, batch: list[S] = batch) -> bool:
            progress.show(batch, step)
            return bool(interrupted())

        if interrupted():
            break
        drawn = draw(batch, settings, sessions, machine, request.magnitudes, on_step, folder.start_of(batch))
        folder.add(drawn)
        progress.done(drawn)
    if not folder.is_empty:
        progress.finish(folder.finish(), is_atlas=request.ways is None, overwrites=request.overwrite)


def _batches(subjects: list[S], request: FeatureRequest) -> list[list[S]]:
    """The subjects of each batch; each picture of a walk is drawn alone, since it starts from another."""
    if request.ways and request.ways.walk:
        return [[subject] for subject in subjects]
    return list(batches(subjects, request.settings, request.bundle.metadata.smallest_size))
