"""The command `bench`: the time that loading and a step of a real ascent take on this machine, and the memory.

Each measurement runs in a process of its own (`python -m onnxdream.runtime.bench BUNDLE WIDTH HEIGHT PROVIDER THREADS
PRECISION TUNE` prints it as JSON; TUNE is `tune` or empty). Otherwise the peak memory of one would hide that of the
next, and sessions in one process would slow each other down by their spinning threads.
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
from .ascent.step import State, Step
from .bundle.bundle import Bundle
from .bundle.choice import choose_bundle, describe
from .bundle.sessions import Sessions
from .dream.run import dream
from .errors import ProviderError
from .footprint import peak_bytes
from .image.source import noise_picture
from .provider.cards import PROVIDERS
from .provider.machine import Machine
from .provider.selection import choose_provider, machine_for
from .settings.parsing import parse_size
from .settings.settings import Execution, Precision, Settings

# _STEPS steps are timed, or fewer where they take longer than _SECONDS together, but at least _MIN_STEPS.
_STEPS, _SECONDS, _MIN_STEPS = 20, 5.0, 3
_WARM_UP_STEPS = 2
_ENDLESS_STEPS = 1_000_000
# The steps after which all images between which a run alternates have CUDA graphs: a third image may come after 20.
_STEPS_BEFORE_GRAPHS = 50


class StepTimer:
    """Times the steps of an endless `dream` of a picture in its own size."""

    def __init__(self, bundle: Bundle, execution: Execution, picture: Pixels) -> None:
        self._bundle, self._sessions = bundle, Sessions(bundle)
        self._picture = picture
        self._settings = Settings(max_size=None, steps=_ENDLESS_STEPS, execution=execution)
        self.state: State | None = None
        self.first_seconds = 0.0

    def step_seconds(self, count: int, limit: float = float("inf"), min_count: int = 1) -> list[float]:
        """Returns the seconds that each of the next `count` steps takes: an update and the gradient after it.

        Stops early once the steps take longer than `limit` seconds together, but not before `min_count` of them. The
        gradient that the first step starts from does not count; `first_seconds` are the seconds until it was computed.
        Nor do the steps count that a tuned machine needs until it has captured its CUDA graphs.

        Raises DreamError and BundleError.
        """
        times: list[float] = []
        skipped = _STEPS_BEFORE_GRAPHS if self._settings.execution.tune else 0

        def on_step(step: Step) -> bool:
            times.append(time.perf_counter())
            done = len(times) - 1 - skipped
            ends = done >= count or (done >= min_count and times[-1] - times[skipped] > limit)
            if ends:  # only now, because this fetches the state from the device
                self.state = step.fetch_state()
            return ends

        started = time.perf_counter()
        dream(self._picture, self._bundle, self._settings, on_step, state=self.state, sessions=self._sessions)
        self.first_seconds = times[0] - started
        return [float(seconds) for seconds in np.diff(times[skipped:])]


@dataclass(frozen=True)
class Measurement:
    """The measured times and memory.

    `step_seconds` is the median of `steps` steps, and `quartiles` are their first and third quartile. `load_seconds` is
    how much longer the first gradient took than a step. `peak_bytes` is the most memory that the process had.
    """

    load_seconds: float
    step_seconds: float
    quartiles: tuple[float, float]
    steps: int
    peak_bytes: int

    @property
    def seconds_for_1000_steps(self) -> float:
        """The seconds of 1000 steps, with loading."""
        return self.load_seconds + 1000 * self.step_seconds


@dataclass(frozen=True)
class Trial:
    """One measurement to make: a bundle's file on a machine, with a picture of some size."""

    bundle: Path
    machine: Machine
    size: Size

    def __str__(self) -> str:
        return f"{self.provider_text} {self.machine.precision}, {self.size_text}"

    @property
    def provider_text(self) -> str:
        """The provider as the table shows it."""
        return self.machine.provider_text + (", tuned" if self.machine.tune else "")

    @property
    def size_text(self) -> str:
        """The size as `--size` takes it, such as 512x384."""
        return f"{self.size.width}x{self.size.height}"

    def run(self) -> Measurement:
        """Measures in this process, with a picture of noise. Raises DreamError and BundleError."""
        machine = self.machine
        execution = Execution(machine.provider_text, machine.threads, precision=machine.precision, tune=machine.tune)
        picture = noise_picture(self.size.width, self.size.height, seed=0).pixels
        timer = StepTimer(Bundle.load(self.bundle), execution, picture)
        timer.step_seconds(_WARM_UP_STEPS)
        first = timer.first_seconds
        times = timer.step_seconds(_STEPS, _SECONDS, _MIN_STEPS)
        low, step, high = (float(seconds) for seconds in np.quantile(times, (0.25, 0.5, 0.75)))
        return Measurement(max(0.0, first - step), step, (low, high), len(times), peak_bytes())

    def run_in_subprocess(self) -> Result:
        """Measures in a process of its own; a failure there becomes the result's problem."""
        arguments = (
            self.bundle,
            self.size.width,
            self.size.height,
            self.machine.provider_text,
            self.machine.threads,
            self.machine.precision,
            "tune" if self.machine.tune else "",
        )
        command = module_command("onnxdream.runtime.bench", *arguments)
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode == 0:
            numbers = json.loads(process.stdout)
            return Result(self, Measurement(**{**numbers, "quartiles": tuple(numbers["quartiles"])}))
        if process.returncode < 0:
            return Result(self, None, f"its process was killed by {signal.Signals(-process.returncode).name}")
        return Result(self, None, (process.stderr.strip().splitlines() or ["its process failed"])[-1])


