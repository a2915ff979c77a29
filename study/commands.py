"""The commands of `onnxdream experiment`: they parse options, run a study and print messages."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..models.files import expand_user
from ..models.interrupts import exit_code

_EXAMPLES = Path(__file__).parents[1] / "examples"
_REPORT_EXTRA = ("matplotlib", "jinja2")

app = typer.Typer(
    help="Repeat the paper's experiment: dream pictures with several bundles, compare losses, write a report.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def _option(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, show_default=False)


@app.command()
def paper(
    images: Annotated[
        list[str], _option("Pictures, separated by commas: bears.jpg,penguins.jpg. May be given several times.")
    ],
    weights: Annotated[
        str, _option("auto (default), imagenet, builtin, random, or a file for each backbone: v3=FILE,irv2=FILE.")
    ] = "auto",
    output: Annotated[Path, _option("The result folder (default: ./paper-study).")] = Path("paper-study"),
    steps: Annotated[int | None, _option("Gradient ascent steps (default: the paper's 1000).")] = None,
    max_size: Annotated[int | None, _option("Maximum longer side in pixels (default: 512; 0: original size).")] = None,
    step_size: Annotated[
        str | None, _option("Step size in units of the range -1 to 1; or first:last, as in 0.03:0.012.")
    ] = None,
    gradient_norm: Annotated[
        str | None, _option("Divide the gradient by its std (default), l2, mean-abs, or none.")
    ] = None,
    normalization: Annotated[str | None, _option("minmax (default, the paper's eq. 1) or backbone.")] = None,
    clip: Annotated[bool | None, _option("Clip the picture to its range after each step.", "--clip/--no-clip")] = None,
    objective: Annotated[str, _option("The loss of a layer: mean (default) or l2, the mean of squares.")] = "mean",
    provider: Annotated[str | None, _option("What computes: auto (default), cpu, cuda, tensorrt or openvino.")] = None,
    threads: Annotated[int | None, _option("Number of CPU threads.")] = None,
) -> None:
    """Dream pictures with the paper's five layer sets; a repeated command skips what is finished."""
    from .grid import paper_grid

    names = ("steps", "max_size", "step_size", "gradient_norm", "normalization", "clip", "provider", "threads")
    given = {name: value for name, value in locals().items() if name in names and value is not None}
    _run(paper_grid(_pictures(images), weights, objective, given), output)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The grid: images, bundles and settings.")],
    output: Annotated[Path | None, _option("The result folder (default: ./<FILE>-study).")] = None,
) -> None:
    """Run your own grid of bundles and pictures; a repeated command skips what is finished."""
    from .grid import read_grid

    _run(read_grid(expand_user(file)), output or Path(f"{file.stem}-study"))


@app.command()
def figures(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The result folder of an experiment.")],
) -> None:
    """Draw a study's figures in print quality, as PNG and SVG, in DIR/figures."""
    from .folder import Folder
    from .summary import read_summary

    results = Folder(expand_user(folder))
    summary = read_summary(results)
    _require_report_extra()
    from .figures import write_figures

    _ignore_missing_glyphs()
    for path in write_figures(summary, results):
        print(path)


def _pictures(texts: Sequence[str]) -> tuple[Path, ...]:
    """The pictures that texts name: each the name of a file, which may contain commas, or several between commas."""
    parts = [part for text in texts for part in ([text] if os.path.exists(expand_user(text)) else text.split(","))]
    return tuple(expand_user(part.strip()) for part in parts if part.strip())


def _run(grid: Any, output: Path) -> None:
    from .folder import Folder
    from .run import Reporter, Study

    folder = Folder(expand_user(output))
    result = Study(grid, folder, Reporter(_log, _log_error, _EXAMPLES)).run()
    if _missing_report_extra():
        _log("no report.html: install onnxdream[report] and repeat the command; finished dreams are kept")
    else:
        from .report import write_report

        _ignore_missing_glyphs()
        write_report(result.summary, folder)
        print(folder.report)
    if result.interrupted:
        raise typer.Exit(exit_code(result.interrupted))
    raise typer.Exit(1 if result.failed else 0)


def _ignore_missing_glyphs() -> None:
    """Silences matplotlib's warning of characters that its fonts lack; a browser shows them in the report anyway."""
    warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)


def _missing_report_extra() -> list[str]:
    from importlib.util import find_spec

    return [package for package in _REPORT_EXTRA if find_spec(package) is None]


def _require_report_extra() -> None:
    missing = _missing_report_extra()
    if missing:
        raise ImportError(f"figures need {' and '.join(missing)}: pip install 'onnxdream[report]'")


def _log(line: str) -> None:
    print(line, file=sys.stderr)


def _log_error(line: str) -> None:
    print(f"error: {line}", file=sys.stderr)
