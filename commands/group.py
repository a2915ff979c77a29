"""The group of all commands, which ends each with one line and an exit code, whatever goes wrong."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from ..models.interrupts import ending_signals, exit_code, received
from ..models.streams import StreamError, filtered_import, tolerant_streams
from .messages import log_error

# Typer raises click's usage errors, or those of its own copy of click, depending on its version.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class CommandGroup(TyperGroup):
    """A command group that reports errors in one line, and ends with an exit code also after a signal."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        words = sys.argv[1:] if args is None else args
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reads it when it is imported
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads would wait for the cores of onnxruntime's
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # and TensorRT has no other switch for TF32
        # onnxruntime 1.23 to 1.30 warn where the first graphics card is no PCI device, as on Jetsons and in WSL2, and
        # TensorFlow where there is no card, which exports need not have.
        with (
            tolerant_streams(_asks_for_events(words)),
            filtered_import("onnxruntime", "device_discovery.cc"),
            filtered_import("tensorflow", "absl::InitializeLog", "cudart_stub.cc"),
            ending_signals(),
        ):
            code = self._run(words, *more, **extra)
            # Python remembers an interruption of a text that it executes, as dataclasses have it do on import, and ends
            # `python -m` by SIGINT, whatever the exit code; it forgets it with the next text.
            exec("")
            sys.exit(code)

    def _run(self, words: Sequence[str], *more: Any, **extra: Any) -> int:
        """Runs a command and returns its exit code."""
        try:
            code: int = super().main(words, *more, **{**extra, "standalone_mode": False}) or 0
            sys.stdout.flush()
        except UsageError as error:
            dashed = [word for word in words if word.startswith("-") and os.path.exists(word)]
            advice = f"write the file as {os.path.join(os.curdir, dashed[0])}" if dashed else "see --help"
            log_error(f"{error.format_message()} ({advice})")  # type: ignore[attr-defined]
            return 2
        except StreamError as error:
            log_error(str(error))
            return 1
        except (typer.Abort, KeyboardInterrupt):
            return exit_code(received())
        except Exception:
            if received():  # a signal during an import of C code appears as another error
                return exit_code(received())
            raise
        return exit_code(received()) if received() else code  # typer turns an interruption into 130, whatever it was


def _asks_for_events(words: Sequence[str]) -> bool:
    """Whether a command line has --progress json, looked up before it is parsed: its own errors are events, too."""
    return "--progress=json" in words or ("--progress", "json") in itertools.pairwise(words)
