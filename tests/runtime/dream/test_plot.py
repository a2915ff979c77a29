"""The plot of a run's losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the report extra")

from matplotlib.figure import Figure

from onnxdream.runtime.dream.plot import draw_losses


@pytest.mark.parametrize(
    ("count", "name"), [(1, "mixed"), (3, "mixed"), (8, "block35_10_mixed"), (12, "block_4_expand_relu_")]
)
def test_the_legend_of_a_plot_hides_no_curve(count: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *given, **more: (drawn.append(figure), save(figure, *given, **more))
    )
    losses = np.ones((5, count), np.float32)
    assert (
        draw_losses("bears", [f"{name}{number}" for number in range(count)], losses, losses.sum(axis=1))[1:4] == b"PNG"
    )
    (figure,) = drawn
    (axes,), legends = figure.axes, [*figure.legends, *(one.get_legend() for one in figure.axes if one.get_legend())]
    (legend,) = legends
    assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
    assert figure.bbox.contains(*legend.get_window_extent().min)
    assert figure.bbox.contains(*legend.get_window_extent().max)
