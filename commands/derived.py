"""Commands whose options are derived from the descriptions of settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from .messages import log_line, log_nothing, one_line_failures

if TYPE_CHECKING:
    from ..runtime.batch.terminal import Verbosity
    from ..runtime.settings.options import Option


class DerivedCommand(TyperCommand):
    """A command whose options are derived from settings.

    They are looked up only when the command or its help is asked for, so that other commands do not import the runtime.
    """

    def get_params(self, context: Any) -> Any:
        if not self.params:
            with one_line_failures():
                self.params = _parameters(self._options())
        return super().get_params(context)

    def invoke(self, context: Any) -> Any:
        options = {name: value for name, value in context.params.items() if value not in (None, [], ())}
        is_quiet, is_verbose = (options.pop(name, False) for name in ("quiet", "verbose"))
        if is_quiet and is_verbose:
            raise typer.BadParameter("--quiet and --verbose contradict each other: give one of them")
        progress = options.pop("progress", "auto")
        if progress not in ("auto", "json"):
            raise typer.BadParameter(f"--progress is auto or json, not {progress!r}")
        verbosity: Verbosity = "quiet" if is_quiet else "verbose" if is_verbose else "normal"
        with one_line_failures():
            self._run(options, log_nothing if is_quiet else log_line, verbosity)

    def _options(self) -> list[inspect.Parameter]:
        raise NotImplementedError

    def _run(self, options: dict[str, Any], log: Callable[[str], None], verbosity: Verbosity) -> None:
        """Runs the command with the options that the user gave."""
        raise NotImplementedError


def _parameters(options: list[inspect.Parameter]) -> Any:
    """The click parameters that typer makes of a function's parameters."""

    def command() -> None: ...

    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    command.__annotations__ = {option.name: option.annotation for option in options}
    made = typer.Typer(add_completion=False)
    made.command()(command)
    return typer.main.get_command(made).params


def derived_options(arguments: dict[str, Any], options: Iterable[Option]) -> list[inspect.Parameter]:
    """The parameters of a function with these arguments and options; the arguments are types by name."""
    found = dict(arguments)
    for one in options:
        shown = typer.Option(*one.flags, help=one.help, rich_help_panel=one.panel, show_default=False, readable=False)
        found[one.name] = Annotated[one.type | None, shown]
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, kind, default=None, annotation=what) for name, what in found.items()]
