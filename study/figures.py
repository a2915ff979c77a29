"""Draws the figures of a study. Needs matplotlib (extra `report`)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..runtime.dream.plot import installed_cjk_fonts, with_gaps
from ..runtime.image.files import read_picture
from .folder import Folder
from .losses import LossHistory, read_losses
from .summary import Input, Row, Summary

# Four of Okabe and Ito's colours for colour-blind readers (Color Universal Design, 2008), a brown and a violet: all are
# visible on white and on black. Dashes distinguish the lines in grey print.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d3b", "#7a5cc7")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
_INK_OF_PAGE = "#010203"  # a placeholder for the page's own text colour, which is light or dark
_DPI = 300
_COLUMN = (4.2, 3.0)  # inches; text of 9 points stays readable on a phone and in a column of a paper


@dataclass(frozen=True)
class Style:
    """The colour of text and axes: black for print, the page's own text colour for the report."""

    ink: str = "black"

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters for matplotlib. Text in an SVG stays text, and the same figure always gives the same file."""
        names = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
        return {
            **dict.fromkeys(names, self.ink),
            "font.family": [*rcParams["font.family"], *installed_cjk_fonts()],
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.alpha": 0.25,
            "svg.fonttype": "none",
            "svg.hashsalt": "onnxdream",
            "text.parse_math": False,  # a $ in a file's name does not begin a formula
        }


PRINT, PAGE = Style(), Style(_INK_OF_PAGE)


def draw_losses(losses: LossHistory, title: str, style: Style = PRINT) -> Figure:
    """Draws the weighted sum and each layer's loss over the steps."""
    with rc_context(style.parameters):
        figure, axes = _plot(title)
        _curve(axes, losses, losses.totals, color=style.ink, linewidth=1.8, label="total")
        for number, layer in enumerate(losses.layers if len(losses.layers) > 1 else ()):
            _curve(axes, losses, losses.by_layer[:, number], linewidth=1.2, label=layer, **_line(number))
        _label_steps(axes, losses.starts, style)
        _legend(figure, columns=2)
        return figure


def draw_as_paper(losses: LossHistory, title: str, style: Style = PRINT) -> Figure:
    """Draws the paper's fig. 18: five losses as labels along x, the number of steps as y, the picture's name above."""
    points = losses.paper_points()
    with rc_context(style.parameters):
        figure, axes = _plot(title)
        axes.plot(range(len(points)), [step for step, _ in points], marker="o", **_line(0))
        axes.set_xticks(range(len(points)), [f"{loss:.4f}" for _, loss in points])
        octave = " of the last octave" if len(losses.starts) > 1 else ""
        axes.set(xlabel=f"loss{octave}", ylabel="No. of steps", ylim=(0, 1.2 * max(1, len(losses.totals) - 1)))
        return figure


def draw_comparison(curves: Mapping[str, LossHistory], title: str, style: Style = PRINT) -> Figure:
    """Draws the weighted sums of several cells over the steps; `curves` maps a bundle's name to its losses."""
    with rc_context(style.parameters):
        figure, axes = _plot(title, _COLUMN[1] + 0.17 * len(curves))
        for number, (name, losses) in enumerate(curves.items()):
            _curve(axes, losses, losses.totals, linewidth=1.6, label=name, **_line(number))
        _label_steps(axes, tuple(sorted({start for losses in curves.values() for start in losses.starts})), style)
        _legend(figure, columns=1)
        return figure


def draw_strips(strips: Mapping[str, Mapping[int, Path]], style: Style = PRINT) -> Figure:
    """Draws a row for each picture and a column for each number of steps, as the paper's figs. 7, 10, 13 and 16.

    `strips` maps a picture's name to the files of its snapshots, by the number of steps.
    """
    steps = sorted({step for strip in strips.values() for step in strip})
    with rc_context(style.parameters):
        figure = Figure(figsize=(2.3 * len(steps), 1.85 * len(strips) + 0.2), layout="constrained")
        grid = figure.subplots(len(strips), len(steps), squeeze=False)
        for line, (name, strip) in zip(grid, strips.items(), strict=True):
            for axes, step in zip(line, steps, strict=True):
                axes.set_axis_off()
                if step in strip:
                    axes.imshow(_pixels(strip[step]))
                    axes.set_title(f"{name}, {step} steps", fontsize=8)
        return figure


