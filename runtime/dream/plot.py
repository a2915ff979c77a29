"""The plot of a run's losses. Needs matplotlib (extra `report`), which is imported when a plot is drawn."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence

import numpy as np

from ...models.arrays import Floats


def can_plot() -> bool:
    """Whether matplotlib is installed; finds out without importing it."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_losses(title: str, layers: Sequence[str], losses: Floats, totals: Floats) -> bytes:
    """Plots the losses over the steps; returns a PNG file's bytes.

    `losses` is float32 [steps + 1, layers], each layer's loss; `totals` is float32 [steps + 1], their weighted sums.
    Raises OSError where matplotlib finds no folder to write its cache to.
    """
    from matplotlib.figure import Figure  # no pyplot: no display, no global state

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(len(totals))
    axes.plot(steps, totals, color="black", linewidth=2, label="total")
    for layer, column in zip(layers, losses.T, strict=True):
        axes.plot(steps, column, linewidth=1.2, label=layer)
    # The title holds a file name: a $ in it does not begin a formula, and its bytes need not be valid text.
    axes.set_title(title.encode(errors="replace").decode(), parse_math=False)
    axes.set(xlabel="step", ylabel="loss")
    axes.margins(x=0.01)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()
