"""Runs a grid: dreams every cell that is not done yet, and writes the numbers of all cells after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..models.backbones import UnknownBackboneError, find_backbone
from ..models.errors import OnnxdreamError
from ..models.interrupts import interruptible
from ..models.wording import counted, format_duration
from ..runtime.ascent.step import Step
from ..runtime.batch.plan import gather_pictures
from ..runtime.batch.terminal import Interrupted, describe_losses
from ..runtime.bundle.bundle import Bundle, precision_of_bundle
from ..runtime.bundle.sessions import Sessions
from ..runtime.dream.progress import DreamProgress
from ..runtime.dream.record import Record
from ..runtime.dream.writer import Callbacks, Job
from ..runtime.errors import ProviderError
from ..runtime.image.source import Source
from ..runtime.settings.config import execution_of, settings_changes
from ..runtime.settings.presets import PRESETS, find_preset, settings_for_bundle
from ..runtime.settings.settings import Settings
from .bundles import get_bundle
from .cells import Cell
from .errors import ExportFailedError, GridError
from .estimate import estimate
from .folder import Folder
from .grid import FILES, BundleSpec, Grid
from .inputs import copy_input
from .summary import Input, Row, Summary, require_same_study

Log = Callable[[str], None]


@dataclass(frozen=True)
class Reporter:
    """Prints a study's messages; `examples` is the folder whose pictures a message may suggest."""

    log: Log
    log_error: Log
    examples: Path


@dataclass(frozen=True)
class StudyResult:
    """The numbers of a study that ended; `interrupted` is the number of the signal that ended it, or None."""

    summary: Summary
    interrupted: int | None

    @property
    def failed(self) -> int:
        """The number of cells that failed."""
        return sum(row.status == "failed" for row in self.summary.rows)


class Study:
    """Runs a grid and writes its results into a folder. Raises GridError, DreamError and ResultsError."""

    def __init__(self, grid: Grid, folder: Folder, reporter: Reporter) -> None:
        self._grid, self._folder, self._reporter = grid, folder, reporter
        self._changes = {**settings_changes(grid.options), "execution": execution_of(grid.options)}
        self._preset = find_preset(grid.options["preset"]) if "preset" in grid.options else None
        self._settings = replace((self._preset or PRESETS["paper"]).settings, **self._changes)
        self._sources = _sources(grid, folder, reporter)
        self._inputs: dict[str, Input] = {}
        self._rows: dict[str, Row] = {}
        self._versions: dict[str, str] = {}

    def run(self) -> StudyResult:
        """Exports missing bundles, estimates the time, and dreams the open cells; writes the summary after each."""
        names = {_cell_name(name, source) for name in self._grid.bundle_names for source in self._sources}
        require_same_study(self._folder, self._grid.is_paper, names)
        for source in self._sources:
            copied = copy_input(source.path, self._settings.max_size, self._folder)
            if copied:
                self._inputs[copied.name] = copied
        with interruptible() as interrupted:
            cells = self._prepare(interrupted)
            open_cells = [cell for cell in cells if self._rows[cell.name].status == "open"]
            self._summary().write(self._folder)
            self._announce(cells, open_cells)
            for number, cell in enumerate(open_cells, 1):
                if interrupted():
                    break
                self._run_cell(cell, f"{number}/{len(open_cells)}", interrupted)
                self._summary().write(self._folder)
                if number == len(open_cells) or open_cells[number].job.sessions is not cell.job.sessions:
                    cell.job.sessions.forget()
            return StudyResult(self._summary(), interrupted())

    def _prepare(self, interrupted: Interrupted) -> list[Cell]:
        """Returns the cells whose bundle could be loaded, and fills `_rows` with the rows of all cells.

        The cells of one bundle follow each other, sorted by size, so that they share sessions.
        """
        cells: list[Cell] = []
        reasons: dict[str, str] = {}  # each reason for a failure -> the first bundle that failed for it
        by_size = sorted(self._sources, key=lambda source: source.dreamed_size(self._settings.max_size))
        precision = precision_of_bundle(self._settings.execution.precision)
        for spec, name in zip(self._grid.bundles, self._grid.bundle_names, strict=True):
            bundle, problem, reason = None, "", ""
            try:
                bundle = None if interrupted() else get_bundle(replace(spec, precision=precision), self._reporter.log)
                settings = self._fit_settings(bundle, name) if bundle else self._settings
            except OnnxdreamError as error:
                bundle = None
                if not interrupted():
                    problem = str(error)
                    reason = error.reason if isinstance(error, ExportFailedError) else problem
            if problem:
                same = reasons.setdefault(reason, name)
                self._reporter.log_error(problem if same == name else f"{name}: the same problem as with {same}")
            for source in self._sources:
                row = self._row(_cell_name(name, source), spec, bundle, source, reason)
                self._rows[row.cell] = row
            if bundle:
                sessions = Sessions(bundle)
                cells += [self._cell(_cell_name(name, source), sessions, settings, source) for source in by_size]
        for cell in cells:
            record = cell.record()
            if record:
                self._rows[cell.name] = self._finished_row(cell, record)
        return cells

    def _fit_settings(self, bundle: Bundle, name: str) -> Settings:
        settings, notice = settings_for_bundle(self._preset, bundle.metadata, self._changes)
        settings.weights_of(bundle.metadata.layer_names)
        if notice:
            self._reporter.log(f"{name}: {notice}")
        return settings

    def _cell(self, name: str, sessions: Sessions, settings: Settings, source: Source) -> Cell:
        results = self._folder.results(name)
        mask, guide = (Path(file) if file else None for file in map(self._grid.options.get, FILES))
        job = Job(sessions.bundle, settings, results.picture, True, mask=mask, guide=guide, sessions=sessions)
        return Cell(name, source, job, results)

    def _announce(self, cells: Sequence[Cell], open_cells: Sequence[Cell]) -> None:
        done, total = len(cells) - len(open_cells), len(self._rows)
        line = f"{counted(total, 'cell')} (each one picture dreamed with one bundle)"
        line += f", {done} already done" if done else ""
        if open_cells:
            with suppress(ProviderError):  # every cell will report it
                self._reporter.log(open_cells[0].job.provider_line)
            self._reporter.log("timing a few steps to estimate how long this takes")
            line += f"; {len(open_cells)} to run, about {format_duration(estimate(open_cells))}"
        self._reporter.log(line)

    def _run_cell(self, cell: Cell, number: str, interrupted: Interrupted) -> None:
        try:
            with DreamProgress(f"{number} {cell.name}", self._reporter.log) as progress:

                def on_step(step: Step) -> bool:
                    progress.show(step)
                    return bool(interrupted())

                record = cell.run(Callbacks(progress.log, on_step, progress.start))
        except Exception as error:  # one failed cell must not end hours of other cells, whatever its error is
            expected = isinstance(error, OnnxdreamError)
            problem = str(error) if expected else f"{type(error).__name__}: {error}"
            self._rows[cell.name] = replace(self._rows[cell.name], status="failed", problem=problem)
            self._reporter.log_error(f"{cell.name}: {problem}")
            return
        if record.ended == "stopped":
            self._reporter.log(f"{cell.name}: stopped after {record.steps_done} steps; repeat the command to continue")
            return
        self._rows[cell.name] = self._finished_row(cell, record)
        self._reporter.log(f"{number} {cell.name}: {describe_losses(record)} in {format_duration(record.seconds)}")

    def _row(self, cell: str, spec: BundleSpec, bundle: Bundle | None, source: Source, problem: str) -> Row:
        """Returns the row of a cell that has not been run."""
        backbone = spec.backbone
        layers = bundle.metadata.layer_names if bundle else spec.layer_names(backbone) if backbone else ()
        backbone_name = bundle.metadata.backbone if bundle else backbone.name if backbone else spec.model
        copied = self._inputs.get(source.path.stem)
        return Row(
            cell=cell,
            bundle=bundle.name if bundle else "",
            backbone=backbone_name,
            layer_set=_set_of(backbone_name, layers),
            layers=layers,
            weights=bundle.metadata.weights.source if bundle else Path(spec.weights).name if backbone else "",
            objective=bundle.metadata.objective if bundle else spec.objective,
            picture=source.path.stem,
            status="failed" if problem else "open",
            problem=problem,
            colourfulness=copied.colourfulness if copied else 0.0,
        )

    def _finished_row(self, cell: Cell, record: Record) -> Row:
        height, width = record.octaves[-1].size
        self._versions = record.versions
        return replace(
            self._rows[cell.name],
            status="done",
            key=cell.key,
            steps=record.steps_done,
            width=width,
            height=height,
            first_loss=record.first_loss,
            last_loss=record.last_loss,
            seconds=record.seconds,
            provider=record.execution.provider,
        )

    def _summary(self) -> Summary:
        settings = {name: value for name, value in asdict(self._settings).items() if name != "execution"}
        return Summary(
            is_paper=self._grid.is_paper,
            settings=settings,
            changes=(*_changes_from_paper(self._settings), *_files(self._grid)),
            inputs=tuple(self._inputs.values()),
            rows=tuple(self._rows.values()),
            versions=self._versions,
        )


