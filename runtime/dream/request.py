"""Turns the options of the command line or of a config file into a job and its pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from ...models.contract import LOGITS
from ...models.files import expand_user
from ...models.library import bundle_paths
from ..ascent.objectives import require_objective
from ..bundle.bundle import Bundle
from ..bundle.channel_weights import parse_channels
from ..bundle.choice import bundle_of, choose_bundle, describe
from ..bundle.directions import direction_paths
from ..errors import SettingsError
from ..image.source import Source
from ..settings.config import ConfigFile, execution_of, options_of, overridden, read_config, settings_changes
from ..settings.effects import doubtful_options
from ..settings.options import OPTIONS
from ..settings.presets import DEFAULT_LOOK, Preset, find_preset, settings_for_bundle
from ..settings.settings import Settings
from .checkpoint import Checkpoint, read_checkpoint
from .repeat import find_source, job_to_resume, load_record, recorded_changes, recorded_files, recorded_options
from .results import is_picture_path
from .writer import Job

_LOOK_HINT = f"for a look made for photographs, in seconds, add --preset {DEFAULT_LOOK}; `presets` lists all presets"
_DEFAULTS = options_of(Settings())
_MAX_WORKERS = 1024
_MAX_FPS = 120  # frames of a film per second
_PIPE = Path("-")  # standard input or output
_PIPED_FORMATS = ("png", "jpg", "webp")


@dataclass(frozen=True)
class DreamRequest:
    """A job, the source that its options name, the checkpoint to resume from, and lines to show the user first.

    Where `sources` is empty, the job is for the pictures of the command line and, if `recursive`, for those in the
    folders inside its folders; `workers` is the number of processes for them, or auto, or None for this process.
    `cluster` is the address of the Ray cluster to dream on, if any, and `ship` whether pictures travel there. If there
    is a folder to `watch`, the pictures are those that come into it. `hint` is a line to show at the end, on what to
    try next. `config` is a config file to write first.
    """

    job: Job
    sources: tuple[Source, ...] = ()
    checkpoint: Checkpoint | None = None
    lines: list[str] = field(default_factory=list)
    hint: str | None = None
    config: ConfigFile | None = None
    recursive: bool = False
    workers: int | Literal["auto"] | None = None
    watch: Path | None = None
    cluster: str | None = None
    ship: bool = False


def parse_request(
    options: Mapping[str, Any], with_images: bool, beneath: Mapping[str, Any] = MappingProxyType({})
) -> DreamRequest:
    """The request that options make.

    `options` holds those that the user gave, under their Python names; `with_images` is whether pictures were named.
    The options `beneath` count where the user gave none, and no line tells of them. Raises DreamError and BundleError.
    """
    given = {**options, **_paths(options)}
    if "resume" in given:
        return _resume_request(given.pop("resume"), given, with_images)
    if "watch" in given:
        _require_watchable(given["watch"], with_images)
        with_images = True
    named = set(given)
    if "config" in given:
        config = read_config(given.pop("config"))
        # A file may list all settings, so that its defaults say nothing about what the user wants.
        named |= {name for name, value in config.items() if value != _DEFAULTS.get(name)}
        given = overridden(config, given)
    if "repeat" in given:
        return _repeat_request(given.pop("repeat"), given, named, with_images)
    if "noise" not in given and not (with_images or "save_config" in given):
        raise SettingsError("no picture given: name one, as in onnxdream dream bears.jpg")
    return _request({**beneath, **given}, named, with_images)


def _paths(options: Mapping[str, Any]) -> dict[str, Path]:
    """The options that are paths, with `~` expanded. Raises SettingsError for `-` in place of a file."""
    paths = {one.name: expand_user(options[one.name]) for one in OPTIONS if one.type is Path and one.name in options}
    for name, path in paths.items():
        if path == _PIPE and name != "output":
            raise SettingsError(f"--{name.replace('_', '-')} cannot be - (standard input or output): name a file")
    return paths


def _request(
    options: Mapping[str, Any],
    named: Collection[str],
    with_images: bool,
    source: Source | None = None,
    bundle: Bundle | None = None,
) -> DreamRequest:
    """The request of a new or a repeated dream.

    `named` are the options that the user knows of. `source` is the picture of a record, and `bundle` its bundle, which
    is used if given.
    """
    if "noise" in options and with_images:
        raise SettingsError("noise is dreamed instead of a picture: give either --noise or pictures")
    choice = choose(options, bundle)
    bundle, settings, preset, notice = choice.bundle, choice.settings, choice.preset, choice.notice
    if settings.noise:
        source = Source.of_noise(settings.noise)
    job = _job(bundle, settings, options)
    config = _config_file(job, options) if "save_config" in options else None
    watch = options.get("watch")
    if watch and (job.output is None or job.film or job.piped_as or is_picture_path(job.output)):
        raise SettingsError("--watch needs a folder for the results: give it as --output, without --film")
    lines = introduction(job) if source or with_images else []
    lines += [f"preset: {preset.name}. {preset.sentence}"] if preset else []
    lines += [notice] if notice else []
    lines += doubtful_options(settings, options, named)
    hint = _hint(options, preset, settings)
    workers, cluster, ship = _workers(options.get("workers")), options.get("cluster"), bool(options.get("ship"))
    if ship and cluster is None:
        raise SettingsError("--ship sends pictures to a cluster: name it, as in --cluster 10.0.0.1:6379")
    return DreamRequest(
        job,
        sources=(source,) if source else (),
        lines=lines,
        hint=hint,
        config=config,
        recursive=bool(options.get("recursive")),
        workers=workers,
        watch=watch,
        cluster=cluster,
        ship=ship,
    )


@dataclass(frozen=True)
class Choice:
    """The bundle, the settings for it and the preset that options choose; `notice` is a line for the user, or None."""

    bundle: Bundle
    settings: Settings
    preset: Preset | None
    notice: str | None


def choose(options: Mapping[str, Any], bundle: Bundle | None = None) -> Choice:
    """Returns what options choose to dream with; without a `bundle`, that of the option `model` or of the preset.

    Raises DreamError and BundleError where they contradict each other or the bundle.
    """
    changes = settings_changes(options)
    if {"guide", "direction"} & options.keys() or options.get("guide_by", "surplus") != "surplus":
        changes.setdefault("channels", ())  # they replace the channels of a preset
    execution = execution_of(options)
    preset = find_preset(options["preset"]) if "preset" in options else None
    precision = execution.precision if "precision" in options else None
    if bundle is None:
        bundle = choose_bundle(options.get("model"), precision, preset, _named_layers(changes))
    if precision is None:
        execution = replace(execution, precision=bundle.precision)
    settings, notice = settings_for_bundle(preset, bundle.metadata, {**changes, "execution": execution})
    require_objective(bundle.metadata, settings, "guide" in options, "direction" in options)
    return Choice(bundle, settings, preset, notice)


def _require_watchable(folder: Path, with_images: bool) -> None:
    if with_images:
        raise SettingsError("--watch dreams the pictures of its folder: name no others")
    if not folder.is_dir():
        raise SettingsError(f"--watch {folder} is not a folder{': name one' if folder.exists() else ' that exists'}")


def _workers(text: str | None) -> int | Literal["auto"] | None:
    if text is None or text == "auto":
        return cast(Literal["auto"] | None, text)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MAX_WORKERS):
        raise SettingsError(f"workers must be a whole number from 1 to {_MAX_WORKERS}, or auto, not {text!r}")
    return int(text)


def _hint(options: Mapping[str, Any], preset: Preset | None, settings: Settings) -> str | None:
    is_plain = preset is None and settings.noise is None and "model" not in options
    return _LOOK_HINT if is_plain else None


def _named_layers(changes: Mapping[str, Any]) -> set[str]:
    """The layers that changed settings name. Raises SettingsError."""
    named = Settings(**{name: changes[name] for name in ("layer_weights", "channels", "classes") if name in changes})
    return {*(named.layer_weights or ()), *parse_channels(named.channels), *([LOGITS] if named.classes else ())}


def _repeat_request(path: Path, given: Mapping[str, Any], named: Collection[str], with_images: bool) -> DreamRequest:
    record = load_record(path)
    options = overridden(recorded_options(record, given, with_images), given)
    options |= recorded_files(options, path)
    bundle = None if {"model", "preset"} & given.keys() else bundle_of(record.bundle)
    source = None if with_images or "noise" in options else find_source(record.settings, record.picture, path)
    request = _request(options, named, with_images, source, bundle)
    changes = recorded_changes(record, given)
    lines = [*request.lines]
    if changes:
        lines.append(f"settings change on the way, after steps {', '.join(str(change.step) for change in changes)}")
    if changes and request.config:
        lines.append("the config file holds the settings that the dream begins with, not how they change")
    return replace(request, job=replace(request.job, changes=changes), lines=lines, hint=None)


def _resume_request(path: Path, given: Mapping[str, Any], with_images: bool) -> DreamRequest:
    if given or with_images:
        raise SettingsError("--resume takes everything from the checkpoint: give nothing else")
    checkpoint = read_checkpoint(path)
    job = job_to_resume(checkpoint, path)
    source = find_source(checkpoint.settings, checkpoint.picture, path)
    lines = [*introduction(job), f"resuming after {checkpoint.state.number} steps"]
    if job.film:
        lines.append("the film starts over at this step")
    return DreamRequest(job, (source,), checkpoint, lines)


def _job(bundle: Bundle, settings: Settings, given: Mapping[str, Any]) -> Job:
    output, film, mask, guide = (
        Path(given[name]) if name in given else None for name in ("output", "film", "mask", "guide")
    )
    every, fps, extras = given.get("every"), given.get("fps"), given.get("extras", True)
    if every is not None and (type(every) is not int or every < 1):
        raise SettingsError(f"every must be a whole number from 1, not {every!r}")
    if fps is not None and (type(fps) is not int or not 1 <= fps <= _MAX_FPS):
        raise SettingsError(f"fps must be a whole number from 1 to {_MAX_FPS}, not {fps!r}")
    if type(extras) is not bool:
        raise SettingsError(f"extras must be true or false, not {extras!r}")
    piped_as = _piped_as(output, given.get("format"))
    if piped_as:
        output, extras = None, False
    direction = given.get("direction", ())
    return Job(
        bundle,
        settings,
        output,
        overwrite=bool(given.get("overwrite")),
        film=film,
        film_every=every,
        film_fps=fps,
        mask=mask,
        guide=guide,
        direction=direction_paths(direction) if isinstance(direction, str) else direction,
        extras=extras,
        piped_as=piped_as,
    )


def _piped_as(output: Path | None, chosen: str | None) -> str | None:
    """The suffix of a picture for standard output; None for one that goes to a file. Raises SettingsError."""
    if output != _PIPE:
        if chosen:
            raise SettingsError("--format is for --output -: a file has the format of its name, as in --output a.jpg")
        return None
    if chosen not in (None, *_PIPED_FORMATS):
        raise SettingsError(f"format must be one of {', '.join(_PIPED_FORMATS)}, not {chosen!r}")
    return f".{chosen or _PIPED_FORMATS[0]}"


def _config_file(job: Job, options: Mapping[str, Any]) -> ConfigFile:
    """The config file with all options of a job. A bundle of the library is named, so that the file may be shared."""
    path = job.bundle.path
    is_named = job.bundle.is_built_in or path in bundle_paths()
    kept: dict[str, Any] = {"model": options.get("model", job.bundle.name if is_named else str(path))}
    files = ("mask", "guide", "film", *(() if job.piped_as else ("output",)))
    kept |= {name: str(options[name]) for name in files if name in options}
    kept |= {"direction": ",".join(map(str, job.direction))} if job.direction else {}
    speed = {"every": job.film_every, "fps": job.film_fps} if job.film else {}
    kept |= {name: value for name, value in speed.items() if value is not None}
    kept |= {} if job.extras else {"extras": False}
    return ConfigFile(Path(options["save_config"]), {**kept, **options_of(job.settings)}, job.overwrite)


def introduction(job: Job) -> list[str]:
    """Returns lines for the user on the bundle and the provider of a job."""
    lines = [*describe(job.bundle), job.provider_line]
    precision = job.bundle.metadata.precision
    if job.choice.machine.provider == "cpu" and precision != "fp32":
        lines.append(f"on the provider cpu, bundles of {precision} are slower than bundles of fp32")
    return lines
