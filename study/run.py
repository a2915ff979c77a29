"""Running a grid: every cell that is not done yet, with what is known of all of them kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..models.backbones import UnknownBackboneError, find_backbone
from ..models.errors import OnnxdreamError
from ..runtime.ascent.ascent import Step
from ..runtime.batch import gather_pictures, interruptible
from ..runtime.bundle.bundle import Bundle
from ..runtime.bundle.sessions import Sessions
from ..runtime.dream.progress import DreamProgress
from ..runtime.dream.record import Record
from ..runtime.dream.writer import Job
from ..runtime.errors import ProviderError
from ..runtime.image.source import Source
from ..runtime.settings.config import execution_of, settings_changes
from ..runtime.settings.presets import PRESETS, find_preset, settings_for_bundle
from ..runtime.settings.settings import Settings
from .bundles import get_bundle
from .cells import Cell
from .errors import GridError
from .estimate import estimate, in_words
from .folder import Folder
from .grid import BundleSpec, Grid
from .inputs import keep_input
from .summary import Input, Row, Summary

Log = Callable[[str], None]


@dataclass(frozen=True)
class Reporter:
    """How a study speaks to its user, and where example pictures lie that it may hint at."""

    log: Log
    log_error: Log
    examples: Path


@dataclass(frozen=True)
class Outcome:
    """What came of it; `interrupted` by Ctrl-C."""

    summary: Summary
    interrupted: bool

    @property
    def failed(self) -> int:
        """How many cells failed."""
        return sum(row.status == "failed" for row in self.summary.rows)


class Study:
    """A grid on its way into a result folder. Raises GridError, DreamError and ResultsError."""

    def __init__(self, grid: Grid, folder: Folder, reporter: Reporter) -> None:
        self._grid, self._folder, self._reporter = grid, folder, reporter
        self._changes = {**settings_changes(grid.options), "execution": execution_of(grid.options)}
        self._preset = find_preset(grid.options["preset"]) if "preset" in grid.options else None
        self._settings = replace((self._preset or PRESETS["paper"]).settings, **self._changes)
        self._sources = _sources(grid, reporter)
        self._inputs: dict[str, Input] = {}
        self._rows: dict[str, Row] = {}
        self._versions: dict[str, str] = {}

    def run(self) -> Outcome:
        """Exports what is missing, estimates, dreams every open cell; the summary is written after each."""
        for source in self._sources:
            kept = keep_input(source.path, self._settings.max_size, self._folder)
            if kept:
                self._inputs[kept.name] = kept
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
            return Outcome(self._summary(), interrupted())

    def _prepare(self, interrupted: Callable[[], bool]) -> list[Cell]:
        """The cells that can be run, and a row for every cell; those of one bundle follow each other by size."""
        cells: list[Cell] = []
        by_size = sorted(self._sources, key=lambda source: source.dreamed_size(self._settings.max_size))
        for spec, name in zip(self._grid.bundles, self._grid.bundle_names, strict=True):
            bundle, problem = None, ""
            try:
                bundle = None if interrupted() else get_bundle(spec, self._reporter.log)
                settings = self._fitted(bundle, name) if bundle else self._settings
            except OnnxdreamError as error:
                problem = "" if interrupted() else str(error)
                bundle = None
            if problem:
                self._reporter.log_error(problem)
            for source in self._sources:
                row = self._row(f"{name}-{source.path.stem}", spec, bundle, source, problem)
                self._rows[row.cell] = row
            if bundle:
                sessions = Sessions(bundle)
                cells += [self._cell(f"{name}-{source.path.stem}", sessions, settings, source) for source in by_size]
        for cell in cells:
            record = cell.record()
            if record:
                self._rows[cell.name] = self._done(cell, record)
        return cells

    def _fitted(self, bundle: Bundle, name: str) -> Settings:
        settings, notice = settings_for_bundle(self._preset, bundle.metadata, self._changes)
        settings.weights_of(bundle.metadata.layer_names)
        if notice:
            self._reporter.log(f"{name}: {notice}")
        return settings

    def _cell(self, name: str, sessions: Sessions, settings: Settings, source: Source) -> Cell:
        results = self._folder.results(name)
        mask, guide = (Path(aid) if aid else None for aid in map(self._grid.options.get, ("mask", "guide")))
        job = Job(sessions.bundle, settings, results.picture, True, mask=mask, guide=guide, sessions=sessions)
        return Cell(name, source, job, results)

    def _announce(self, cells: Sequence[Cell], open_cells: Sequence[Cell]) -> None:
        done, total = len(cells) - len(open_cells), len(self._rows)
        line = f"{total} cell{'s' if total > 1 else ''}" + (f", {done} of them done already" if done else "")
        if open_cells:
            with suppress(ProviderError):  # every cell will say it
                if notice := open_cells[0].job.choice.notice:
                    self._reporter.log(notice)
            self._reporter.log("trying a few steps to tell the time it takes")
            line += f"; {len(open_cells)} to run take about {in_words(estimate(open_cells))}"
        self._reporter.log(line)

    def _run_cell(self, cell: Cell, number: str, interrupted: Callable[[], bool]) -> None:
        settings = cell.job.settings
        try:
            with DreamProgress(f"{number} {cell.name}", settings.steps * settings.octaves) as progress:

                def on_step(step: Step) -> bool:
                    progress.show(step)
                    return interrupted()

                record = cell.run(self._reporter.log, on_step)
        except Exception as error:  # hours of other cells must not hang on one, whatever it fails at
            ours = isinstance(error, OnnxdreamError)
            problem = str(error) if ours else f"{type(error).__name__}: {error}"
            self._rows[cell.name] = replace(self._rows[cell.name], status="failed", problem=problem)
            self._reporter.log_error(f"{cell.name}: {problem}")
            return
        if record.ended == "stopped":
            self._reporter.log(f"{cell.name}: stopped after {record.steps_done} steps, the same command goes on")
            return
        self._rows[cell.name] = self._done(cell, record)
        self._reporter.log(
            f"{number} {cell.name}: loss {record.first_loss:.4g} → {record.last_loss:.4g} in {in_words(record.seconds)}"
        )

    def _row(self, cell: str, spec: BundleSpec, bundle: Bundle | None, source: Source, problem: str) -> Row:
        """What is known of a cell before it is run."""
        card = spec.backbone
        layers = bundle.metadata.layer_names if bundle else spec.layer_names(card) if card else ()
        backbone = bundle.metadata.backbone if bundle else card.name if card else spec.model
        kept = self._inputs.get(source.path.stem)
        return Row(
            cell=cell,
            bundle=bundle.name if bundle else "",
            backbone=backbone,
            layer_set=_set_of(backbone, layers),
            layers=layers,
            weights=bundle.metadata.weights.source if bundle else Path(spec.weights).name if card else "",
            objective=bundle.metadata.objective if bundle else spec.objective,
            picture=source.path.stem,
            status="failed" if problem else "open",
            problem=problem,
            colourfulness=kept.colourfulness if kept else 0.0,
        )

    def _done(self, cell: Cell, record: Record) -> Row:
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
            changes=_changes_of_paper(self._settings),
            inputs=tuple(self._inputs.values()),
            rows=tuple(self._rows.values()),
            versions=self._versions,
        )


def _sources(grid: Grid, reporter: Reporter) -> list[Source]:
    sources, missing = gather_pictures(grid.images, reporter.log_error, reporter.examples)
    if missing:
        raise GridError("a study starts only with all its pictures there")
    names = [source.path.stem for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GridError(f"two pictures are called {twice[0]}: rename one, cells are named after them")
    return sources


def _set_of(backbone: str, layers: tuple[str, ...]) -> str:
    """The name of a layer set, or the layers."""
    try:
        name = find_backbone(backbone).set_of(layers)
    except UnknownBackboneError:
        name = None
    return name or ", ".join(layers)


def _changes_of_paper(settings: Settings) -> tuple[str, ...]:
    """How settings differ from the preset `paper`, in words."""
    paper = asdict(PRESETS["paper"].settings)
    return tuple(
        f"{name.replace('_', ' ')} {value} (paper preset: {paper[name]})"
        for name, value in asdict(settings).items()
        if name != "execution" and value != paper[name]
    )
