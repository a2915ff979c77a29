"""The record of a run: all that is needed to know how a picture was made, and to make it again."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Size
from ...models.decoding import DecodeError, decoded_json
from ..ascent.ascent import StopReason
from ..ascent.tiles import TilePlan
from ..bundle.bundle import Bundle
from ..errors import RecordError, SettingsError
from ..image.source import SourceFile
from ..provider.hardware import package_versions
from ..settings.settings import Execution, Settings, settings_from_dict

_RECORDED_PACKAGES = ("onnxdream", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "numpy")


@dataclass(frozen=True)
class SourceFiles:
    """The files that a run's pictures came from."""

    picture: SourceFile
    mask: SourceFile | None = None
    guide: SourceFile | None = None


@dataclass(frozen=True)
class OctaveRecord:
    """How one octave was computed: its height and width, those of its tiles, and how many these were."""

    size: Size
    tile: Size
    tiles: int


@dataclass(frozen=True)
class Record:
    """One run. `execution` is what it really had; losses are the weighted sums before the first and after the last
    update; `notices` tell what did not go as planned; `ended` is finished, stopped (by the user) or diverged."""

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

    def __post_init__(self) -> None:
        if self.steps_done < 0 or any(side < 0 for one in self.octaves for side in (*one.size, *one.tile, one.tiles)):
            raise DecodeError("a record has a negative number")

    @classmethod
    def of_run(
        cls,
        *,
        bundle: Bundle,
        settings: Settings,
        execution: Execution,
        plans: list[TilePlan],
        notices: tuple[str, ...],
        losses: NDArray[np.float32],
        layer_weights: NDArray[np.float32],
        ended: StopReason,
        seconds: float,
    ) -> Record:
        """The record of a run that has just ended; `losses` is [evaluations, layers]."""
        totals = losses @ layer_weights
        return cls(
            bundle=bundle_file(bundle),
            layers=bundle.metadata.layer_names,
            settings=settings,
            execution=execution,
            octaves=tuple(OctaveRecord(p.size, p.tile_size, len(p.tiles)) for p in plans),
            steps_done=len(losses) - 1,
            first_loss=float(totals[0]),
            last_loss=float(totals[-1]),
            ended=ended,
            notices=notices,
            seconds=round(seconds, 3),
            versions=_versions(),
        )

    def to_json(self, with_paths: bool = True) -> str:
        """The record as JSON; without paths it tells nothing of the machine's folders."""
        bare = {name: _bare(getattr(self, name)) for name in ("bundle", "picture", "mask", "guide")}
        return json.dumps(asdict(self if with_paths else replace(self, **bare)), indent=2)

    def settings_to_repeat(self) -> Settings:
        """The settings with the provider, the threads and the tiles that the run really had."""
        return replace(self.settings, execution=self.execution)


def bundle_file(bundle: Bundle) -> SourceFile:
    """The bundle's file, with its whole path where it came from one."""
    return SourceFile(bundle.name, bundle.sha256, str(bundle.path.resolve()) if bundle.path else None)


def read_record(text: str, name: str) -> Record:
    """Reads a record's JSON; `name` is the file's, for messages. Raises RecordError."""
    try:
        record = decoded_json(Record, text, {Settings: _settings})
        record.settings_to_repeat()
    except SettingsError as error:
        raise RecordError(f"{name}: {error}") from None
    except DecodeError:
        raise RecordError(f"{name} holds no record of a dream: give the .json or the .png beside it") from None
    return record


def _settings(data: object) -> Settings:
    if not isinstance(data, dict):
        raise DecodeError("settings are not an object")
    return settings_from_dict(data)


def _bare(file: Any) -> Any:
    return replace(file, path=None) if file else None


def _versions() -> dict[str, str]:
    own = {"python": platform.python_version(), "machine": platform.machine()}
    return own | package_versions(_RECORDED_PACKAGES)
