"""Turns the options of the command line or of a config file into a job and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..bundle.bundle import Bundle
from ..bundle.channel_weights import chosen_channels, parse_channels
from ..bundle.choice import bundle_of, choose_bundle, describe
from ..errors import SettingsError
from ..image.source import Source
from ..settings.config import execution_of, read_config, settings_changes
from ..settings.presets import DEFAULT_LOOK, find_preset, settings_for_bundle
from ..settings.settings import Settings
from .checkpoint import Checkpoint, read_checkpoint
from .repeat import find_mask_and_guide, find_source, job_to_resume, load_record
from .writer import Job

_LOOK_HINT = f"for a look made for photographs, in seconds, add --preset {DEFAULT_LOOK}; `presets` lists all presets"
# The options that --repeat may be combined with; everything else comes from the record.
_ALLOWED_WITH_REPEAT = {"output", "overwrite", "film", "every"}


@dataclass(frozen=True)
class DreamRequest:
    """A job, the source that its options name, the checkpoint to resume from, and lines to show the user first.

    Where `sources` is empty, the job is for the pictures of the command line. `hint` is a line to show at the end, on
    what to try next.
    """

    job: Job
    sources: tuple[Source, ...] = ()
    checkpoint: Checkpoint | None = None
    lines: list[str] = field(default_factory=list)
    hint: str | None = None


def parse_request(options: Mapping[str, Any], with_images: bool) -> DreamRequest:
    """The request that options make.

    `options` holds those that the user gave, under their Python names; `with_images` is whether pictures were named.
    Raises DreamError and BundleError.
    """
    given = dict(options)
    if "resume" in given:
        return _resume_request(Path(given.pop("resume")), given, with_images)
    if "repeat" in given:
        return _repeat_request(Path(given.pop("repeat")), given, with_images)
    if "config" in given:
        given = {**read_config(Path(given.pop("config"))), **given}
    return _new_request(given, with_images)


def _new_request(given: Mapping[str, Any], with_images: bool) -> DreamRequest:
    changes = settings_changes(given)
    if "guide" in given:
        changes.setdefault("channels", ())  # a guide replaces the channels of a preset
    if "noise" in changes and with_images:
        raise SettingsError("noise is dreamed instead of a picture: give either --noise or pictures")
    if "noise" not in changes and not with_images:
        raise SettingsError("no picture given: name one, as in onnxdream dream bears.jpg")
    execution = execution_of(given)
    preset = find_preset(given["preset"]) if "preset" in given else None
    precision = execution.precision if "precision" in given else None
    bundle = choose_bundle(given.get("model"), precision, preset, _named_layers(changes))
    if "precision" not in given:
        execution = replace(execution, precision=bundle.precision)
    settings, notice = settings_for_bundle(preset, bundle.metadata, {**changes, "execution": execution})
    _require_known_layers(settings, bundle)
    sources = (Source.of_noise(settings.noise),) if settings.noise else ()
    job = _job(bundle, settings, given)
    lines = _introduction(job)
    lines += [f"preset: {preset.name}. {preset.sentence}"] if preset else []
    lines += [notice] if notice else []
    hint = None if preset or settings.noise or "model" in given else _LOOK_HINT
    return DreamRequest(job, sources, lines=lines, hint=hint)


def _named_layers(changes: Mapping[str, Any]) -> set[str]:
    """The layers that changed settings name. Raises SettingsError."""
    named = Settings(**{name: changes[name] for name in ("layer_weights", "channels") if name in changes})
    return {*(named.layer_weights or ()), *parse_channels(named.channels)}


def _require_known_layers(settings: Settings, bundle: Bundle) -> None:
    """Raises SettingsError for layers and channels that the bundle does not have."""
    channels = parse_channels(settings.channels)
    settings.weights_of(bundle.metadata.layer_names)
    chosen_channels(bundle.metadata.layers, channels)


def _repeat_request(record_path: Path, given: Mapping[str, Any], with_images: bool) -> DreamRequest:
    if set(given) - _ALLOWED_WITH_REPEAT:
        raise SettingsError(
            "--repeat takes every setting from the record: give only pictures, --output, --overwrite and --film"
        )
    record = load_record(record_path)
    settings = record.settings_to_repeat()
    if with_images:
        settings = replace(settings, noise=None)
    job = _job(bundle_of(record.bundle), settings, {**given, **find_mask_and_guide(record, record_path)})
    sources = () if with_images else (find_source(record.settings, record.picture, record_path),)
    return DreamRequest(job, sources, lines=_introduction(job))


def _resume_request(path: Path, given: Mapping[str, Any], with_images: bool) -> DreamRequest:
    if given or with_images:
        raise SettingsError("--resume takes everything from the checkpoint: give nothing else")
    checkpoint = read_checkpoint(path)
    job = job_to_resume(checkpoint, path)
    source = find_source(checkpoint.settings, checkpoint.picture, path)
    lines = [*_introduction(job), f"resuming after {checkpoint.state.number} steps"]
    if job.film:
        lines.append("the film starts over at this step")
    return DreamRequest(job, (source,), checkpoint, lines)


def _job(bundle: Bundle, settings: Settings, given: Mapping[str, Any]) -> Job:
    output, film, mask, guide = (
        Path(given[name]) if name in given else None for name in ("output", "film", "mask", "guide")
    )
    every = given.get("every", 10)
    if type(every) is not int or every < 1:
        raise SettingsError(f"every must be a whole number from 1, not {every!r}")
    return Job(bundle, settings, output, bool(given.get("overwrite")), film, every, mask, guide)


def _introduction(job: Job) -> list[str]:
    """Lines for the user on the bundle and the provider of a job."""
    lines = [*describe(job.bundle), job.choice.notice or f"provider: {job.choice.machine.provider}"]
    precision = job.bundle.metadata.precision
    if job.choice.machine.provider == "cpu" and precision != "fp32":
        lines.append(f"on the provider cpu, bundles of {precision} are slower than bundles of fp32")
    return lines
