"""Changes of settings while a run is on its way: which settings may change, when, and how a record names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..errors import SettingsError
from .kinds import plain
from .settings import Settings, descriptions, require_known

# When a change takes effect: at the next step, at the beginning of the next octave, or never once a run has begun.
Moment = Literal["step", "octave", "start"]

# What is maximised: where one of these changes, the objective is made anew.
OBJECTIVE_SETTINGS = ("layer_weights", "channels", "classes", "pick", "position", "guide_by", "until")
_MOMENTS: Mapping[Moment, tuple[str, ...]] = {
    "step": (
        *OBJECTIVE_SETTINGS,
        *("steps", "max_loss", "plateau"),
        *("step_size", "gradient_norm", "jitter", "blur", "laplacian", "tv", "l2", "stay", "optimizer", "momentum"),
        *("clip", "colours", "blend"),
    ),
    "octave": ("max_size", "octaves", "octaves_above", "octave_scale", "detail"),
    # The values of the image, its mask, its tiles and the kind of the result follow from these as a run begins.
    "start": (
        *("noise", "seed", "normalization", "feather", "interpolation", "octave_rounding"),
        *("tiling", "tile_overlap", "global_tiles", "execution"),
        *("snapshots", "full_size", "octave_return"),
    ),
}
_MOMENT_OF = {name: moment for moment, names in _MOMENTS.items() for name in names}


def changes_at(name: str) -> Moment:
    """Returns when a setting may change during a run: at the next "step", at the next "octave", or only at the "start".

    Raises SettingsError for an unknown setting.
    """
    require_known([name])
    return _MOMENT_OF[name]


@dataclass(frozen=True)
class Change:
    """Other settings of a run from its update `step` + 1 on, or from the octave that begins after it.

    `step` is the number of updates before the change, `settings` are only those that differ, by name. Raises
    SettingsError for a setting that is unknown or that cannot change.
    """

    step: int
    settings: Mapping[str, Any] = field(hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", plain(self.step))
        if type(self.step) is not int or self.step < 0:
            raise SettingsError(f"a change is made after a number of steps from 0, not {self.step!r}")
        if not isinstance(self.settings, Mapping) or not self.settings:
            raise SettingsError(f"a change names the settings that differ, not {self.settings!r}")
        require_changeable(self.settings)
        object.__setattr__(self, "settings", {name: _checked(name, value) for name, value in self.settings.items()})

    @classmethod
    def between(cls, step: int, before: Settings, after: Settings) -> Change:
        """Returns the change from one to other settings, at least one of which differs. Raises SettingsError."""
        return cls(step, {name: getattr(after, name) for name in differing(before, after)})

    def applied_to(self, settings: Settings) -> Settings:
        """Returns the settings with those that differ. Raises SettingsError."""
        return replace(settings, **self.settings)


def _checked(name: str, value: Any) -> Any:
    return descriptions(Settings)[name].kind.checked(name.replace("_", " "), plain(value))


def differing(before: Settings, after: Settings) -> list[str]:
    """Returns the names of the settings that differ."""
    return [name for name in _MOMENT_OF if getattr(before, name) != getattr(after, name)]


def require_changeable(names: Iterable[str]) -> None:
    """Raises SettingsError for a setting that is unknown or that cannot change once a run has begun."""
    for name in names:
        if changes_at(name) == "start":
            raise SettingsError(f"{name.replace('_', ' ')} cannot change on the way: start another dream for it")


def require_changes(settings: Settings, changes: Sequence[Change]) -> None:
    """Raises SettingsError unless the changes of a run are in order, and make settings that may be together."""
    if not isinstance(changes, Sequence) or not all(isinstance(change, Change) for change in changes):
        raise SettingsError(f"changes are a list of Change, as in [Change(10, {{'step_size': 0.01}})], not {changes!r}")
    latest = -1
    for change in changes:
        if change.step <= latest:
            raise SettingsError(
                f"the change at step {change.step} comes after that at step {latest}: sort them by step"
            )
        latest, settings = change.step, change.applied_to(settings)
