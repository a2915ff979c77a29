"""A job: one dream of the studio, what is known of it, and the text of its file."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...models.decoding import DecodeError, decoded_json
from ...runtime.dream.record import read_settings
from ...runtime.settings.changes import Change
from ...runtime.settings.settings import Settings, descriptions

State = Literal["queued", "starting", "running", "paused", "stopping", "finished", "stopped", "diverged", "failed"]
PICTURE_FORMS = ("png", "jpg", "webp", "tiff")
_MAX_LOSSES = 400
_SHOWN = (
    *("id", "name", "state", "error", "created", "picture", "mask", "guide", "look", "bundle", "pending", "step"),
    *("steps", "octave", "width", "height", "loss", "octave_starts", "provider", "notices", "command"),
    *("seq", "branch_of"),
)


@dataclass
class StudioJob:
    """A dream of the studio.

    `name` is the name of its picture for users, `picture_file`, `mask_file` and `guide_file` are the names of the files
    in its folder, and `result` that of its result. `request` is the page's own identifier of the request that made it.
    `octaves` are heights and widths; `octave` counts from 1. `losses` are rows of a step and a total, thinned to 400.
    `seq` is the number of its newest frame. `deaths` counts the workers that have ended amid it.
    `settings` are those of now, `initial` those that it began with, and `changes` those made on the way; `pending` are
    those that were asked for and have no effect yet. `film` is the form of its film, None where there is none. `pace`
    and `speed` are the seconds of a megapixel in a step of this octave and in earlier dreams, `pace_from` the step and
    the time from which the pace is measured.
    """

    id: str
    name: str
    request: str
    picture: str
    picture_file: str
    picture_width: int
    picture_height: int
    result: str
    bundle: str
    initial: Settings
    settings: Settings
    look: str | None = None
    mask: str | None = None
    mask_file: str | None = None
    guide: str | None = None
    guide_file: str | None = None
    branch_of: str | None = None
    state: State = "queued"
    error: str | None = None
    created: float = field(default_factory=time.time)
    changes: tuple[Change, ...] = ()
    pending: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    steps: int = 0
    octave: int = 1
    octaves: tuple[tuple[int, int], ...] = ()
    width: int = 0
    height: int = 0
    loss: float | None = None
    losses: tuple[tuple[int, float], ...] = ()
    losses_every: int = 1
    octave_starts: tuple[int, ...] = (0,)
    seconds: float = 0.0
    seconds_before: float = 0.0
    provider: str = ""
    notices: tuple[str, ...] = ()
    command: str | None = None
    seq: int = 1
    deaths: int = 0
    has_result: bool = False
    film: str | None = None
    pace: float | None = None
    pace_from: tuple[int, float] = (0, 0.0)
    speed: float | None = None

    def __post_init__(self) -> None:
        """Raises DecodeError where a file of its own is not in its folder."""
        for name in (self.picture_file, self.mask_file, self.guide_file, self.result):
            if name and os.path.basename(name) != name:
                raise DecodeError("a file of a job is not a name")

    def add_losses(self, rows: tuple[tuple[int, float], ...]) -> None:
        """Appends totals; where there are too many, every second one is dropped, and later ones are as sparse."""
        for step, total in rows:
            self.loss = total if math.isfinite(total) else None
            if step % self.losses_every or self.loss is None or (self.losses and step <= self.losses[-1][0]):
                continue
            self.losses += ((step, float(f"{total:.7g}")),)
            if len(self.losses) > _MAX_LOSSES:
                self.losses_every *= 2
                self.losses = tuple(row for row in self.losses if row[0] % self.losses_every == 0)

    def add_change(self, change: Change) -> None:
        """Notes a change; several at one step are one."""
        if self.changes and self.changes[-1].step == change.step:
            change = Change(change.step, {**self.changes[-1].settings, **change.settings})
            self.changes = self.changes[:-1]
        self.changes += (change,)

    def to_json(self) -> str:
        """Returns the text of its file."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> StudioJob:
        """Reads the text of its file. Raises DecodeError, and SettingsError for settings of another version."""
        return decoded_json(cls, text, {Settings: read_settings})

    def facts(self, with_losses: bool = True) -> dict[str, Any]:
        """Returns what the page knows of the job."""
        address = f"/api/jobs/{self.id}"
        found = {name: getattr(self, name) for name in _SHOWN}
        found |= {
            "octaves": len(self.octaves) or self.settings.octaves,
            "settings": page_settings(self.settings),
            "changes": [asdict(change) for change in self.changes],
            "seconds": round(self.seconds, 3),
            "seconds_left": self.seconds_left,
            "original": f"{address}/original.jpg",
            "thumbnail": f"{address}/thumbnail.jpg",
            "results": {form: f"{address}/{name}" for form, name in self.result_names().items()},
        }
        return {**found, "losses": self.losses} if with_losses else found

    def result_names(self) -> dict[str, str]:
        """Returns the names under which its results can be fetched, by their form; none until there are any."""
        if not self.has_result:
            return {}
        stem = Path(self.result).stem
        pictures = {form: f"{stem}.{form}" for form in PICTURE_FORMS}
        documents = {"record": f"{stem}.json", "settings": f"{stem}.toml"}
        return pictures | documents | ({"film": f"{stem}-film.{self.film}"} if self.film else {})

    @property
    def seconds_left(self) -> float | None:
        """The time that its steps will take, if each pixel takes as long as in this octave; None where that is unknown.

        A larger octave takes less for each pixel, so that this is rather too much; with `speed`, that of earlier dreams
        counts for the octaves to come.
        """
        if self.state not in ("running", "paused") or not self.octaves or self.pace is None:
            return None
        steps = self.steps - self.octave_starts[-1]
        every = max(1, steps // max(1, len(self.octaves) - self.octave + 1))
        here = max(0, every - (self.step - self.octave_starts[-1])) * _megapixels(self.octaves[self.octave - 1])
        later = every * sum(map(_megapixels, self.octaves[self.octave :]))
        return round(self.pace * here + (self.speed or self.pace) * later, 2)

    def note_pace(self) -> None:
        """Measures how long a megapixel takes in a step of this octave, without the octave's first step."""
        begun = self.step - self.octave_starts[-1]
        if begun <= 1 or self.pace_from[0] <= self.octave_starts[-1]:
            self.pace_from = (max(self.step, self.octave_starts[-1] + 1), self.seconds) if begun else (0, 0.0)
        elif self.step > self.pace_from[0]:
            done = (self.step - self.pace_from[0]) * _megapixels(self.octaves[self.octave - 1])
            self.pace = (self.seconds - self.pace_from[1]) / done


def page_settings(settings: Settings) -> dict[str, Any]:
    """Returns all settings by name, with values as a config file holds them; None for those that are off."""
    return {name: one.kind.write(getattr(settings, name)) for name, one in descriptions(Settings).items()}


def _megapixels(octave: tuple[int, int]) -> float:
    return octave[0] * octave[1] / 1e6
