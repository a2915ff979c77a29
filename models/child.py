"""Python processes of onnxdream's own, for work that must not share a process with the caller."""

from __future__ import annotations

import sys

# Python puts the current folder first on the path, where a user's `random.py` would take a module's place.
_SAFE_PATH = "import sys; sys.path[:] = [entry for entry in sys.path if entry]; "
_RUN_MODULE = "del sys.argv[0]; import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"


def code_command(code: str, *words: object) -> list[str]:
    """Returns the command line that runs Python code in a new process, with the words in `sys.argv[1:]`.

    The process imports nothing from the current folder.
    """
    return [sys.executable, "-c", _SAFE_PATH + code, *map(str, words)]


def module_command(module: str, *words: object) -> list[str]:
    """Returns the command line that runs a module in a new process as `python -m` does, but as `code_command` says."""
    return code_command(_RUN_MODULE, module, *words)
