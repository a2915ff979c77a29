"""Draws features at the terminal: with progress, until a signal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...models.arrays import Floats, Size
from ...models.contract import LOGITS
from ...models.files import expand_user
from ...models.interrupts import interruptible
from ..bundle.bundle import Bundle
from ..bundle.choice import choose_bundle, describe
from ..bundle.sessions import Sessions
from ..dream.writer import Log
from ..errors import SettingsError
from ..image.files import read_picture
from ..image.source import file_hash
from ..provider.selection import ProviderChoice, choose_provider
from ..settings.config import execution_of
from ..settings.options import OPTIONS, Option, described_options
from ..settings.settings import Execution, descriptions
from .atlas import Atlas
from .drawing.draw import DrawingStep, batches, draw, require_memory
from .drawing.spectrum import magnitudes_of
from .feature import Feature, parse_features
from .progress import FeatureProgress
from .settings import FeatureSettings

_OWN = (
    Option(
        "spectrum",
        Path,
        "Take MACO's magnitudes from this picture. Default: those of photographs in general.",
    ),
    Option("output", Path, "Folder to write to. Default: <bundle>-features.", "What to write"),
    Option("overwrite", bool, "Draw again what is there already.", "What to write", ("--overwrite",)),
)
_SHARED = {"model", "precision", "quiet", "progress", *descriptions(Execution)}


@dataclass(frozen=True)
class FeatureRequest:
    """Features to draw, and where; `magnitudes` are those of the picture whose SHA-256 is `spectrum`."""

    bundle: Bundle
    features: list[Feature]
    settings: FeatureSettings
    choice: ProviderChoice
    output: Path
    overwrite: bool = False
    spectrum: str | None = None
    magnitudes: Floats | None = field(default=None, repr=False)


def feature_options() -> tuple[Option, ...]:
    """Returns the options of the command: its own, and those of `dream` that it takes."""
    return (*described_options(FeatureSettings), *_OWN, *(option for option in OPTIONS if option.name in _SHARED))


def parse_feature_request(texts: list[str], options: Mapping[str, Any]) -> FeatureRequest:
    """Returns the request that a command's words make. Raises DreamError and BundleError."""
    if not texts:
        raise SettingsError("name a layer, channels or classes, as in onnxdream features mixed4:40,41")
    execution = execution_of(options)
    named = {text.partition(":")[0] for text in texts}
    bundle = choose_bundle(options.get("model"), execution.precision if "precision" in options else None, layers=named)
    features = parse_features(bundle.metadata, texts)
    if "precision" not in options:
        execution = replace(execution, precision=bundle.precision)
    settings = _settings(options, features)
    spectrum, magnitudes = None, None
    if "spectrum" in options:
        if settings.param != "maco":
            raise SettingsError("--spectrum is for --param maco: the others have a spectrum of their own")
        path = expand_user(options["spectrum"])
        magnitudes = magnitudes_of(read_picture(path).pixels, Size(settings.size, settings.size))
        spectrum = file_hash(path)
    output = expand_user(options.get("output", Path(f"{Path(bundle.name).stem}-features")))
    choice = choose_provider(execution)
    require_memory(bundle.metadata, settings, choice.machine, execution.memory)
    return FeatureRequest(
        bundle, features, settings, choice, output, bool(options.get("overwrite")), spectrum, magnitudes
    )


def _settings(options: Mapping[str, Any], features: list[Feature]) -> FeatureSettings:
    """The settings among the options; classes are drawn with MACO and crops unless these say otherwise."""
    kinds = {name: description.kind for name, description in descriptions(FeatureSettings).items()}
    given = {name: kind.read(name.replace("_", " "), options[name]) for name, kind in kinds.items() if name in options}
    if all(feature.layer == LOGITS for feature in features):
        given.setdefault("param", "maco")
    if given.get("param") == "maco":
        given.setdefault("views", "crops")
    return FeatureSettings(**given)


def draw_at_terminal(request: FeatureRequest, log: Log, is_quiet: bool = False) -> int | None:
    """Draws features into a folder, with an atlas of them; returns the number of the signal that ended it, or None.

    Ctrl-C, SIGTERM or SIGHUP ends it after the current step; the same call then continues. Raises DreamError and
    BundleError.
    """
    for line in describe(request.bundle):
        log(line)
    log(request.choice.notice or f"provider: {request.choice.machine.provider_text}")
    sessions, settings = Sessions(request.bundle), request.settings
    with (
        interruptible() as interrupted,
        Atlas(request.output, request.bundle, settings, request.spectrum, request.overwrite) as atlas,
        FeatureProgress(request.features, settings.steps, log, is_quiet) as progress,
    ):
        missing = atlas.missing(request.features)
        progress.start(len(request.features) - len(missing))
        for batch in batches(missing, settings, request.bundle.metadata.smallest_size):

            def on_step(step: DrawingStep, batch: list[Feature] = batch) -> bool:
                progress.show(batch, step)
                return bool(interrupted())

            drawn = draw(batch, settings, sessions, request.choice.machine, request.magnitudes, on_step)
            if interrupted():
                break
            atlas.add(drawn)
            progress.done(drawn)
        if not atlas.is_empty:
            progress.finish(atlas.finish())
    return interrupted()
