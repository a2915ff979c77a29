"""What a part of the update is, and what it reads when it does its share of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ....models.arrays import Floats, Image, Size
from ...settings.settings import Settings
from ..graph_builder import ImageGraph

Limits = tuple[float, float]
# The values of some inputs at an octave's update, counted from 1.
Timing = Callable[[int], Sequence[Floats]]


@dataclass(frozen=True)
class Part:
    """A part of the update, done by numpy where a picture is cut into tiles, and as a graph where it is in one piece.

    Both forms make the next direction of a direction; that of the last part moves the image. `slots` counts the arrays
    that it remembers from step to step. Costs are in planes, float32 arrays of the picture's size: `host_planes` on the
    host in any form, its slots among them, `graph_planes` on top as a graph (measured).
    """

    name: str
    is_wanted: Callable[[Settings], bool]
    by_numpy: Callable[[Image, UpdateContext], Image]
    as_graph: Callable[[str, UpdateGraph], str]
    slots: int = 0
    host_planes: int = 0
    graph_planes: int = 0


@dataclass(frozen=True)
class UpdateContext:
    """An update by numpy: what a part reads; it changes the image, CHW, and its own slots in place.

    `number` counts the octave's updates from 1; `colours` is the matrix [3, 3] of settings that have one.
    """

    settings: Settings
    limits: Limits
    image: Image
    slots: Sequence[Image]
    number: int
    mask: Floats | None = None
    colours: Floats | None = None


class UpdateGraph(ImageGraph):
    """An update as a graph in the making: what a part reads, and where it puts what it remembers."""

    def __init__(
        self, settings: Settings, limits: Limits, size: Size, mask: Floats | None, colours: Floats | None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.limits = limits
        self.size = size
        self.mask = mask
        self.colours = colours
        self.image = self.input("image", self.picture)
        self.next_slots: list[str] = []
        self.timings: dict[tuple[str, ...], Timing] = {}
        self._slots_read = 0

    @property
    def picture(self) -> tuple[int, ...]:
        """The shape of images, gradients and slots."""
        return 1, 3, *self.size

    def slot(self) -> str:
        """The next of a part's slots, as the step before left it."""
        self._slots_read += 1
        return self.input(slot_name(self._slots_read - 1), self.picture)

    def remember(self, output: str) -> str:
        """Leaves an output to the next step, as the slots were read, one after the other; gives its name."""
        self.next_slots.append(output)
        return output

    def timed(self, names: tuple[str, ...], timing: Timing) -> tuple[str, ...]:
        """Inputs that change from step to step."""
        self.timings[names] = timing
        return tuple(self.input(name, values.shape) for name, values in zip(names, timing(1), strict=True))


def slot_name(device: int) -> str:
    """The input that a slot is read from."""
    return f"slot{device}"
