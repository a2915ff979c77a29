"""The record of a run: everything needed to know how a picture was made, and to make it again."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...models.arrays import Floats, Size
from ...models.decoding import DecodeError, decoded_json
from ..ascent.step import StopReason
from ..bundle.bundle import Bundle
from ..errors import RecordError, SettingsError
from ..image.source import SourceFile
from ..image.tiles import TilePlan
from ..provider.hardware import package_versions
from ..settings.changes import Change, require_changes
from ..settings.settings import Execution, Settings, settings_from_dict

_RECORDED_PACKAGES = ("onnxdream", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "numpy")


@dataclass(frozen=True)
class SourceFiles:
    """The files of the picture, the mask, the guide and the direction of a run."""

    picture: SourceFile
    mask: SourceFile | None = None
    guide: SourceFile | None = None
    direction: tuple[SourceFile, ...] = ()


@dataclass(frozen=True)
class OctaveRecord:
    """How one octave was computed: its size, the size of its tiles and the number of tiles.

    `start` is the number of updates before it: its losses are those after `start` updates and more.
    """

    size: Size
    tile: Size
    tiles: int
    start: int


@dataclass(frozen=True)
class Record:
    """One run.

    `settings` are those that the run began with, `changes` those that it made on the way, in order.
    `execution` is what the run actually used. `first_loss` and `last_loss` are the weighted sums of the losses before
    the first and after the last update of the last octave, since those of octaves of different sizes cannot be
    compared, with the layer weights of the end. `notices` state what did not go as planned. `ended` is finished,
    stopped (by the user) or diverged. `files` are the names of the files that the run left, all in one folder. Raises
    DecodeError for a negative number, and SettingsError for changes that no run has made.
    """

    bundle: SourceFile
    layers: tuple[str, ...]
    settings: Settings
    execution: Execution
    octaves: tuple[OctaveRecord, ...]
    steps_done: int
    first_loss: float
    last_loss: float
    ended: StopReason
    notices: tuple[str, ...]
    seconds: float
    versions: dict[str, str]
    picture: SourceFile | None = None
    mask: SourceFile | None = None
    guide: SourceFile | None = None
    direction: tuple[SourceFile, ...] = ()
    changes: tuple[Change, ...] = ()
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        sizes = [
            number for octave in self.octaves for number in (*octave.size, *octave.tile, octave.tiles, octave.start)
        ]
        if any(number < 0 for number in (self.steps_done, *sizes)):
            raise DecodeError("a record has a negative number")
        require_changes(self.settings, self.changes)
        # After the last change there is an update, or there was one that has made the run diverge.
        if self.changes and self.changes[-1].step + (self.ended != "diverged") > self.steps_done:
            raise SettingsError(
                f"the change at step {self.changes[-1].step} comes after the run's end at step {self.steps_done}: "
                "leave it out"
            )

    @classmethod
    def of_run(
        cls,
        *,
        bundle: Bundle,
        settings: Settings,
        execution: Execution,
        plans: list[TilePlan],
        starts: list[int],
        notices: tuple[str, ...],
        losses: Floats,
        layer_weights: Floats,
        ended: StopReason,
        seconds: float,
        changes: tuple[Change, ...] = (),
    ) -> Record:
        """The record of a run that has just ended.

        `losses` is float32 [evaluations, layers], `layer_weights` float32 [layers]; `plans` are the octaves' tiles and
        `starts` the numbers of updates before each octave.
        """
        totals = losses @ layer_weights
        return cls(
            bundle=bundle_file(bundle),
            layers=bundle.metadata.layer_names,
            settings=settings,
            execution=execution,
            octaves=tuple(
                OctaveRecord(plan.size, plan.tile_size, len(plan.tiles), start)
                for plan, start in zip(plans, starts, strict=True)
            ),
            steps_done=len(losses) - 1,
            first_loss=float(totals[starts[-1]]),
            last_loss=float(totals[-1]),
            ended=ended,
            notices=notices,
            seconds=round(seconds, 3),
            versions=recorded_versions(),
            changes=changes,
        )

    def to_json(self, with_paths: bool = True) -> str:
        """The record as JSON text; without paths it does not reveal the machine's folders."""
        files = {name: _without_path(getattr(self, name)) for name in ("bundle", "picture", "mask", "guide")}
        files["direction"] = tuple(map(_without_path, self.direction))
        return json.dumps(asdict(self if with_paths else replace(self, **files)), indent=2)

    def settings_to_repeat(self) -> Settings:
        """The settings with the provider, the threads and the tiles that the run actually used."""
        return replace(self.settings, execution=self.execution)


def bundle_file(bundle: Bundle) -> SourceFile:
    """The name, hash and absolute path of a bundle's file; the path is None for a bundle that was loaded from bytes."""
    return SourceFile(bundle.name, bundle.sha256, str(bundle.path.resolve()) if bundle.path else None)


def read_record(text: str, name: str) -> Record:
    """Reads a record from its JSON text; `name` is the file's, for messages. Raises RecordError."""
    try:
        record = decoded_json(Record, text.removeprefix("\ufeff"), {Settings: read_settings})
        record.settings_to_repeat()
    except SettingsError as error:
        raise RecordError(f"{name}: {error}") from None
    except DecodeError:
        raise RecordError(f"{name} holds no record of a dream: give the .json or the .png that a dream wrote") from None
    return record


def read_settings(data: object) -> Settings:
    """Returns the settings in the data of a record. Raises DecodeError and SettingsError."""
    if not isinstance(data, dict):
        raise DecodeError("settings are not an object")
    return settings_from_dict(data)


def _without_path(file: SourceFile | None) -> Any:
    return replace(file, path=None) if file else None


def recorded_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a run depends on, and the machine's architecture."""
    system = {"python": platform.python_version(), "machine": platform.machine()}
    return system | package_versions(_RECORDED_PACKAGES)
