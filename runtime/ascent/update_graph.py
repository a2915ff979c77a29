"""One step of gradient ascent as one model, for an image that stays where its gradient is computed.

Part for part the same as `Update`; what both do is tested against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..provider.machine import Machine
from ..provider.tensors import Bound, Tensor
from ..settings.schedule import largest, scheduled
from ..settings.settings import Settings
from .filters import Filter
from .graph_linker import Chain, Program
from .regularizers import FLAT
from .smoothing import FAINTEST, LEAST
from .update import ADAM_DECAY, ADAM_EPSILON, NORM_EPSILON, Limits, Part, adam_weights, middle_of, parts_of

Array = NDArray[np.float32]
Size = tuple[int, int]
Shift = tuple[int, int]
# The values of some inputs at an octave's update, counted from 1.
Timing = Callable[[int], Sequence[Array]]


class GraphUpdate:
    """`Update` for images of one size on one machine; where `jitter` is set it rolls the gradient back first.

    `mask` is float32 [height, width], `colours` the matrix [3, 3] of settings that have one; `changes` says whether an
    update must be fed `inputs` before each run. Raises ProviderError and ComputationError.
    """

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        size: Size,
        machine: Machine,
        mask: Array | None = None,
        colours: Array | None = None,
    ) -> None:
        self._jitters = bool(settings.jitter)
        self._size = size
        links = Links(settings, limits, size, mask, colours)
        direction = links.chain.input("gradient", links.picture)
        if settings.jitter:
            direction = _rolled(links.chain, direction, size[0])
        for part in parts_of(settings):
            direction = PARTS[part](links, direction)
        self._timings = links.timings
        self.changes = self._jitters or bool(self._timings)
        self._program = Program(links.chain, [direction, *links.slots], machine)

    def bind(self, image: Tensor, gradient: Tensor, slots: Sequence[Tensor], outputs: Sequence[Tensor]) -> Bound:
        """Bound to an image, a gradient and slots, and to `outputs`, which become the next image and the next slots.

        These must be other tensors; all are [1, 3, h, w]. Raises ComputationError.
        """
        inputs = {"image": image, "gradient": gradient}
        inputs |= {_slot(place): slot for place, slot in enumerate(slots)}
        return self._program.bind(inputs, *outputs)

    def inputs(self, number: int, shift: Shift = (0, 0)) -> dict[str, Tensor]:
        """What an update is fed: `number` counts the octave's updates from 1; `shift` is how far the image was rolled
        that the gradient is of."""
        found: dict[str, Tensor] = {}
        if self._jitters:
            found |= roll_inputs((-shift[0], -shift[1]), self._size)
        for names, timing in self._timings.items():
            found |= dict(zip(names, map(Tensor.on_host, timing(number)), strict=True))
        return found


def roll(size: Size, machine: Machine) -> Program:
    """What rolls pictures of one size round their edges, as numpy does: `image`, fed with `roll_inputs`, into another
    tensor.

    Raises ProviderError and ComputationError.
    """
    chain = Chain()
    return Program(chain, [_rolled(chain, chain.input("image", (1, 3, *size)), size[0])], machine)


def check(size: Size, layers: int, machine: Machine) -> Program:
    """What puts `losses` [1, layers] and the sum of a `gradient`, which is finite where that is, into one row.

    Raises as `roll` does.
    """
    chain = Chain()
    losses, gradient = chain.input("losses", (1, layers)), chain.input("gradient", (1, 3, *size))
    return Program(chain, chain.add("check", losses=losses, gradient=gradient), machine)


@dataclass
class Links:
    """An update's chain in the making: what its parts read, and the names of the slots that they leave."""

    settings: Settings
    limits: Limits
    size: Size
    mask: Array | None
    colours: Array | None
    chain: Chain = field(default_factory=Chain)
    slots: list[str] = field(default_factory=list)
    timings: dict[tuple[str, ...], Timing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.image = self.chain.input("image", self.picture)

    @property
    def picture(self) -> tuple[int, ...]:
        """The shape of images, gradients and slots."""
        return 1, 3, *self.size

    def slot(self, place: int) -> str:
        """One of the optimizer's arrays, as the step before left it."""
        return self.chain.input(_slot(place), self.picture)

    def timed(self, names: tuple[str, ...], timing: Timing) -> tuple[str, ...]:
        """Inputs that change from step to step."""
        self.timings[names] = timing
        return tuple(self.chain.input(name, values.shape) for name, values in zip(names, timing(1), strict=True))

    def add(self, graph: str, **sources: str) -> str:
        """Adds a graph of one output."""
        (output,) = self.chain.add(graph, **sources)
        return output

    def filtered(self, image: str, chosen: Filter, matrices: Sequence[str] = ()) -> str:
        """Adds a filter; `matrices` name inputs to take the place of its own, of rows and of columns."""
        bands = chosen.rows, chosen.columns
        row_matrix, column_matrix = matrices or [self.chain.constant(band.matrix) for band in bands]
        return self.add(
            "filter",
            image=image,
            rows=self.chain.constant(chosen.rows.positions),
            row_matrix=row_matrix,
            columns=self.chain.constant(chosen.columns.positions),
            column_matrix=column_matrix,
            size=self.chain.constant(np.array(chosen.size)),
        )


def _blur(links: Links, direction: str) -> str:
    blur, steps = links.settings.blur, links.settings.steps
    widest = Filter.gaussian(links.size, largest(blur))
    if not isinstance(blur, tuple):
        return links.filtered(direction, widest)

    def matrices(number: int) -> tuple[Array, Array]:
        now = Filter.gaussian(links.size, scheduled(blur, number, steps), largest(blur))
        return now.rows.matrix, now.columns.matrix

    return links.filtered(direction, widest, links.timed(("blur_rows", "blur_columns"), matrices))


def _laplacian(links: Links, direction: str) -> str:
    share, least = links.chain.number(FAINTEST), links.chain.number(LEAST)
    faintest = links.add("faintest", gradient=direction, share=share, least=least)
    bands: list[tuple[str, Size]] = []
    rest, size = direction, links.size
    while len(bands) < links.settings.laplacian and min(size) > 1:
        down = Filter.halving(size)
        coarse = links.filtered(rest, down)
        enlarged = links.filtered(coarse, Filter.doubling(down.size, size))
        bands.append((links.add("unit", fine=rest, coarse=enlarged, faintest=faintest), size))
        rest, size = coarse, down.size
    nothing = links.chain.constant(np.zeros((1, 1, 1, 1), np.float32))
    merged = links.add("unit", fine=rest, coarse=nothing, faintest=faintest)
    for band, larger in reversed(bands):
        merged = links.add("merge", one=links.filtered(merged, Filter.doubling(size, larger)), other=band)
        size = larger
    return merged


def _colours(links: Links, direction: str) -> str:
    assert links.colours is not None
    return links.add("colours", gradient=direction, matrix=links.chain.constant(links.colours))


def _norm(links: Links, direction: str) -> str:
    kind, epsilon = links.settings.gradient_norm, links.chain.number(NORM_EPSILON)
    return links.add(f"norm-{kind}", gradient=direction, epsilon=epsilon)


def _tv(links: Links, direction: str) -> str:
    rows = np.arange(links.size[0])
    return links.add(
        "tv",
        direction=direction,
        image=links.image,
        strength=links.chain.number(links.settings.tv),
        flat=links.chain.number(FLAT),
        below=links.chain.constant(np.append(rows[1:], rows[-1])),
        above=links.chain.constant(np.roll(rows, 1)),
    )


def _l2(links: Links, direction: str) -> str:
    strength, middle = links.chain.number(links.settings.l2), links.chain.number(middle_of(links.limits))
    return links.add("l2", direction=direction, image=links.image, strength=strength, middle=middle)


def _momentum(links: Links, direction: str) -> str:
    left = links.chain.number(links.settings.momentum)
    links.slots = [links.add("momentum", direction=direction, velocity=links.slot(0), momentum=left)]
    return links.slots[0]


def _adam(links: Links, direction: str) -> str:
    def weights(number: int) -> list[Array]:
        return [_number(weight) for weight in adam_weights(links.settings, number)]

    mean_weight, square_weight = links.timed(("mean_weight", "square_weight"), weights)
    adapted, *links.slots = links.chain.add(
        "adam",
        direction=direction,
        mean=links.slot(0),
        square=links.slot(1),
        mean_share=links.chain.number(1 - links.settings.momentum),
        square_share=links.chain.number(1 - ADAM_DECAY),
        epsilon=links.chain.number(ADAM_EPSILON),
        mean_weight=mean_weight,
        square_weight=square_weight,
    )
    return adapted


def _step(links: Links, direction: str) -> str:
    low, high = links.limits if links.settings.clip else (-np.inf, np.inf)
    return links.add(
        "step",
        image=links.image,
        direction=direction,
        rate=_rate(links),
        low=links.chain.constant(np.array(low, np.float32)),
        high=links.chain.constant(np.array(high, np.float32)),
    )


def _rate(links: Links) -> str:
    """What a direction is multiplied by, [1, 1, 1, 1] or one for each pixel."""
    step_size, steps, mask = links.settings.step_size, links.settings.steps, links.mask
    if not isinstance(step_size, tuple):
        rate = np.full((1, 1, 1, 1), step_size, np.float32)
        return links.chain.constant(rate if mask is None else rate * mask)
    (now,) = links.timed(("step_size",), lambda number: [_number(scheduled(step_size, number, steps))])
    return now if mask is None else links.add("rate", mask=links.chain.constant(mask[None, None]), step_size=now)


# The last of them gives the next image.
PARTS: dict[Part, Callable[[Links, str], str]] = {
    "blur": _blur,
    "laplacian": _laplacian,
    "colours": _colours,
    "norm": _norm,
    "tv": _tv,
    "l2": _l2,
    "momentum": _momentum,
    "adam": _adam,
    "step": _step,
}


def _number(value: float) -> Array:
    return np.array([value], np.float32)


def _slot(place: int) -> str:
    return f"slot{place}"


def _rolled(chain: Chain, image: str, height: int) -> str:
    rows, right = chain.input("rows", (height,), whole=True), chain.input("right", (1,), whole=True)
    (output,) = chain.add("roll", image=image, rows=rows, right=right)
    return output


def roll_inputs(shift: Shift, size: Size) -> dict[str, Tensor]:
    """Which row comes to be where, and which column to be the first."""
    rows, right = np.roll(np.arange(size[0]), shift[0]), np.array([-shift[1] % size[1]])
    return {"rows": Tensor.on_host(rows.astype(np.int64)), "right": Tensor.on_host(right.astype(np.int64))}
