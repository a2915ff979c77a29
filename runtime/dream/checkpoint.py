"""Checkpoints: the state of a run on disk, from which it resumes with results that are bit for bit the same."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...models.arrays import write_arrays
from ...models.decoding import decoded
from ..ascent.step import State
from ..errors import RecordError, SettingsError
from ..image.source import SourceFile
from ..settings.changes import Change, require_changes
from ..settings.settings import Settings, settings_from_dict

_FORMAT = 1
_SOURCES = ("bundle", "picture", "mask", "guide")
# The arrays of a state that some runs do not have.
_OPTIONAL_ARRAYS = ("colours", "means_before")
# A counter's key in the file -> its field in the state and its type.
_COUNTERS = {
    "number": ("number", int),
    "octave": ("octave", int),
    "octave_step": ("octave_step", int),
    "last": ("only_evaluation_left", bool),
}


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to resume: its settings, its files by hash, where its results go, and its state.

    The settings are those that the run began with, and name the provider, the threads and the tiles that it actually
    used; `changes` are those on the way, also those still planned. `output` is the path of the
    result's picture, `film` that of the film or None. `extras` is whether other files are written, too. `seconds` is
    the time that the run has taken so far.
    """

    settings: Settings
    bundle: SourceFile
    picture: SourceFile
    mask: SourceFile | None
    guide: SourceFile | None
    direction: tuple[SourceFile, ...]
    output: str
    film: str | None
    film_every: int
    film_fps: int
    extras: bool
    seconds: float
    changes: tuple[Change, ...]
    state: State

    def write(self, file: IO[bytes]) -> None:
        """Writes the checkpoint as an .npz archive: one JSON text and the arrays of the state, each with its CRC.

        Raises OSError.
        """
        header: dict[str, Any] = {
            "format": _FORMAT,
            "settings": asdict(self.settings),
            "output": self.output,
            "film": self.film,
            "film_every": self.film_every,
            "film_fps": self.film_fps,
            "extras": self.extras,
            "seconds": self.seconds,
            "changes": [asdict(change) for change in self.changes],
            "slots": len(self.state.slots),
            "arrays": [name for name in _OPTIONAL_ARRAYS if getattr(self.state, name) is not None],
            "octave_starts": self.state.octave_starts,
            "counters": {key: getattr(self.state, name) for key, (name, _) in _COUNTERS.items()},
        }
        for name in _SOURCES:
            source = getattr(self, name)
            header[name] = asdict(source) if source else None
        header["direction"] = [asdict(source) for source in self.direction]
        arrays: dict[str, Any] = {f"slot{i}": slot for i, slot in enumerate(self.state.slots)}
        arrays |= {name: getattr(self.state, name) for name in header["arrays"]}
        # The losses of the image itself are computed again on resuming.
        rows = self.state.history[: self.state.number]
        history = np.stack(rows) if rows else np.zeros((0, 0), np.float32)
        arrays |= {"facts": np.array(json.dumps(header)), "image": self.state.image, "history": history}
        write_arrays(file, arrays)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint file. Raises RecordError."""
    try:
        if not path.stat().st_size:
            raise RecordError(f"{path} is empty: the dream ended before its first checkpoint, start it again")
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["facts"]))
            if header["format"] != _FORMAT:
                raise RecordError(f"{path} was written by another version of onnxdream: resume it with that version")
            slots = [f"slot{number}" for number in range(header["slots"])]
            optional = [name for name in _OPTIONAL_ARRAYS if name in header["arrays"]]
            # numpy does not check an array's CRC where its shape is damaged, and ignores a missing array.
            if file.zip.testzip() or set(file.files) != {"facts", "image", "history", *slots, *optional}:
                raise ValueError("the archive of a checkpoint is damaged")
            state = State(
                file["image"],
                [file[slot] for slot in slots],
                history=list(file["history"]),
                **{name: file[name] for name in optional},
                octave_starts=list(decoded(tuple[int, ...], header["octave_starts"])),
                **{_COUNTERS[key][0]: value for key, value in header["counters"].items()},
            )
        _require_consistent(state)
        sources: dict[str, Any] = {name: decoded(SourceFile | None, header[name]) for name in _SOURCES}
        sources["direction"] = decoded(tuple[SourceFile, ...], header["direction"])
        settings, changes = settings_from_dict(header["settings"]), decoded(tuple[Change, ...], header["changes"])
        require_changes(settings, changes)
        return Checkpoint(
            settings=settings,
            **sources,
            output=str(header["output"]),
            film=header["film"],
            film_every=int(header["film_every"]),
            film_fps=int(header["film_fps"]),
            extras=bool(header["extras"]),
            seconds=float(header["seconds"]),
            changes=changes,
            state=state,
        )
    except FileNotFoundError:
        raise RecordError(f"no checkpoint {path}: look for it next to the picture of the unfinished dream") from None
    except SettingsError as error:
        raise RecordError(f"{path}: {error}") from None
    except RecordError:
        raise
    except Exception as error:  # numpy, zipfile and json raise errors without a common base on damaged files
        raise RecordError(f"{path} is not a checkpoint, or is damaged: start the dream again") from error


def _require_consistent(state: State) -> None:
    """Raises ValueError unless the state's arrays and counters have their types and fit each other."""
    arrays = [state.image, *state.slots]
    same_shape = all(a.dtype == np.float32 and a.ndim == 3 and a.shape == state.image.shape for a in arrays)
    counters = all(type(getattr(state, name)) is kind for name, kind in _COUNTERS.values())
    matrix = state.colours
    is_matrix = matrix is None or (matrix.dtype == np.float32 and matrix.shape == (3, 3) and np.isfinite(matrix).all())
    means = state.means_before
    are_means = means is None or (means.dtype == np.float32 and means.ndim == 1 and np.isfinite(means).all())
    starts = state.octave_starts
    are_starts = starts == sorted(set(starts)) and starts[0] == 0 and len(starts) == state.octave + 1
    if not (same_shape and counters and is_matrix and are_means and are_starts and starts[-1] <= state.number):
        raise ValueError("the parts of the checkpoint do not fit each other")
    if state.image.shape[0] != 3 or len(state.history) != state.number:
        raise ValueError("the parts of the checkpoint do not fit each other")
