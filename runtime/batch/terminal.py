"""Dreaming one picture at the terminal: its progress, its messages and its last line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from ..ascent.step import Step
from ..dream.checkpoint import Checkpoint
from ..dream.job import dream_and_save
from ..dream.progress import DreamProgress
from ..dream.record import Record
from ..dream.results import Results
from ..dream.run import Preparation
from ..dream.writer import Callbacks, Job, Log
from ..image.source import Source

# How much of a dream is shown: errors only, results and progress, or more.
Verbosity = Literal["quiet", "normal", "verbose"]
# Returns the number of the signal that asks to stop, or None.
Interrupted = Callable[[], int | None]


def dream_at_terminal(
    job: Job, source: Source, log: Log, interrupted: Interrupted, checkpoint: Checkpoint | None, verbosity: Verbosity
) -> Record:
    """Dreams one picture, from the beginning or from a checkpoint, and shows how it goes.

    Raises DreamError and BundleError.
    """
    with DreamProgress(source.name, log, verbosity == "quiet") as progress:

        def on_start(preparation: Preparation) -> None:
            progress.start(preparation)
            if verbosity == "verbose":
                for line in _details(preparation):
                    progress.log(f"{source.name}: {line}")

        def on_step(step: Step) -> bool:
            if verbosity == "verbose" and step.octave_step == 0:
                progress.log(f"{source.name}: {_octave_details(job, step)}")
            progress.show(step)
            return bool(interrupted())

        dream, results = dream_and_save(job, source, Callbacks(progress.log, on_step, on_start), checkpoint)
        steps = progress.steps
    log(describe_result(source, dream.record, steps, results))
    progress.done(dream.record, results.location)
    return dream.record


def describe_result(source: Source, record: Record, steps: int, results: Results) -> str:
    """Returns the last line on a dream; `steps` is the most that it could have."""
    stopped = record.ended == "stopped"
    if not stopped and not record.changes:  # a goal ended an octave where there are fewer
        steps = record.settings.steps * len(record.octaves)
    early = f"after {record.steps_done} of {steps} steps, " if stopped or record.steps_done < steps else ""
    return (
        f"{source.name}: {'stopped ' if stopped else ''}{early}"
        f"{describe_losses(record)} in {record.seconds:.1f} s, {results.saved}"
        f"{f'; continue with --resume {results.checkpoint}' if stopped and results.can_be_resumed else ''}"
    )


def describe_losses(record: Record) -> str:
    """Returns the first and the last loss of a run, in words."""
    octaves = " of the last octave" if len(record.octaves) > 1 else ""
    return f"loss{octaves} {record.first_loss:.4g} → {record.last_loss:.4g}"


def _details(preparation: Preparation) -> Iterator[str]:
    """Yields what --verbose shows of a run before its first step."""
    used = preparation.execution
    memory = f", memory budget {used.memory / 1e6:.0f} MB" if used.memory else ""
    yield f"provider {used.provider}, {used.threads} threads, {used.precision}{memory}"
    layers = preparation.settings.weights_of(preparation.bundle.metadata.layer_names)
    weights = zip(preparation.bundle.metadata.layer_names, layers, strict=True)
    yield f"layers {', '.join(f'{name} ({weight:g})' for name, weight in weights if weight)}"


def _octave_details(job: Job, step: Step) -> str:
    """Returns what --verbose shows of an octave at its first step."""
    options = ", ".join(f"{name}={value}" for name, value in job.sessions.provider_options().items())
    return (
        f"octave {step.octave + 1}: {step.size}, loss {step.fetch_total():.4g}; provider options: {options or 'none'}"
    )
