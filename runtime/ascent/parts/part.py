"""The interface of the parts of an update, for numpy and for graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ....models.arrays import Floats, Image, Size
from ...settings.settings import Settings
from ..graph_builder import ImageGraph

# The lowest and the highest value of an image.
Limits = tuple[float, float]
# Returns the values of some graph inputs at an update of an octave, counted from 1.
ValuesAt = Callable[[int], Sequence[Floats]]


@dataclass(frozen=True)
class Part:
    """A part of an update: in numpy for images that are cut into tiles, and as a graph for all others.

    Both forms take a direction and return the next one; the last part moves the image along it. `slots` is the number
    of arrays that the part keeps from step to step. `host_planes` and `graph_planes` are its memory, in float32 arrays
    of the image's shape: the former on the host in either form, slots included, the latter in addition as a graph
    (measured).
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
    """The inputs of a part in numpy. It changes its own slots in place, and the last part changes the image.

    `slots` have the image's shape. `number` counts the octave's updates from 1. `mask` is float32 [height, width], from
    0 (stays) to 1 (moves), `colours` the colour matrix, float32 [3, 3]; either may be None. `base` is the undreamed
    image, of the image's shape, or None where no part needs it. The slots were new after `slots_after` updates.
    """

    settings: Settings
    limits: Limits
    image: Image = field(repr=False)
    slots: Sequence[Image] = field(repr=False)
    number: int
    mask: Floats | None = field(default=None, repr=False)
    colours: Floats | None = field(default=None, repr=False)
    base: Image | None = field(default=None, repr=False)
    slots_after: int = 0


class UpdateGraph(ImageGraph):
    """The graph of an update while it is being built, with the inputs and the slots of its parts.

    `mask` is float32 [height, width], `colours` the colour matrix, float32 [3, 3]; either may be None. `image` is the
    name of the image's input, `next_slots` are the names of the outputs that become the slots of the next step. The
    slots were new after `slots_after` updates of the octave.
    """

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        size: Size,
        mask: Floats | None,
        colours: Floats | None,
        slots_after: int = 0,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.limits = limits
        self.size = size
        self.mask = mask
        self.colours = colours
        self.slots_after = slots_after
        self.image = self.input("image", self.image_shape)
        self.next_slots: list[str] = []
        self.scheduled_inputs: dict[tuple[str, ...], ValuesAt] = {}
        self._slots_read = 0

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of images, gradients and slots, [1, 3, height, width]."""
        return 1, 3, *self.size

    def read_slot(self) -> str:
        """Declares the next slot, as the step before has written it; returns the input's name."""
        self._slots_read += 1
        return self.input(slot_name(self._slots_read - 1), self.image_shape)

    def write_slot(self, output: str) -> str:
        """Makes an output a slot of the next step, in the order in which slots are read; returns the output's name."""
        self.next_slots.append(output)
        return output

    def add_scheduled_inputs(self, names: tuple[str, ...], values_at: ValuesAt) -> tuple[str, ...]:
        """Declares inputs whose values change from step to step; returns their names."""
        self.scheduled_inputs[names] = values_at
        return tuple(self.input(name, values.shape) for name, values in zip(names, values_at(1), strict=True))


def slot_name(index: int) -> str:
    """Returns the name of the input that a slot is read from."""
    return f"slot{index}"
