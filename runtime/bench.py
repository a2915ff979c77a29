"""How fast this machine dreams: what a session takes to load, a step of a real ascent, 1000 of them, and its memory.

Each measurement is a process of its own (`python -m onnxdream.runtime.bench BUNDLE WIDTH HEIGHT PROVIDER THREADS
PRECISION` prints it as JSON), since a process never gets smaller than it once was, and sessions in one process slow
each other by spinning threads.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..models.arrays import Pixels, Size
from ..models.child import module_command
from ..models.errors import OnnxdreamError
from .ascent.ascent import State, Step
from .bundle.bundle import Bundle
from .bundle.choice import choose_bundle, describe
from .bundle.sessions import Sessions
from .dream.run import dream
from .errors import ProviderError
from .footprint import peak_bytes
from .image.source import noise_picture
from .provider.cards import PROVIDERS
from .provider.machine import Machine
from .provider.selection import choose_provider
from .settings.parsing import parse_size
from .settings.settings import Execution, Precision, ProviderName, Settings

# Steps that are timed: this many, or fewer where they take longer than these seconds, but never fewer than the last.
_STEPS, _SECONDS, _MIN_STEPS = 20, 5.0, 3
_WARM_UP = 2
_NO_END = 1_000_000


class StepTimer:
    """A `dream` of a picture as large as it is, without end, step by step under a clock."""

    def __init__(self, bundle: Bundle, execution: Execution, picture: Pixels) -> None:
        self._bundle, self._sessions = bundle, Sessions(bundle)
        self._picture = picture
        self._settings = Settings(max_size=None, steps=_NO_END, execution=execution)
        self.state: State | None = None
        self.first_seconds = 0.0

    def step_seconds(self, count: int, limit: float = float("inf"), least: int = 1) -> list[float]:
        """What each of the next `count` steps takes, its update and the gradient of what comes of it.

        Where they take longer than `limit` seconds together, it ends after the first `least` of them. The gradient
        that they start from is not among them; `first_seconds` are those until it was there.

        Raises DreamError and BundleError.
        """
        clock: list[float] = []

        def on_step(step: Step) -> bool:
            clock.append(time.perf_counter())
            done = len(clock) - 1
            ends = done >= count or (done >= least and clock[-1] - clock[0] > limit)
            if ends:  # no sooner: it is fetched from the device
                self.state = step.fetch_state()
            return ends

        started = time.perf_counter()
        dream(self._picture, self._bundle, self._settings, on_step, state=self.state, sessions=self._sessions)
        self.first_seconds = clock[0] - started
        return [float(seconds) for seconds in np.diff(clock)]


@dataclass(frozen=True)
class Numbers:
    """What was measured: `step_seconds` is the median of `steps` steps, between their quartiles; `load_seconds` is what
    the first gradient took longer than a step."""

    load_seconds: float
    step_seconds: float
    quartiles: tuple[float, float]
    steps: int
    peak_bytes: int

    @property
    def seconds_for_1000_steps(self) -> float:
        """Loading included."""
        return self.load_seconds + 1000 * self.step_seconds


@dataclass(frozen=True)
class Trial:
    """What to measure: a bundle's file on a machine, on a picture of a size."""

    bundle: Path
    machine: Machine
    size: Size

    def __str__(self) -> str:
        return f"{self.machine.provider} {self.machine.precision}, {self.size_in_words}"

    @property
    def size_in_words(self) -> str:
        """As `--size` takes it."""
        return f"{self.size.width}x{self.size.height}"

    def run(self) -> Numbers:
        """Measures in this process, on noise. Raises DreamError and BundleError."""
        execution = Execution(self.machine.provider, self.machine.threads, precision=self.machine.precision)
        picture = noise_picture(self.size.width, self.size.height, seed=0).pixels
        timer = StepTimer(Bundle.load(self.bundle), execution, picture)
        timer.step_seconds(_WARM_UP)
        first = timer.first_seconds
        times = timer.step_seconds(_STEPS, _SECONDS, _MIN_STEPS)
        low, step, high = (float(seconds) for seconds in np.quantile(times, (0.25, 0.5, 0.75)))
        return Numbers(max(0.0, first - step), step, (low, high), len(times), peak_bytes())

    def run_apart(self) -> Result:
        """Measures in a process of its own; a failure there becomes the result's problem."""
        words = (
            self.bundle,
            self.size.width,
            self.size.height,
            self.machine.provider,
            self.machine.threads,
            self.machine.precision,
        )
        command = module_command("onnxdream.runtime.bench", *words)
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode == 0:
            numbers = json.loads(process.stdout)
            return Result(self, Numbers(**{**numbers, "quartiles": tuple(numbers["quartiles"])}))
        if process.returncode < 0:
            return Result(self, None, f"its process was ended by {signal.Signals(-process.returncode).name}")
        return Result(self, None, (process.stderr.strip().splitlines() or ["its process failed"])[-1])


