"""What a request of the page chooses: the bundle and the settings, and the command line that chooses the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...models.errors import OnnxdreamError
from ...models.library import built_in_bundles, bundle_paths
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.choice import choose_bundle
from ...runtime.dream.request import choose
from ...runtime.errors import SettingsError
from ...runtime.settings.changes import Change, differing
from ...runtime.settings.config import ConfigFile, execution_of, options_of, overridden, settings_changes
from ...runtime.settings.options import OPTIONS
from ...runtime.settings.presets import PRESETS, find_preset
from ...runtime.settings.settings import Settings, descriptions
from ..errors import StudioError
from .job import StudioJob, page_settings

# Settings that mean nothing here: the studio dreams pictures.
REFUSED = {"noise": "the studio dreams pictures: leave out noise"}
_KINDS = {name: one.kind for name, one in descriptions(Settings).items()}
_WHOLE_NAMES = {"layers": "layer_weights", "layer": "layer_weights", "channel": "channels", "class": "classes"}
_MAX_TEXT = 10_000  # characters of a request's settings


@dataclass(frozen=True)
class Chosen:
    """A look or None, the bundle, and all settings; `notice` is a line for the user, or None."""

    look: str | None
    bundle: Bundle
    settings: Settings
    notice: str | None = None

    @property
    def model(self) -> str:
        """The bundle as `Bundle.load` and --model take it."""
        return model_name(self.bundle)


class Chooser:
    """Makes settings of what the page sends. `machine` are the options of the computation given to the studio."""

    def __init__(self, machine: Mapping[str, Any]) -> None:
        self.machine = dict(machine)
        self.execution = execution_of(machine)

    def choose(self, look: object, bundle: object, given: object, has_guide: bool = False) -> Chosen:
        """Returns what a request chooses. Raises StudioError, which names the field that is wrong."""
        changes = checked_settings(given)
        try:
            chosen = self.base(look, bundle)
            before = page_settings(chosen.settings)
            different = {name: value for name, value in changes.items() if before.get(name, ...) != value}
            if not (different or has_guide):
                return chosen
            guide = {"guide": True} if has_guide else {}
            found = choose({**self._options(chosen.look), **different, **guide}, chosen.bundle)
        except OnnxdreamError as error:
            raise refusal(error, changes) from None
        return replace(chosen, settings=found.settings, notice=found.notice)

    def base(self, look: object, bundle: object) -> Chosen:
        """Returns a look, or the paper's ascent for None, on a bundle, or that of the look for None.

        Raises StudioError, DreamError and BundleError.
        """
        name = _text_or_none(look, "look")
        if name is not None and name not in PRESETS:
            raise StudioError(422, f"there is no look {name[:40]!r}", "look")
        loaded = self._bundle(name, _text_or_none(bundle, "bundle"))
        found = choose(self._options(name), loaded)
        return Chosen(name, loaded, found.settings, found.notice)

    def _bundle(self, look: str | None, name: str | None) -> Bundle:
        return usual_bundle(look) if name is None else loaded_bundle(name)

    def _options(self, look: str | None) -> dict[str, Any]:
        return {**self.machine, **({"preset": look} if look else {})}


def usual_bundle(look: str | None) -> Bundle:
    """Returns the bundle that the command line takes for a look. Raises SettingsError and BundleError."""
    return choose_bundle(None, None, find_preset(look) if look else None, load=loaded)


def loaded_bundle(name: str) -> Bundle:
    """Returns the bundle of exactly that name, never of a path, which must not come from the page.

    Raises StudioError and BundleError.
    """
    for path in (*built_in_bundles(), *bundle_paths()):
        if path.stem == name:
            return loaded(path)
    raise StudioError(422, f"there is no bundle {name[:80]!r}", "bundle")


def loaded(path: Path) -> Bundle:
    """Returns the bundle of a path, which stays in memory. Raises BundleError and OSError."""
    return _loaded(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=6)
def _loaded(path: Path, _changed: int) -> Bundle:
    return Bundle.load(path)


def model_name(bundle: Bundle) -> str:
    """Returns the name of a bundle of the library, as the page and --model take it."""
    return bundle.name.removesuffix(".onnx")


def checked_settings(given: object) -> dict[str, Any]:
    """Returns settings of the page as a config file holds them, each of which is valid by itself.

    Raises StudioError, which names the setting.
    """
    if not isinstance(given, Mapping):
        raise StudioError(422, "settings are an object of names and values", "settings")
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name in REFUSED and value is not None:
            raise StudioError(422, REFUSED[name], name)
        if len(str(value)) > _MAX_TEXT:
            raise StudioError(422, f"the value of {str(name)[:40]} is too long", str(name)[:40])
        try:
            changes[name] = _checked(name, value)
        except (SettingsError, OverflowError) as error:
            raise StudioError(422, str(error), str(name)[:40]) from None
    if changes.get("layers") is None:
        changes.pop("layers", None)
    elif "layer_weights" in changes:
        del changes["layer_weights"]
    return changes


def _checked(name: str, value: Any) -> Any:
    if name == "layers":
        return value
    if name not in _KINDS:
        raise SettingsError(f"unknown setting {str(name)[:40]!r}")
    kind, words = _KINDS[name], name.replace("_", " ")
    return kind.write(kind.checked(words, kind.read(words, value)))


def changed(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """Returns settings with some that the page gives, which replace those that choose what to dream in another way.

    Raises SettingsError.
    """
    options = overridden(page_settings(settings), given)
    return Settings(**settings_changes(options), execution=settings.execution)


def plan_pending(job: StudioJob) -> None:
    """Plans what was asked of a job whose worker has gone, so that another one does it where the job had come to."""
    pending, job.pending = job.pending, {}
    with suppress(OnnxdreamError):  # settings of another version
        wanted = changed(job.settings, pending)
        if differing(job.settings, wanted):
            job.add_change(Change.between(job.step, job.settings, wanted))
            job.settings = wanted


def refusal(error: OnnxdreamError, given: Mapping[str, Any] | None = None) -> StudioError:
    """The answer to settings that contradict each other or the bundle.

    It names the setting that the line begins with, or the only one that was given.
    """
    if isinstance(error, StudioError):
        return error
    line = str(error)
    names = sorted((*_KINDS, *_WHOLE_NAMES), key=len, reverse=True)
    found = next((name for name in names if line.startswith(f"{name.replace('_', ' ')} ")), None)
    found = _WHOLE_NAMES.get(found or "", found)
    names = [_WHOLE_NAMES.get(name, name) for name in given or ()]
    return StudioError(422, line, names[0] if len(names) == 1 else found)


def command_line(
    chosen: Chosen, machine: Mapping[str, Any], picture: Path, files: Mapping[str, Path], config: Path
) -> str:
    """Returns the command that makes the same dream.

    `files` are the mask and the guide; `config` is the path of the file with the settings, which is named where options
    cannot say the same.
    """
    words = ["onnxdream", "dream", str(picture)]
    options = _differences(chosen, machine, files)
    if options is None:
        options = {"config": config}
    else:
        options = {**({"preset": chosen.look} if chosen.look else {}), **_model_option(chosen), **options, **machine}
    for name, value in {**options, **files}.items():
        words += _option_words(name, value)
    return shlex.join(words)


def command_on(provider: str, command: str) -> str:
    """Returns the same command on that provider, as on the one GPU of several that has dreamed it last."""
    words = shlex.split(command)
    if "--provider" in words:
        at = words.index("--provider")
        del words[at : at + 2]
    return shlex.join([*words, "--provider", provider])


def repeat_command(record: Path) -> str:
    """Returns the command that makes the dream of a record again, with what was changed on the way."""
    return shlex.join(["onnxdream", "dream", "--repeat", str(record)])


def _model_option(chosen: Chosen) -> dict[str, str]:
    usual = usual_bundle(chosen.look) if chosen.look else None
    return {} if usual and usual.sha256 == chosen.bundle.sha256 else {"model": chosen.model}


def _differences(chosen: Chosen, machine: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any] | None:
    """The options that make the settings of their look; None where there are none that do."""
    look = {"preset": chosen.look} if chosen.look else {}
    guide = {"guide": files["guide"]} if "guide" in files else {}
    base = choose({**machine, **look, **guide}, chosen.bundle).settings
    before, after = page_settings(base), page_settings(chosen.settings)
    options = {name: value for name, value in after.items() if before[name] != value and value is not None}
    if any(name not in _FLAGS for name in options) or any("," in layer for layer in options.get("layer_weights", ())):
        return None
    try:
        same = choose({**machine, **look, **guide, **options}, chosen.bundle).settings == chosen.settings
    except OnnxdreamError:
        return None
    return options if same else None


_FLAGS = {option.name: option for option in OPTIONS}


def _option_words(name: str, value: Any) -> list[str]:
    """The words that give a setting on the command line, from a value as a config file holds it."""
    flags = _FLAGS[name].flags
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{name.replace('_', '-')}"] if value or flags else []
    if name == "layer_weights":
        return [flag, ",".join(f"{layer}={weight!r}" for layer, weight in value.items())]
    if isinstance(value, list) and _FLAGS[name].type != list[str]:
        separator = ":" if name in ("step_size", "blur") else "," if name == "snapshots" else "x"
        return [flag, separator.join(map(str, value)) or "none"]
    if isinstance(value, list):
        return [word for item in value for word in (flag, str(item))]
    return [flag, str(value)]


def settings_file(chosen_settings: Settings, model: str, path: Path) -> str:
    """Returns the text of a config file with all settings."""
    return ConfigFile(path, {"model": model, **options_of(chosen_settings)}).text


def _text_or_none(value: object, field: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise StudioError(422, f"{field} is a name", field)
