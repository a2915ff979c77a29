"""Turns the options of the commands `film`, `zoom` and `travel` into the film to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...models.files import expand_user
from ..bundle.choice import bundle_of
from ..dream.record import bundle_file
from ..dream.repeat import find_file
from ..dream.request import introduction, parse_request
from ..dream.writer import Job
from ..errors import FilmError, FilmNotFoundError, SettingsError
from ..image.source import SourceFile
from ..processes.sharing import process_count
from ..settings.config import options_of, read_described
from ..settings.kinds import FloatRange, OrNone
from ..settings.options import OPTIONS, Option, described_options
from ..settings.presets import DEFAULT_LOOK, PRESETS
from ..settings.settings import Execution, descriptions
from ..video.formats import film_format
from ..video.library import load_av, require_encoders
from .apart.tally import Tally
from .parts import film_of, resuming, unfinished_record
from .record import FilmKind, FilmRecord, read_film_record
from .run import FilmJob
from .settings import Camera, Coherence, Travel

MOVES: Mapping[FilmKind, type[Any]] = {"film": Coherence, "zoom": Camera, "travel": Travel}
# Options of `dream` that a film does not have: it has a source and a range of values of its own, and no snapshots.
_LEFT_OUT = {
    *("noise", "snapshots", "normalization", "output", "extras", "film", "every", "fps"),
    *("recursive", "repeat", "resume", "save_config", "format", "cluster", "ship", "watch", "direction"),
}
# A zoom and a travel have their own objective or base, which these would not fit, and a single shot.
_ONLY_FOR_FILMS = {
    *("mask", "guide", "guide_by", "feather", "full_size", "blend", "pick", "position", "stay", "workers")
}
_EXAMPLES: Mapping[FilmKind, str] = {
    "film": "film walk.mp4 walk-dream.mp4",
    "zoom": "zoom photo.jpg zoom.mp4 --seconds 10",
    "travel": "travel photo.jpg travel.mp4 --through creatures,fur,neon --seconds 20",
}
# What a run maximises, which the default look does not state where an option of these is given.
_OBJECTIVE = {"layers", "layer_weights", "channels", "classes", "pick", "position", "model"}
_RESUME = Option("resume", Path, "Continue an interrupted film from its .parts folder; give nothing else.")
_SOURCE_SECONDS = FloatRange(0, 1e9)
_RANGE = (
    Option("start", float, "Begin this many seconds into the film."),
    Option("end", float, "End this many seconds into the film."),
)
_FRAMES = Option("keep_frames", Path, "Also write each frame as a .png into this folder.", "What to write")
_PRESET = Option(
    "preset",
    str,
    "A named set of settings; the command `presets` lists them all. Options override it. Default: "
    f"{DEFAULT_LOOK}, which also says how other layers are dreamed. The defaults in this help are those of `paper`.",
)
_WORKERS = Option(
    "workers",
    str,
    "Dream several shots at the same time, in this number of processes, or auto: as many as there are threads. They "
    "share the threads and the memory. Default: one shot after the other.",
    "Where to compute",
    in_files=False,
)
_OVERWRITE = Option("overwrite", bool, "Overwrite existing results.", "What to write", ("--overwrite",), in_files=False)
_INSTEAD = {option.name: option for option in (_PRESET, _WORKERS, _OVERWRITE)}  # of those of `dream`
_EXTRAS = Option(
    "extras",
    bool,
    "Also write the record, a .json file next to the film. Default: true.",
    "What to write",
    ("--extras/--no-extras",),
)


@dataclass(frozen=True)
class FilmRequest:
    """A film to make, and lines to show the user first."""

    film: FilmJob
    lines: list[str] = field(default_factory=list)


def film_options(kind: FilmKind) -> tuple[Option, ...]:
    """Returns the options of a command: its own, then those of `dream` that it takes."""
    left_out = _LEFT_OUT | (set() if kind == "film" else _ONLY_FOR_FILMS)
    own = (*described_options(MOVES[kind]), *(_RANGE if kind == "film" else ()), _RESUME, _FRAMES, _EXTRAS)
    others = (_INSTEAD.get(option.name, option) for option in OPTIONS if option.name not in left_out)
    return (*own, *others)


def parse_film(kind: FilmKind, source: Path | None, output: Path | None, options: Mapping[str, Any]) -> FilmRequest:
    """Returns the request that a command's options make.

    `options` holds those that the user gave, under their Python names. Raises DreamError, BundleError and FilmError.
    """
    load_av()  # before anything is read, since nothing can be made without it
    if "resume" in options:
        if source or output or len(options) > 1:
            raise SettingsError("--resume takes everything from the .parts folder: give nothing else")
        return _resumed(kind, expand_user(options["resume"]))
    if source is None or output is None:
        raise SettingsError(f"name what to read and what to write, as in onnxdream {_EXAMPLES[kind]}")
    require_encoders(film_format(output))
    if source.exists() and output.exists() and source.samefile(output):
        raise SettingsError(f"{output} is the film that is read: choose another name for the dream")
    move = MOVES[kind](**read_described(MOVES[kind], options))
    own = {*descriptions(MOVES[kind]), "start", "end", "keep_frames", "extras"}
    dream_options = {name: value for name, value in options.items() if name not in own}
    if kind == "travel":
        dream_options |= _bundle_for(move.through, dream_options)
    request = parse_request(dream_options, with_images=True, beneath=_beneath(dream_options))
    job = replace(request.job, extras=options.get("extras", True))
    kept = options.get("keep_frames")
    record = FilmRecord(
        kind=kind,
        bundle=bundle_file(job.bundle),
        source=_source_file(source),
        mask=_source_file(job.mask) if job.mask else None,
        guide=_source_file(job.guide) if job.guide else None,
        settings=replace(job.settings, snapshots=()),
        coherence=move if kind == "film" else None,
        camera=move if kind == "zoom" else None,
        travel=move if kind == "travel" else None,
        keep_frames=str(expand_user(kept).absolute()) if kept else None,
        extras=job.extras,
        start=_time("start", options),
        end=_time("end", options),
        output=output.name,
        workers=process_count(job.choice.machine, request.workers) or None,
    )
    return FilmRequest(FilmJob(source, output, job, record), request.lines)


def _time(name: str, options: Mapping[str, Any]) -> float | None:
    """A time in the source, in seconds, if the options have it. Raises SettingsError."""
    found: float | None = OrNone(_SOURCE_SECONDS).checked(name, options.get(name))
    return found


def _beneath(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that count beneath the user's: the default look, unless they name a preset or a config file.

    Where they choose what to maximise, the look only says how.
    """
    if {"preset", "config"} & options.keys():
        return {}
    if not _OBJECTIVE & options.keys():
        return {"preset": DEFAULT_LOOK}
    look, left_out = options_of(PRESETS[DEFAULT_LOOK].settings), {*_OBJECTIVE, *descriptions(Execution)}
    return {name: value for name, value in look.items() if name not in left_out}


