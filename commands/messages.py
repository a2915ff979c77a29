"""What the command line prints: lines and errors on standard error, each in one line, and tables."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import typer

from ..models.errors import OnnxdreamError
from ..models.interrupts import received
from ..models.streams import event_stream

# The classes of characters that embed, override or isolate a direction of writing, up to one that ends it.
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def log_line(line: str) -> None:
    print(_one_line(line), file=sys.stderr)


def log_nothing(line: str) -> None:
    """Stands in for `log_line` where only errors are shown."""


def log_error(line: str) -> None:
    events = event_stream()
    if events:
        events.send("error", text=line)
    else:
        print(f"error: {_one_line(line)}", file=sys.stderr)


def _one_line(text: str) -> str:
    """A message with escapes for what breaks a line or turns its direction, since the name of a file may have some.

    What joins the parts of an emoji, or marks a direction in one place only, stays: names are to be read as written.
    """
    return "".join(repr(one)[1:-1] if _breaks_line(one) else one for one in text)


def _breaks_line(character: str) -> bool:
    """Whether it is a control character, a separator of lines, or turns the direction of the text behind it."""
    is_turning = unicodedata.bidirectional(character) in _TURNING
    return is_turning or unicodedata.category(character) in ("Cc", "Zl", "Zp")


@contextmanager
def one_line_failures() -> Iterator[None]:
    """Turns the errors of a stage into one line and an exit code."""
    try:
        yield
    except (OnnxdreamError, ImportError) as error:
        if received():
            raise KeyboardInterrupt from error
        log_error(str(error))
        raise typer.Exit(getattr(error, "exit_code", 1)) from None


def print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # Without a terminal, a row still takes one line.
    Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(table)
