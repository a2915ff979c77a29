"""The estimate of a dream before it is begun: its octaves, its tiles, its memory and its time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...models.arrays import Size
from ...models.errors import OnnxdreamError
from ...runtime.ascent.evaluator import Evaluator
from ...runtime.bundle.objective import Objective
from ...runtime.bundle.positions import chosen_positions, parse_positions
from ...runtime.bundle.sessions import Sessions
from ...runtime.image.octaves import octave_sizes
from ...runtime.image.processor import working_size
from ...runtime.provider.budget import MemoryBudgetError
from ...runtime.provider.machine import Machine
from ..errors import StudioError
from .choices import Chosen, refusal
from .folder import Speeds

# What a dream takes besides its steps: reading, preparing and writing.
_SECONDS = 0.3


def estimate(chosen: Chosen, width: int, height: int, machine: Machine, speeds: Speeds) -> dict[str, Any]:
    """Returns what the page shows of a dream of a picture of that size. Raises StudioError."""
    settings, metadata = chosen.settings, chosen.bundle.metadata
    try:
        size = working_size(Size(height, width), settings.max_size, metadata.smallest_size)
        octaves = octave_sizes(
            size, metadata.smallest_size, settings.octaves, settings.octaves_above, settings.octave_scale
        )
        weights = np.array(settings.weights_of(metadata.layer_names), np.float32)
        positions = chosen_positions(metadata.layers, parse_positions(settings.position))
        objective = Objective(weights, positions=positions)
        evaluator = Evaluator(Sessions(chosen.bundle), settings, machine, objective, octaves[-1])
    except MemoryBudgetError as error:
        raise StudioError(422, str(error), "max_size") from None
    except OnnxdreamError as error:
        raise refusal(error) from None
    megapixel_steps = settings.steps * sum(octave.pixels for octave in octaves) / 1e6
    speed = speeds.of(chosen.model, machine.provider_text)
    return {
        "seconds": None if speed is None else round(_SECONDS + speed * megapixel_steps, 1),
        "memory": round(evaluator.expected_bytes(octaves[-1])),
        "octaves": [[octave.width, octave.height] for octave in octaves],
        "steps": settings.steps * len(octaves),
        "tiles": len(evaluator.tile_plan(octaves[-1]).tiles),
    }