def _bundle_for(through: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that choose the bundle of a journey: its first look, or its layers, unless the options do."""
    stations = map(str.strip, through.split(","))
    names = [station.rpartition(":")[0] or station for station in stations]
    if {"model", "preset", "config", "layers"} & options.keys():
        return {}
    looks = [name for name in names if name in PRESETS]
    layers = ",".join(name for name in names if name)
    return {"preset": looks[0]} if looks else {"layers": layers} if layers else {}


def _source_file(path: Path) -> SourceFile:
    """How a record names a file. Raises FilmNotFoundError."""
    try:
        return SourceFile.of(path)
    except FileNotFoundError:
        raise FilmNotFoundError(f"no file {path}: check the name and the folder") from None
    except OSError as error:
        raise FilmError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error


def _resumed(kind: FilmKind, folder: Path) -> FilmRequest:
    """The request to continue the unfinished film in a folder. Raises RecordError and SettingsError."""
    record = read_film_record(unfinished_record(folder))
    if record.kind != kind:
        raise SettingsError(f"{folder} holds an unfinished {record.kind}: onnxdream {record.kind} {resuming(folder)}")
    if film_of(folder).suffix != Path(record.output).suffix:
        raise SettingsError(
            f"{folder}: rename the folder back to {Path(record.output).name}.parts, or to another name with that ending"
        )
    require_encoders(film_format(film_of(folder)))
    mask, guide = (find_file(file, folder) if file else None for file in (record.mask, record.guide))
    job = Job(bundle_of(record.bundle), record.settings, overwrite=True, mask=mask, guide=guide, extras=record.extras)
    film = FilmJob(find_file(record.source, folder), film_of(folder), job, record)
    frames = Tally(folder, record).frames if record.shots else record.frames
    return FilmRequest(film, [*introduction(job), f"resuming after {frames} frames"])