@dataclass(frozen=True)
class Result:
    """The result of a trial: a measurement, or the problem that prevented it, in one line."""

    trial: Trial
    measurement: Measurement | None
    problem: str | None = None

    def facts(self) -> dict[str, object]:
        """Returns the result as plain data, as `--json` prints it, with the figures derived from it."""
        machine, (height, width) = self.trial.machine, self.trial.size
        facts: dict[str, object] = {"provider": machine.provider_text, "precision": machine.precision}
        facts |= {"threads": machine.threads, "tune": machine.tune}
        facts |= {"width": width, "height": height, "problem": self.problem}
        if self.measurement:
            facts |= {**asdict(self.measurement), "steps_per_second": 1 / self.measurement.step_seconds}
            facts["seconds_for_1000_steps"] = self.measurement.seconds_for_1000_steps
        return facts

    def row(self) -> tuple[str, ...]:
        """Returns the result as a row of a table with the columns of `HEADER`."""
        machine, measurement = self.trial.machine, self.measurement
        first_columns = self.trial.provider_text, machine.precision, str(machine.threads), self.trial.size_text
        if measurement is None:
            return (*first_columns, "failed")
        seconds = measurement.seconds_for_1000_steps
        return (
            *first_columns,
            f"{measurement.load_seconds:.2f} s",
            f"{1 / measurement.step_seconds:.2f}",
            f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min",
            f"{measurement.peak_bytes / 1e6:.0f} MB" if measurement.peak_bytes else "unknown",
        )


HEADER = ("provider", "precision", "threads", "size", "load", "steps/s", "1000 steps", "peak memory")


def plan_trials(options: Mapping[str, Any], model: str | None, sizes: Sequence[str]) -> tuple[list[str], list[Trial]]:
    """Returns lines for the user, and the trials: every size on every provider that works, or on the one given.

    `options` may have provider, precision, threads and tune; None is the same as leaving one out. The bundle is the one
    that `dream` would choose for `model`. Raises DreamError and BundleError.
    """
    given = {name: value for name, value in options.items() if value is not None}
    execution = Execution(**given)
    bundle = choose_bundle(model, execution.precision if "precision" in given else None)
    if "precision" not in given:
        execution = replace(execution, precision=bundle.precision)
    assert bundle.path  # choose_bundle loads files only
    found, notice = machines(execution)
    parsed = [parse_size(size, "size") for size in sizes]
    lines = [describe(bundle)[0], *([notice] if notice else [])]
    return lines, [Trial(bundle.path, machine, Size(height, width)) for machine in found for width, height in parsed]


def machines(execution: Execution) -> tuple[list[Machine], str | None]:
    """Returns this machine with the execution's provider; for `auto`, with each provider that works in its precision.

    TensorRT is left out for `auto`, since it builds an engine for each size, which takes minutes. The second value is
    the notice of the choice, if there is one. Raises ProviderError where none works.
    """
    choice = choose_provider(execution)
    if execution.provider != "auto":
        return [choice.machine], choice.notice
    found = []
    for name in (name for name, card in PROVIDERS.items() if card.auto_rank):
        with suppress(ProviderError):  # the command `doctor` shows why
            found.append(choose_provider(replace(execution, provider=name)).machine)
    return found, choice.notice


def main(arguments: list[str]) -> None:
    """Makes one measurement and prints it as JSON."""
    bundle, width, height, provider, threads, precision, tune = arguments
    execution = Execution(provider, int(threads), precision=cast(Precision, precision), tune=bool(tune))
    machine = machine_for(execution, execution.provider_name)
    try:
        print(json.dumps(asdict(Trial(Path(bundle), machine, Size(int(height), int(width))).run())))
    except OnnxdreamError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
