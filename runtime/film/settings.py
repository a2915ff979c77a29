"""The settings of films, beside those of a dream: how it carries over, how the camera moves, and where it travels."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings.kinds import Flag, FloatRange, IntRange, Place, Text
from ..settings.settings import check, setting

# What several kinds of films have: the default, the kind and the help of each setting.
_PERSIST = (
    0.8,
    FloatRange(0, 1),
    "Share of the dream that carries over to the next frame, 0 to 1; a smaller one lets the dream change faster.",
)
_SECONDS = (10.0, FloatRange(0.01, 86_400), "Length of the film in seconds.")
_FPS = (25.0, FloatRange(0.1, 240), "Number of frames in a second.")
_STEPS_NEXT = (
    4,
    IntRange(1, 10_000),
    "Number of steps in the largest octave of each frame after the first, which gets the whole dream; smaller octaves "
    "get half as many.",
)


@dataclass(frozen=True)
class Coherence:
    """How a dream carries over from frame to frame. Raises SettingsError."""

    persist: float = setting(*_PERSIST)
    steps_next: int = setting(
        8, IntRange(1, 10_000), "Number of steps in each frame after the first of a shot, which gets the whole dream."
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Camera:
    """How the camera moves through a dream that never ends. Raises SettingsError."""

    zoom: float = setting(
        1.04,
        FloatRange(0.5, 2),
        "Factor by which each frame enlarges the one before, 0.5 to 2; below 1, the camera moves out.",
    )
    rotate: float = setting(
        0.0,
        FloatRange(-180, 180),
        "Degrees by which each frame turns the one before, -180 to 180; anticlockwise if positive, as in 1.5.",
    )
    centre: tuple[float, float] = setting(
        (0.5, 0.5), Place(), "Place that the camera moves to and turns about: x and y as parts of the picture."
    )
    seconds: float = setting(*_SECONDS)
    fps: float = setting(*_FPS)
    loop: bool = setting(
        False,
        Flag(),
        "Make the film's end meet its beginning, by fading one into the other over a second at most.",
        None,
        "--loop",
    )
    steps_next: int = setting(*_STEPS_NEXT)

    def __post_init__(self) -> None:
        check(self)

    @property
    def count(self) -> int:
        """The number of frames."""
        return frame_count(self.seconds, self.fps)


@dataclass(frozen=True)
class Travel:
    """Where a dream travels between channels, layers and looks, and how fast. Raises SettingsError."""

    through: str = setting(
        "",
        Text(),
        "Stations to travel through, each a channel, a layer or a look of one bundle, as in mixed3:12,mixed4 or "
        "creatures,fur,neon.",
        default_text="none",
    )
    hold: float = setting(1.0, FloatRange(0, 86_400), "Seconds that the dream stays at each station.")
    seconds: float = setting(*_SECONDS)
    fps: float = setting(*_FPS)
    persist: float = setting(*_PERSIST)
    steps_next: int = setting(*_STEPS_NEXT)

    def __post_init__(self) -> None:
        check(self)

    @property
    def count(self) -> int:
        """The number of frames."""
        return frame_count(self.seconds, self.fps)


def frame_count(seconds: float, fps: float) -> int:
    """The number of frames of a film: one at least."""
    return max(1, round(seconds * fps))
