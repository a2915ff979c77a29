"""The commands that dream and draw: `dream`, those of films, and `features`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..models.files import expand_user
from ..models.interrupts import exit_code
from ..models.streams import read_input
from .derived import DerivedCommand, derived_options
from .messages import log_error

if TYPE_CHECKING:
    from ..runtime.batch.terminal import Verbosity
    from ..runtime.dream.request import DreamRequest
    from ..runtime.film.record import FilmKind
    from ..runtime.image.source import Source

_EXAMPLES = Path(__file__).parents[1] / "examples"
_PIPE = Path("-")  # standard input


class DreamCommand(DerivedCommand):
    """The command `dream`."""

    def _options(self) -> list[inspect.Parameter]:
        from ..runtime.settings.options import OPTIONS

        pictures = typer.Argument(
            metavar="IMAGE",
            readable=False,
            help="Pictures or folders of pictures, or - for the bytes of a picture on standard input.",
            show_default=False,
        )
        return derived_options({"images": Annotated[list[Path] | None, pictures]}, OPTIONS)

    def _run(self, options: dict[str, Any], log: Callable[[str], None], verbosity: Verbosity) -> None:
        from ..runtime.batch.run import Reporter, dream_many, dream_named, dream_watched
        from ..runtime.cluster.connection import ClusterOptions
        from ..runtime.dream.request import parse_request

        images = [expand_user(image) for image in options.pop("images", ())]
        _require_input(images.count(_PIPE))
        request = parse_request(options, with_images=bool(images))
        cluster = None if request.cluster is None else ClusterOptions(request.cluster, request.ship)
        if request.job.piped_as:
            _require_no_terminal()
        for line in request.lines:
            log(line)
        if request.config:
            request.config.write()
            log(f"options saved as {request.config.path}")
        reporter = Reporter(log, log_error, verbosity, request.hint)
        if request.watch:
            outcome = dream_watched(request.job, request.watch, reporter, request.recursive, request.workers, cluster)
            raise typer.Exit(exit_code(outcome.signal))  # it ends only by a signal
        if request.config and not request.sources and not images:
            return
        sources, missing = _gathered(request, images, log)
        is_named = images == [_PIPE] or (len(images) == 1 and not os.path.isdir(images[0]))
        if (request.sources or is_named) and not cluster:
            if request.workers:
                log("--workers has no effect on one picture")
            outcome = dream_named(request.job, sources[0], reporter, request.checkpoint)
        else:
            outcome = dream_many(request.job, sources, reporter, request.workers, cluster)
        if outcome.signal:
            raise typer.Exit(exit_code(outcome.signal))
        if request.hint and not outcome.failed:
            log(request.hint)
        if outcome.failed + missing:
            raise typer.Exit(3 if outcome.done else 1)


def _gathered(request: DreamRequest, images: list[Path], log: Callable[[str], None]) -> tuple[list[Source], int]:
    """The pictures to dream, and the number of paths that have none; ends the command where there is no picture."""
    from ..runtime.batch.plan import gather_pictures
    from ..runtime.image.files import MAX_BYTES
    from ..runtime.image.source import Source

    if request.sources:
        return list(request.sources), 0
    named = [image for image in images if image != _PIPE]
    sources, missing = gather_pictures(named, log_error, _EXAMPLES, log, request.recursive)
    if _PIPE in images:
        sources.insert(0, Source.of_input(read_input(MAX_BYTES + 1)))  # one more is too large
    if not sources:
        raise typer.Exit(1)
    return sources, missing


def _require_input(times: int) -> None:
    """Refuses to read a picture that is typed, or two of them; `times` is how often the command line has a -."""
    if times > 1:
        raise typer.BadParameter("standard input holds one picture: give - once")
    if times and os.isatty(0):
        raise typer.BadParameter("standard input is a terminal: send a picture to it, as in dream - < bears.jpg")


def _require_no_terminal() -> None:
    if os.isatty(1):
        raise typer.BadParameter(
            "standard output is a terminal: send the picture on, as in dream bears.jpg --output - > dream.png"
        )


class FilmCommand(DerivedCommand):
    """The commands `film`, `zoom` and `travel`."""

    @property
    def _kind(self) -> FilmKind:
        return cast("FilmKind", self.name)

    def _options(self) -> list[inspect.Parameter]:
        from ..runtime.film.request import film_options

        read = "The film to dream." if self._kind == "film" else "The picture to start from."
        metavar = "FILM" if self._kind == "film" else "IMAGE"
        write = "The .mp4, .webm, .gif or .webp to write."
        arguments = {
            "source": Annotated[Path | None, typer.Argument(metavar=metavar, help=read, show_default=False)],
            "target": Annotated[Path | None, typer.Argument(metavar="OUTPUT", help=write, show_default=False)],
        }
        return derived_options(arguments, film_options(self._kind))

    def _run(self, options: dict[str, Any], log: Callable[[str], None], verbosity: Verbosity) -> None:
        from ..runtime.film.command import make_at_terminal
        from ..runtime.film.request import parse_film

        source, target = (options.pop(name, None) for name in ("source", "target"))
        request = parse_film(self._kind, source and expand_user(source), target and expand_user(target), options)
        for line in request.lines:
            log(line)
        signal = make_at_terminal(request, log, verbosity == "quiet")
        if signal:
            raise typer.Exit(exit_code(signal))


class FeaturesCommand(DerivedCommand):
    """The command `features`."""

    def _options(self) -> list[inspect.Parameter]:
        from ..runtime.features.request import feature_options

        named = typer.Argument(
            metavar="FEATURE",
            help="Layers, channels or classes: mixed4, mixed4:40,41 or logits:castle.",
            show_default=False,
        )
        return derived_options({"named": Annotated[list[str] | None, named]}, feature_options())

    def _run(self, options: dict[str, Any], log: Callable[[str], None], verbosity: Verbosity) -> None:
        from ..runtime.features.command import draw_at_terminal
        from ..runtime.features.request import parse_feature_request

        request = parse_feature_request(list(options.pop("named", ())), options)
        signal = draw_at_terminal(request, log, verbosity == "quiet")
        if signal:
            raise typer.Exit(exit_code(signal))
