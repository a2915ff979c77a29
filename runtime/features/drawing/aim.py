"""What pictures are drawn of: a channel, or any other objective with a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ....models.arrays import Floats
from ....models.contract import Metadata
from ...bundle.objective import Objective
from ..feature import Feature, weighed


class Subject(Protocol):
    """What a picture is drawn of. Its text names it for the user."""

    @property
    def file_stem(self) -> str:
        """The name of its picture, without a suffix."""
        ...

    @property
    def noise(self) -> int:
        """The number of the noise that its picture starts from."""
        ...

    def objective(self, metadata: Metadata) -> Objective:
        """Returns what its picture maximises."""
        ...


@dataclass(frozen=True, eq=False)
class Aim:
    """An objective that is not a channel of an atlas.

    Aims of one `series` are the stations of a walk, each at its `place` from 1; `follows` is the one whose picture its
    own starts from.
    """

    name: str
    file_stem: str
    maximised: Objective = field(repr=False)
    noise: int = 0
    series: str | None = None
    place: int = 1
    follows: Aim | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.name

    def objective(self, metadata: Metadata) -> Objective:
        """See `Subject`."""
        return self.maximised


def layers_aim(layers: list[str], what: str, objective: Objective) -> Aim:
    """Returns the aim of whole layers, as in `mixed4 like cat`; `what` says the rest of its name."""
    name = f"{', '.join(layers)} {what}"
    return Aim(name, re.sub(r"[^\w.]+", "-", name).strip("-"), objective)


def placed_aim(metadata: Metadata, feature: Feature, positions: Floats) -> Aim:
    """Returns the aim of a channel around the position of its layer; `positions` are float32 [layers, 3]."""
    y, x, radius = map(float, positions[metadata.layer_names.index(feature.layer)])
    place = f"{y:g},{x:g}{f',{radius:g}' if radius else ''}"
    objective = weighed(metadata, {feature: 1.0}, positions)
    return Aim(f"{feature} at {place}", f"{feature.file_stem}-at-{place.replace(',', '-')}", objective, feature.noise)


def walk_aims(
    metadata: Metadata, first: Feature, last: Feature, count: int, positions: Floats | None = None
) -> list[Aim]:
    """Returns `count` aims from one channel to another, whose weights go linearly from the first's to the last's.

    The picture in the middle starts from noise, and each other one from its neighbour on that side, so they come in the
    order of drawing. `count` is at least 2.
    """
    series = f"{first.file_stem}-to-{last.file_stem if first.layer != last.layer else _channel_stem(last)}"
    aims: dict[int, Aim] = {}
    for place in _from_the_middle(count):
        share = place / (count - 1)
        objective = weighed(metadata, {first: 1 - share, last: share}, positions)
        name, earlier = f"{first} to {last}, {place + 1} of {count}", aims.get(place + 1) or aims.get(place - 1)
        aims[place] = Aim(name, f"{series}-{place + 1}", objective, first.noise, series, place + 1, earlier)
    return list(aims.values())


def _channel_stem(feature: Feature) -> str:
    return feature.file_stem[len(feature.layer) + 1 :]


def _from_the_middle(count: int) -> Iterator[int]:
    """Yields the numbers below a count, those near the middle first."""
    middle = (count - 1) // 2
    yield from sorted(range(count), key=lambda place: (abs(place - middle), place))
