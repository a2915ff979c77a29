"""The plot of a run's losses. Needs matplotlib (extra `report`), which is imported when a plot is drawn."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats

# Fonts with Chinese, Japanese and Korean characters, of Linux, Windows and macOS; matplotlib's own font has none.
_CJK_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "IPAexGothic"),
    *("Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo"),
)
# What fits beside each other into a legend, and what the line in front of a name takes of it.
_LEGEND_CHARACTERS, _KEY_CHARACTERS = 76, 8


def can_plot() -> bool:
    """Whether matplotlib is installed; finds out without importing it."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_losses(
    title: str, layers: Sequence[str], losses: Floats, totals: Floats, starts: Sequence[int] = (0,)
) -> bytes:
    """Plots the losses over the steps; returns a PNG file's bytes.

    `losses` is float32 [steps + 1, layers], each layer's loss; `totals` is float32 [steps + 1], their weighted sums.
    `starts` are the rows at which octaves begin: there, a dotted line interrupts the curves. Raises OSError
    where matplotlib finds no folder to write its cache to.
    """
    from matplotlib.figure import Figure  # no pyplot: no display, no global state

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    steps = with_gaps(np.arange(len(totals), dtype=np.float32), starts)
    axes.plot(steps, with_gaps(totals, starts), color="black", linewidth=2, label="total")
    fonts = [*_default_fonts(), *installed_cjk_fonts()]
    for layer, column in zip(layers, losses.T, strict=True):
        axes.plot(steps, with_gaps(column, starts), linewidth=1.2, label=_drawable(layer, fonts))
    for start in starts[1:]:
        axes.axvline(start, color="grey", linestyle=":", linewidth=1)
    # The title holds a file name: a $ in it does not begin a formula, and its bytes need not be valid text.
    axes.set_title(_drawable(title.encode(errors="replace").decode(), fonts), parse_math=False, fontfamily=fonts)
    axes.set(xlabel="step" if len(starts) < 2 else "step (dotted: an octave begins)", ylabel="loss")
    axes.margins(x=0.01)
    axes.grid(alpha=0.3)
    columns = min(4, max(1, _LEGEND_CHARACTERS // (max(map(len, ("total", *layers))) + _KEY_CHARACTERS)))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, prop={"family": fonts})
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()


def with_gaps(values: NDArray[Any], starts: Sequence[int]) -> NDArray[Any]:
    """Returns floats [steps + 1] with a NaN before each octave but the first: there matplotlib interrupts a curve."""
    return np.insert(values, list(starts[1:]), np.nan)


def installed_cjk_fonts() -> list[str]:
    """Returns the names of installed fonts with Chinese, Japanese and Korean characters."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [name for name in _CJK_FONTS if name in installed]


def _default_fonts() -> list[str]:
    from matplotlib import rcParams

    return list(rcParams["font.family"])


def _drawable(text: str, fonts: Iterable[str]) -> str:
    """Returns a text with a □ for each character that none of the fonts has; matplotlib would warn of it."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    loaded = [get_font(findfont(FontProperties(family=[name]))) for name in fonts]
    return "".join(c if any(font.get_char_index(ord(c)) for font in loaded) else "□" for c in text)