def _cell_name(bundle: str, source: Source) -> str:
    return f"{bundle}-{source.path.stem}"


def _sources(grid: Grid, folder: Folder, reporter: Reporter) -> list[Source]:
    sources, missing = gather_pictures(grid.images, reporter.log_error, reporter.examples, reporter.log)
    if missing:
        raise GridError("a study needs all its pictures: correct the paths above")
    written: dict[str, str] = {}  # each path of a picture or a cell, whatever its case -> what is written there
    for source in sources:
        results = {folder.results(_cell_name(name, source)).picture: f" with {name}" for name in grid.bundle_names}
        for path, how in {folder.original(source.path): "", folder.shrunk(source.path): "", **results}.items():
            here = f"{source.path}{how}"
            other = written.setdefault(str(path).casefold(), here)
            if other is not here:
                raise GridError(f"{other} and {here} would both be written to {path}: rename a picture")
    return sources


def _set_of(backbone: str, layers: tuple[str, ...]) -> str:
    """Returns the name of the layer set, or the layers separated by commas if they are not a set of the backbone."""
    try:
        name = find_backbone(backbone).set_of(layers)
    except UnknownBackboneError:
        name = None
    return name or ", ".join(layers)


def _files(grid: Grid) -> tuple[str, ...]:
    """Returns a line for the mask and for the guide, if there are any."""
    return tuple(f"{name} {Path(grid.options[name]).name}" for name in FILES if name in grid.options)


def _changes_from_paper(settings: Settings) -> tuple[str, ...]:
    """Returns a line for each setting that differs from the preset `paper`."""
    paper = asdict(PRESETS["paper"].settings)
    return tuple(
        f"{name.replace('_', ' ')} {value} (paper preset: {paper[name]})"
        for name, value in asdict(settings).items()
        if name != "execution" and value != paper[name]
    )