@dataclass(frozen=True)
class Result:
    """What came of a trial; without numbers, `problem` says why, in one line."""

    trial: Trial
    numbers: Numbers | None
    problem: str | None = None

    def facts(self) -> dict[str, object]:
        """As plain data, with what follows from the numbers."""
        machine, (height, width) = self.trial.machine, self.trial.size
        facts: dict[str, object] = {name: getattr(machine, name) for name in ("provider", "precision", "threads")}
        facts |= {"width": width, "height": height, "problem": self.problem}
        if self.numbers:
            facts |= {**asdict(self.numbers), "steps_per_second": 1 / self.numbers.step_seconds}
            facts["seconds_for_1000_steps"] = self.numbers.seconds_for_1000_steps
        return facts

    def row(self) -> tuple[str, ...]:
        """As a line of a table, column by column under `HEADER`."""
        machine, numbers = self.trial.machine, self.numbers
        where = machine.provider, machine.precision, str(machine.threads), self.trial.size_in_words
        if numbers is None:
            return (*where, "failed")
        many = numbers.seconds_for_1000_steps
        return (
            *where,
            f"{numbers.load_seconds:.2f} s",
            f"{1 / numbers.step_seconds:.2f}",
            f"{many:.0f} s" if many < 600 else f"{many / 60:.0f} min",
            f"{numbers.peak_bytes / 1e6:.0f} MB",
        )


HEADER = ("provider", "precision", "threads", "size", "load", "steps/s", "1000 steps", "peak memory")


def plan_trials(options: Mapping[str, Any], model: str | None, sizes: Sequence[str]) -> tuple[list[str], list[Trial]]:
    """Lines for the user, and the trials of the bundle that `dream` would choose: every size on every provider that
    works, or on the one of the options (provider, precision, threads; None like one left out).

    Raises DreamError and BundleError.
    """
    wanted = {name: value for name, value in options.items() if value is not None}
    execution = Execution(**wanted)
    bundle = choose_bundle(model, execution.precision if "precision" in wanted else None)
    if "precision" not in wanted:
        execution = replace(execution, precision=bundle.precision)
    assert bundle.path  # it was chosen from files
    found, notice = machines(execution)
    parsed = [parse_size(size, "size") for size in sizes]
    lines = [describe(bundle)[0], *([notice] if notice else [])]
    return lines, [Trial(bundle.path, machine, Size(height, width)) for machine in found for width, height in parsed]


def machines(execution: Execution) -> tuple[list[Machine], str | None]:
    """This machine with the execution's provider, for `auto` with each one that works in its precision; and the notice
    where `auto` passes one over.

    Raises ProviderError where none works.
    """
    choice = choose_provider(execution)
    if execution.provider != "auto":
        return [choice.machine], None
    found = []
    for name in PROVIDERS:
        with suppress(ProviderError):  # the command `doctor` says why
            found.append(choose_provider(replace(execution, provider=name)).machine)
    return found, choice.notice


def main(words: list[str]) -> None:
    """Prints the numbers of one trial as JSON."""
    bundle, width, height, provider, threads, precision = words
    machine = Machine(cast(ProviderName, provider), int(threads), cast(Precision, precision))
    try:
        print(json.dumps(asdict(Trial(Path(bundle), machine, Size(int(height), int(width))).run())))
    except OnnxdreamError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
