"""Writes the report of a study, an HTML file that contains all images. Needs matplotlib and jinja2 (extra `report`)."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from ..models.arrays import Pixels
from ..models.backbones import UnknownBackboneError, find_backbone
from ..models.contract import weights_title
from ..models.wording import format_duration
from ..runtime.errors import PictureError
from ..runtime.image.files import read_picture
from ..runtime.image.formats.codec import encode_picture
from ..runtime.image.resizing import resize, shrink
from .errors import ResultsError
from .figures import PAGE, bundle_of, draw_as_paper, draw_comparison, draw_losses, page_svg
from .folder import Folder
from .losses import LossHistory, read_losses
from .paper import MISPRINTED, evaluate_claims, paper_losses, paper_picture
from .summary import Input, Row, Summary

_TEMPLATES = Path(__file__).parent / "templates"
_REAL_SIDE, _DREAM_SIDE, _STRIP_SIDE = 1200, 1024, 320  # maximum longer sides in the page, in pixels


@dataclass(frozen=True)
class EmbeddedImage:
    """A picture inside the page: a data URI, and its width and height in pixels."""

    uri: str = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True)
class CellView:
    """What the page shows of a finished cell.

    `strip` maps a number of steps to the picture after them. `curve` and `as_paper` are SVG elements. `points` are the
    steps and losses that `as_paper` shows.
    """

    row: Row
    before: EmbeddedImage
    after: EmbeddedImage
    strip: dict[int, EmbeddedImage]
    curve: Markup
    as_paper: Markup
    points: list[tuple[int, float]]


@dataclass(frozen=True)
class Group:
    """The section of the page that shows the cells of one bundle."""

    name: str
    title: str
    cells: list[CellView]


def write_report(summary: Summary, folder: Folder) -> None:
    """Writes report.html from a study's summary and its folder. Raises ResultsError."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = format_duration
    environment.filters["weights"] = weights_title
    try:
        page = environment.get_template("report.html").render(_context(summary, folder))
    except PictureError as error:
        raise ResultsError(f"a result is damaged ({error}): delete it and run the experiment again") from error
    folder.write(folder.report, page.encode(errors="replace"))


def _context(summary: Summary, folder: Folder) -> dict[str, Any]:
    done = [row for row in summary.rows if row.status == "done"]
    curves = {row.cell: read_losses(folder.results(row.cell).losses) for row in done}
    originals = {entry.name: folder.original(Path(entry.file)) for entry in summary.inputs}
    views = [_view(row, originals[row.picture], curves[row.cell], folder) for row in done]
    groups = [
        Group(name, _title(rows[0].row), rows)
        for name in dict.fromkeys(bundle_of(row) for row in done)
        for rows in [[view for view in views if bundle_of(view.row) == name]]
    ]
    return {
        "summary": summary,
        "rows": [
            (row, _title(row), paper_losses(row) if summary.is_paper else None, _is_misprinted(row))
            for row in summary.rows
        ],
        "inputs": [(entry, *_input_images(entry, folder)) for entry in summary.inputs],
        "claims": evaluate_claims(summary.rows, summary.is_imagenet) if summary.is_paper else [],
        "failures": _failures(summary.rows),
        "comparisons": [
            (picture, _comparison(picture, done, curves)) for picture in dict.fromkeys(row.picture for row in done)
        ],
        "groups": groups,
        "done": len(done),
        "seconds": sum(row.seconds for row in done),
    }


def _failures(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Returns the names of the cells that failed, by the reason, which many cells may share."""
    cells: dict[str, list[str]] = {}
    for row in rows:
        if row.status == "failed":
            cells.setdefault(row.problem, []).append(row.cell)
    return cells


def _view(row: Row, original: Path, losses: LossHistory, folder: Folder) -> CellView:
    after = read_picture(folder.results(row.cell).picture)
    before = read_picture(original)
    height, width = after.pixels.shape[:2]
    return CellView(
        row=row,
        before=_image(resize(before.pixels, width, height), before.icc, _DREAM_SIDE),
        after=_image(after.pixels, after.icc, _DREAM_SIDE),
        strip={step: _read_image(path, _STRIP_SIDE) for step, path in folder.snapshots(row.cell).items()},
        curve=_svg(draw_losses(losses, row.picture, PAGE), f"{row.cell}-losses"),
        as_paper=_svg(draw_as_paper(losses, row.picture, PAGE), f"{row.cell}-as-paper"),
        points=losses.paper_points(),
    )


def _comparison(picture: str, done: list[Row], curves: dict[str, LossHistory]) -> Markup:
    of_picture = {bundle_of(row): curves[row.cell] for row in done if row.picture == picture}
    return _svg(draw_comparison(of_picture, picture, PAGE), f"{picture}-compared")


def _input_images(entry: Input, folder: Folder) -> tuple[EmbeddedImage, EmbeddedImage]:
    source = Path(entry.file)
    return _read_image(folder.original(source), _REAL_SIDE), _read_image(folder.shrunk(source), _REAL_SIDE)


def _read_image(path: Path, side: int) -> EmbeddedImage:
    picture = read_picture(path)
    return _image(picture.pixels, picture.icc, side)


def _image(pixels: Pixels, icc: bytes | None, side: int) -> EmbeddedImage:
    """Embeds a picture, shrunk to `side` pixels at most, as WebP."""
    small = shrink(pixels, side)
    data, _ = encode_picture(small, ".webp", icc)
    uri = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
    return EmbeddedImage(uri, small.shape[1], small.shape[0])


def _svg(figure: Figure, name: str) -> Markup:
    return Markup(page_svg(figure, name))  # matplotlib has escaped the names in it


def _title(row: Row) -> str:
    try:
        backbone = find_backbone(row.backbone).title
    except UnknownBackboneError:
        backbone = row.backbone
    return f"{backbone}, {row.layer_set}"


def _is_misprinted(row: Row) -> bool:
    """Whether the paper prints the losses of another cell for this one."""
    return (row.backbone, row.layer_set, paper_picture(row.picture)) == MISPRINTED
