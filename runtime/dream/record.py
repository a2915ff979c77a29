"""The record of a run: all that is needed to know how a picture was made, and to make it again."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..ascent.ascent import Ending
from ..ascent.tiles import TilePlan
from ..bundle.bundle import Bundle
from ..errors import RecordError, SettingsError
from ..image.source import Source, source_from_dict
from ..provider.hardware import package_versions
from ..settings.settings import Execution, Settings, settings_from_dict

_RECORDED_PACKAGES = ("onnxdream", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "numpy")


@dataclass(frozen=True)
class Sources:
    """The files that a run's pictures came from."""

    picture: Source
    mask: Source | None = None
    guide: Source | None = None


@dataclass(frozen=True)
class OctaveRecord:
    """How one octave was computed: its height and width, those of its tiles, and how many these were."""

    size: tuple[int, int]
    tile: tuple[int, int]
    tiles: int


@dataclass(frozen=True)
class Record:
    """One run. `execution` is what it really had; losses are the weighted sums before the first and after the last
    update; `notices` tell what did not go as planned; `ended` is finished, stopped (by the user) or diverged."""

    bundle: Source
    layers: tuple[str, ...]
    settings: Settings
    execution: Execution
    octaves: tuple[OctaveRecord, ...]
    steps_done: int
    first_loss: float
    last_loss: float
    ended: Ending
    notices: tuple[str, ...]
    seconds: float
    versions: dict[str, str]
    picture: Source | None = None
    mask: Source | None = None
    guide: Source | None = None

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
        ended: Ending,
        seconds: float,
    ) -> Record:
        """The record of a run that has just ended; `losses` is [evaluations, layers]."""
        totals = losses @ layer_weights
        return cls(
            bundle=bundle_source(bundle),
            layers=bundle.metadata.layer_names,
            settings=settings,
            execution=execution,
            octaves=tuple(OctaveRecord((p.height, p.width), p.tile_size, len(p.tiles)) for p in plans),
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


def bundle_source(bundle: Bundle) -> Source:
    """The bundle's file, with its whole path where it came from one."""
    return Source(bundle.name, bundle.sha256, str(bundle.path.resolve()) if bundle.path else None)


def read_record(text: str, name: str) -> Record:
    """Reads a record's JSON; `name` is the file's, for messages. Raises RecordError."""
    try:
        data: dict[str, Any] = json.loads(text)
        _require_types(data)
        data["settings"] = settings_from_dict(data["settings"])
        data["execution"] = Execution(**data["execution"])
        data["bundle"] = source_from_dict(data["bundle"])
        for aid in ("picture", "mask", "guide"):
            data[aid] = None if data[aid] is None else source_from_dict(data[aid])
        data["octaves"] = tuple(_octave(octave) for octave in data["octaves"])
        data["layers"], data["notices"] = tuple(data["layers"]), tuple(data["notices"])
        record = Record(**data)
        record.settings_to_repeat()
    except SettingsError as error:
        raise RecordError(f"{name}: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise RecordError(f"{name} holds no record of a dream: give the .json or the .png beside it") from None
    return record


def _is_whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


# What a record's values are in JSON, apart from those that their own classes check.
_TYPES: dict[str, Callable[[Any], bool]] = {
    "settings": _is_object,
    "execution": _is_object,
    "layers": _is_list_of_texts,
    "octaves": lambda value: isinstance(value, list),
    "steps_done": _is_whole,
    "first_loss": _is_number,
    "last_loss": _is_number,
    "ended": lambda value: value in get_args(Ending),
    "notices": _is_list_of_texts,
    "seconds": _is_number,
    "versions": lambda value: _is_object(value) and all(isinstance(text, str) for text in value.values()),
}


def _require_types(data: dict[str, Any]) -> None:
    """Raises ValueError and KeyError."""
    wrong = [name for name, is_right in _TYPES.items() if not is_right(data[name])]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} of another type")


def _octave(data: dict[str, Any]) -> OctaveRecord:
    """Raises ValueError, KeyError and TypeError."""
    size, tile, tiles = (data[name] for name in ("size", "tile", "tiles"))
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in (size, tile)):
        raise ValueError("a size is a height and a width")
    if not all(_is_whole(length) for length in (*size, *tile, tiles)):
        raise ValueError("an octave is whole numbers")
    return OctaveRecord(tuple(size), tuple(tile), tiles)


def _bare(source: Any) -> Any:
    return replace(source, path=None) if source else None


def _versions() -> dict[str, str]:
    own = {"python": platform.python_version(), "machine": platform.machine()}
    return own | package_versions(_RECORDED_PACKAGES)
