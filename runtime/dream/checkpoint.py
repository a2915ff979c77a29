"""Checkpoints: a run's state on disk, from which it goes on bit by bit as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...models.decoding import decoded
from ..ascent.ascent import State
from ..errors import RecordError, SettingsError
from ..image.source import SourceFile
from ..settings.settings import Settings, settings_from_dict

_FORMAT = 1
_SOURCES = ("bundle", "picture", "mask", "guide")
# A counter's key in the file -> its field in the state and its type.
_COUNTERS = {
    "number": ("number", int),
    "octave": ("octave", int),
    "octave_step": ("octave_step", int),
    "octave_start": ("octave_start", int),
    "last": ("only_evaluation_left", bool),
}


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on: its settings, its files by hash, where its results go, and its state.

    The settings name the provider, the threads and the tiles that the run really had; `seconds` is how long it took so
    far, `film` a path or None.
    """

    settings: Settings
    bundle: SourceFile
    picture: SourceFile
    mask: SourceFile | None
    guide: SourceFile | None
    output: str
    film: str | None
    film_every: int
    seconds: float
    state: State

    def write(self, file: IO[bytes]) -> None:
        """Writes it as an .npz: one JSON text and the arrays of the state, each with its CRC. Raises OSError."""
        facts: dict[str, Any] = {
            "format": _FORMAT,
            "settings": asdict(self.settings),
            "output": self.output,
            "film": self.film,
            "film_every": self.film_every,
            "seconds": self.seconds,
            "slots": len(self.state.slots),
            "colours": self.state.colours is not None,
            "counters": {key: getattr(self.state, name) for key, (name, _) in _COUNTERS.items()},
        }
        for name in _SOURCES:
            source = getattr(self, name)
            facts[name] = asdict(source) if source else None
        arrays: dict[str, Any] = {f"slot{i}": slot for i, slot in enumerate(self.state.slots)}
        if self.state.colours is not None:
            arrays["colours"] = self.state.colours
        rows = self.state.history[: self.state.number]  # that of the image itself is computed again
        history = np.stack(rows) if rows else np.zeros((0, 0), np.float32)
        np.savez(file, facts=np.array(json.dumps(facts)), image=self.state.image, history=history, **arrays)


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises RecordError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            if facts["format"] != _FORMAT:
                raise RecordError(f"{path} is a checkpoint of another version of onnxdream: resume it with that one")
            slots = [f"slot{number}" for number in range(facts["slots"])]
            colours = ["colours"] if facts["colours"] else []
            # numpy stops short of an array's CRC where its shape is damaged, and passes over a lost one.
            if file.zip.testzip() or set(file.files) != {"facts", "image", "history", *slots, *colours}:
                raise ValueError("the archive of a checkpoint is damaged")
            state = State(
                file["image"],
                [file[slot] for slot in slots],
                history=list(file["history"]),
                colours=file["colours"] if colours else None,
                **{_COUNTERS[key][0]: value for key, value in facts["counters"].items()},
            )
        _require_sound(state)
        sources = {name: decoded(SourceFile | None, facts[name]) for name in _SOURCES}
        return Checkpoint(
            settings=settings_from_dict(facts["settings"]),
            **sources,
            output=str(facts["output"]),
            film=facts["film"],
            film_every=int(facts["film_every"]),
            seconds=float(facts["seconds"]),
            state=state,
        )
    except FileNotFoundError:
        raise RecordError(f"no checkpoint {path}: it lies beside the picture of an unfinished dream") from None
    except SettingsError as error:
        raise RecordError(f"{path}: {error}") from None
    except RecordError:
        raise
    except Exception as error:  # what damage does to numpy, zipfile and json has no common base
        raise RecordError(f"{path} is no checkpoint, or a damaged one: start the dream again") from error


def _require_sound(state: State) -> None:
    arrays = [state.image, *state.slots]
    same = all(a.dtype == np.float32 and a.ndim == 3 and a.shape == state.image.shape for a in arrays)
    counters = all(type(getattr(state, name)) is kind for name, kind in _COUNTERS.values())
    matrix = state.colours
    is_matrix = matrix is None or (matrix.dtype == np.float32 and matrix.shape == (3, 3) and np.isfinite(matrix).all())
    if not (same and counters and is_matrix) or state.image.shape[0] != 3 or len(state.history) != state.number:
        raise ValueError("the parts of a checkpoint do not fit each other")
