"""Writes `docs/settings.md`, the list of all settings, from their descriptions: `python docs/make_settings.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnxdream.runtime.settings.settings import Execution, Settings, described

PAGE = Path(__file__).with_name("settings.md")
_HEAD = """# Settings

Every setting of a dream, with what it accepts and its default (that of the preset `paper`; other presets have their
own). The names are the same as options of `dream` (`--step-size`), as keys of a config file (`step-size` or
`step_size`), in records and in Python (`Settings`; those of the last table are `Execution`). [methods.md](methods.md)
explains what they do. This page follows from the code: `python docs/make_settings.py` writes it.
"""


def page() -> str:
    """The page's text."""
    groups: dict[str, list[str]] = {}
    for settings in (Settings, Execution):
        for name, one in described(settings).items():
            where = "presets and config files" if settings is Settings else "Python and records"
            note = f" ({where} only)" if one.of_presets else ""
            default = _shown(getattr(settings(), name))
            row = f"| `{name.replace('_', '-')}` | {one.kind} | {default} | {one.sentence.removesuffix('.')}{note} |"
            groups.setdefault(one.panel or "First of all", []).append(row)
    tables = [
        "\n".join([f"## {title}\n", "| setting | accepts | default | |", "|---|---|---|---|", *rows])
        for title, rows in groups.items()
    ]
    return "\n".join([_HEAD, "\n\n".join(tables)]) + "\n"


def _shown(value: Any) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
