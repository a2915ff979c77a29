"""Dreams a slow walk between the channels, layers and looks of one bundle, on one picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ....models.arrays import Floats, Image
from ....models.contract import INPUT_RANGE
from ...ascent.objectives import objective_for
from ...ascent.step import OnStep
from ...bundle.bundle import Bundle
from ...bundle.objective import Objective
from ...bundle.sessions import Sessions
from ...dream.run import as_bundle, as_settings
from ...errors import DivergedError, SettingsError
from ...image.pixels import PictureLike
from ...image.processor import ImageProcessor
from ...provider.selection import ProviderChoice
from ...settings.colours import parse_colours
from ...settings.presets import DEFAULT_LOOK, find_preset
from ...settings.settings import Settings
from ..settings import Travel
from .coherence import DreamedFrame
from .exposure import Exposure
from .stations import Aim, Station, parse_stations
from .still import Still


@dataclass(frozen=True, eq=False)
class TravelState:
    """Everything that a journey needs in order to continue after a frame.

    `change` is the difference between the dream and the picture, float32 [3, height, width] of the largest octave, and
    `number` counts the frames so far. `exposure` is that of the first frame.
    """

    change: Image = field(repr=False)
    loss: float
    number: int
    exposure: Exposure


class TravelDream:
    """One journey of a picture's dream through the stations of a bundle.

    The first frame is the whole dream of the first station. Each later frame continues from a share of the one before,
    by a few steps towards the mix of stations that the journey has reached; the gradients of all stations count as if
    they were equally large. The arguments are those of `prepare`, without a mask and a guide; the settings `full_size`
    and `blend` have no effect, and what to maximise is up to the stations. Without settings, they are those of the
    first look among the stations, or else of the default look. `travel` states the stations and the pace; `state` is
    that of an earlier run, to continue it. Raises DreamError and BundleError.
    """

    def __init__(
        self,
        picture: PictureLike | None,
        bundle: Bundle | str | os.PathLike[str],
        settings: Settings | str | None,
        travel: Travel,
        *,
        choice: ProviderChoice | None = None,
        sessions: Sessions | None = None,
        state: TravelState | None = None,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        bundle = as_bundle(bundle, sessions)
        self.travel = travel
        self.stations = parse_stations(travel.through, bundle.metadata)
        self.state = state
        if len(self.stations) * travel.hold > travel.seconds * (1 + 1e-9):  # in floats, 3 * 1.1 is more than 3.3
            raise SettingsError(
                f"{len(self.stations)} stations of {travel.hold:g} seconds do not fit into {travel.seconds:g} seconds: "
                "give more seconds, or a shorter hold"
            )
        given = _settings_for(self.stations) if settings is None else as_settings(settings)
        self._colours = [_colours_at(station, given) for station in self.stations]
        self._still = Still(picture, bundle, _without_objective(given, self._colours), choice, sessions, log)
        self._objective: tuple[int, float, Objective] | None = None

    @property
    def settings(self) -> Settings:
        """The settings of each frame, except for what is maximised."""
        return self._still.settings

    @property
    def count(self) -> int:
        """The number of frames of the film."""
        return self.travel.count

    def frames(self, on_step: OnStep | None = None) -> Iterator[DreamedFrame]:
        """Yields the dreamed frames, uint8 or uint16 [height, width, 3].

        `on_step` is called at every step of a frame's ascent; if it returns True, the film ends before that frame.
        After each frame, `state` is what the film continues from. Raises DreamError.
        """
        while (self.state.number if self.state else 0) < self.count:
            state = self._first(on_step) if self.state is None else self._next(self.state, on_step)
            if state is None:
                return
            self.state = state
            pixels = self._still.processor.postprocess(self._base + state.change)
            yield DreamedFrame(pixels, state.loss, begins_shot=state.number == 1)

    def objective_at(self, number: int) -> Objective:
        """What frame `number`, from 0, maximises. Raises DreamError."""
        index, share = self._place_at(number)
        if self._objective is None or self._objective[:2] != (index, share):
            objective = self._aim_at(number).objective(self._still.bundle.metadata)
            self._objective = index, share, objective
        return self._objective[2]

    @cached_property
    def _base(self) -> Image:
        """The undreamed picture at the size of the largest octave."""
        return self._still.processor.base(self._still.processor.largest_octave)

    @cached_property
    def _aims(self) -> list[Aim]:
        """The aims of the stations, scaled so that their gradients at the picture are as large as the first one's."""
        aims, sizes = [], []
        for station, colours in zip(self.stations, self._colours, strict=True):
            objective = self._objective_of(station)
            aims.append(Aim.of(objective, self._matrix_of(colours), self._still.bundle.metadata))
            sizes.append(self._gradient_size(station, objective))
        return [aim.scaled(sizes[0] / size) for aim, size in zip(aims, sizes, strict=True)]

    def _objective_of(self, station: Station) -> Objective:
        still = self._still
        chosen = replace(station.settings, position=self.settings.position, normalization=self.settings.normalization)
        return objective_for(still.pixels, None, still.sessions, chosen, still.choice.machine)

    def _gradient_size(self, station: Station, objective: Objective) -> float:
        """The root mean square of a station's gradient at the picture. Raises SettingsError where there is none."""
        _, gradient = self._still.evaluator_at(self._still.processor.largest_octave, objective).evaluate(self._base)
        size = float(np.sqrt(np.square(gradient, dtype=np.float64).mean()))
        if not np.isfinite(size):
            raise DivergedError(f"the gradient of station {station.name!r} is not a finite number: leave it out")
        if not size:
            raise SettingsError(
                f"the picture does not activate station {station.name!r} at all: leave it out, or choose another"
            )
        return size

    def _matrix_of(self, colours: str) -> Floats | None:
        """The colour matrix of a station; None where none of the stations has any."""
        if not parse_colours(self.settings.colours).has_matrix:
            return None
        still = self._still
        settings = replace(self.settings, colours=colours)
        matrix = ImageProcessor(still.pixels, still.bundle.metadata, settings).colour_matrix()
        return np.eye(3, dtype=np.float32) if matrix is None else matrix

    def _place_at(self, number: int) -> tuple[int, float]:
        """Where the journey is at a frame: between which station and its next one, and the share of the next."""
        walks = len(self.stations) - 1
        walk = max(0.0, self.travel.seconds - len(self.stations) * self.travel.hold) / walks
        time = number / self.travel.fps
        index = min(int(time / (self.travel.hold + walk)), walks - 1)
        walked = time - index * (self.travel.hold + walk) - self.travel.hold
        done = min(1.0, max(0.0, walked / walk)) if walk else float(walked >= 0)
        return index, done * done * (3 - 2 * done)  # at rest at both stations

    def _aim_at(self, number: int) -> Aim:
        index, share = self._place_at(number)
        return self._aims[index].mixed(self._aims[index + 1], share)

    def _first(self, on_step: OnStep | None) -> TravelState | None:
        dreamed = self._still.dreamed(self.objective_at(0), self._aim_at(0).colours, on_step)
        if dreamed is None:
            return None
        change = dreamed.image - self._base
        return TravelState(change, dreamed.loss, 1, Exposure.of(dreamed.image, self._base))

    def _next(self, state: TravelState, on_step: OnStep | None) -> TravelState | None:
        travel, number = self.travel, state.number
        image = self._base + np.float32(travel.persist) * state.change
        if self.settings.clip:
            np.clip(image, *INPUT_RANGE, out=image)
        objective, colours = self.objective_at(number), self._aim_at(number).colours
        octaves = self.settings.octaves  # all of them: the largest alone shows a later station as fine texture
        dreamed = self._still.continued(image, objective, colours, travel.steps_next, octaves, number, on_step)
        if dreamed is None:
            return None
        change = state.exposure.held(dreamed.image - self._base, self._base, travel.persist)
        return replace(state, change=change, loss=dreamed.loss, number=number + 1)


def _settings_for(stations: tuple[Station, ...]) -> Settings:
    """The settings of the first look among the stations, or else of the default look."""
    looks = [station.look for station in stations if station.look]
    return (looks[0] if looks else find_preset(DEFAULT_LOOK)).settings


def _colours_at(station: Station, settings: Settings) -> str:
    """The colours at a station: those of its look, unless the settings let no dream have colours."""
    if station.look is None or settings.colours == "lightness":
        return settings.colours
    return station.look.settings.colours


def _without_objective(settings: Settings, colours: list[str]) -> Settings:
    """The settings without what they maximise, and with a colour matrix if the colours of any station have one."""
    with_matrix = [kind for kind in colours if parse_colours(kind).has_matrix]
    return replace(
        settings,
        layer_weights=None,
        channels=(),
        classes=None,
        pick=None,
        colours=with_matrix[0] if with_matrix else settings.colours,
    )
