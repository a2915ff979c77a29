"""The settings of features: how their pictures are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..settings.kinds import Choice, Flag, FloatRange, IntRange, OrNone
from ..settings.settings import check, setting
from .drawing.views import ViewsName

ParameterName = Literal["maco", "fourier", "pixels"]
Sign = Literal["+", "-"]


@dataclass(frozen=True)
class FeatureSettings:
    """How the pictures of features are drawn. Raises SettingsError."""

    size: int = setting(256, IntRange(16, 4096), "Side of the square pictures in pixels.")
    steps: int = setting(256, IntRange(1, 100_000), "Number of steps.")
    param: ParameterName = setting(
        "fourier",
        Choice(ParameterName),
        "What the steps change: fourier a spectrum in the colours of photographs, maco only the phases of such a "
        "spectrum, pixels the pixels.",
        default_text="maco for classes, else fourier",
    )
    views: ViewsName = setting(
        "affine",
        Choice(ViewsName),
        "What the network sees of a picture at a step: jitter all of it, shifted at random, affine also scaled and "
        "turned, crops four parts of it, none all of it as it is.",
        default_text="crops with maco, else affine",
    )
    step_size: float | None = setting(
        None,
        OrNone(FloatRange(1e-6, 1e3)),
        "Step size of the optimizer, which is Adam.",
        default_text="0.5 with maco, 0.02 with fourier, 0.05 with pixels",
    )
    diversity: int = setting(
        1,
        IntRange(1, 16),
        "Number of pictures of each channel, which are kept as different from each other as they can be.",
    )
    sign: Sign = setting("+", Choice(Sign), "Whether the channel is maximised (+) or minimised (-).")
    alpha: bool = setting(
        False,
        Flag(),
        "Make transparent what the channel did not ask for: parts whose gradients were small.",
        None,
        "--alpha",
    )
    seed: int = setting(0, IntRange(0, 2**32 - 1), "Random seed.")

    def __post_init__(self) -> None:
        check(self)