def draw_inputs(inputs: Sequence[Input], folder: Folder, style: Style = PRINT) -> Figure:
    """Draws the pictures at real and at shrunk size with their pixels along the axes, as the paper's figs. 5 and 6."""
    with rc_context(style.parameters):
        figure = Figure(figsize=(6.6, 2.6 * len(inputs)), layout="constrained")
        for line, entry in zip(figure.subplots(len(inputs), 2, squeeze=False), inputs, strict=True):
            source = Path(entry.file)
            for axes, path, kind in (
                (line[0], folder.original(source), "real"),
                (line[1], folder.shrunk(source), "shrunk"),
            ):
                axes.imshow(_pixels(path))
                axes.set_title(f"{entry.name}, {kind} size", fontsize=8)
        return figure


def write_figures(summary: Summary, folder: Folder) -> Iterator[Path]:
    """Writes every figure of a study as PNG (300 dots per inch) and SVG and yields the paths. Raises ResultsError."""
    for name, figure in _all_figures(summary, folder):
        with rc_context(PRINT.parameters):
            for suffix in ("png", "svg"):
                data = io.BytesIO()
                figure.savefig(data, format=suffix, dpi=_DPI, metadata={"Date": None} if suffix == "svg" else None)
                path = folder.figures / f"{name}.{suffix}"
                folder.write(path, data.getvalue())
                yield path


def page_svg(figure: Figure, name: str) -> str:
    """Returns a figure as an SVG element in the page's text colour, as wide as the element around it.

    `name` must differ from that of every other figure of the page; it makes the ids inside the SVG differ, too.
    """
    text = io.StringIO()
    with rc_context({**PAGE.parameters, "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK_OF_PAGE, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    start, rest = svg.split(">", 1)
    svg = re.sub(r' (?:width|height)="[^"]*"', "", start) + ">" + rest
    # Nothing refers to these ids, and each figure of the page would repeat them.
    return re.sub(r' id="(?:figure|axes|patch|line2d|text|legend|xtick|ytick|matplotlib\.axis)_\d+"', "", svg)


def bundle_of(row: Row) -> str:
    """Returns the part of a cell's name that names its bundle: `v3-paper-low` of `v3-paper-low-bears`."""
    return row.cell.removesuffix(f"-{row.picture}")


def _all_figures(summary: Summary, folder: Folder) -> Iterator[tuple[str, Figure]]:
    done = [row for row in summary.rows if row.status == "done"]
    curves = {row.cell: read_losses(folder.results(row.cell).losses) for row in done}
    if summary.inputs:
        yield "inputs", draw_inputs(summary.inputs, folder)
    for bundle in dict.fromkeys(bundle_of(row) for row in done):
        strips = {row.picture: folder.snapshots(row.cell) for row in done if bundle_of(row) == bundle}
        yield f"{bundle}-steps", draw_strips(strips)
    for row in done:
        yield f"{row.cell}-losses", draw_losses(curves[row.cell], f"{row.picture}, {bundle_of(row)}")
        yield f"{row.cell}-as-paper", draw_as_paper(curves[row.cell], row.picture)
    for picture in dict.fromkeys(row.picture for row in done):
        of_picture = {bundle_of(row): curves[row.cell] for row in done if row.picture == picture}
        yield f"{picture}-compared", draw_comparison(of_picture, picture)


def _plot(title: str, height: float = _COLUMN[1]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_COLUMN[0], height), layout="constrained")
    axes = figure.subplots()
    # A file's name may contain bytes that are not valid text.
    axes.set_title(title.encode(errors="replace").decode(), fontsize=9)
    axes.margins(x=0.02)
    axes.grid()
    return figure, axes


def _curve(axes: Axes, losses: LossHistory, values: NDArray[np.float64], **style: Any) -> None:
    """Draws losses, float64 [steps + 1], over the steps; the curve is interrupted where an octave begins."""
    steps = np.arange(len(values), dtype=np.float64)
    axes.plot(with_gaps(steps, losses.starts), with_gaps(values, losses.starts), **style)


def _label_steps(axes: Axes, starts: Sequence[int], style: Style) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for start in starts[1:]:
        axes.axvline(start, color=style.ink, linestyle=":", linewidth=0.8)
    axes.set(xlabel="step (dotted: an octave begins)" if len(starts) > 1 else "step", ylabel="loss")


def _legend(figure: Figure, columns: int) -> None:
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=columns)


def _line(number: int) -> dict[str, Any]:
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _DASHES[number % len(_DASHES)]}


def _pixels(path: Path) -> Any:
    """Returns a picture file's pixels as matplotlib takes them: uint8 [height, width, 3 or 4]."""
    pixels = read_picture(path).pixels
    return pixels if pixels.dtype == "uint8" else (pixels // 257).astype("uint8")
