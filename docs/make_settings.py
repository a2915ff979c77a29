"""Writes `docs/settings.md`, the list of all settings, from the code: run `python docs/make_settings.py`."""

from __future__ import annotations

from pathlib import Path

from onnxdream.runtime.settings.settings import Execution, Settings, descriptions

PAGE = Path(__file__).with_name("settings.md")
_HEAD = """# Settings

This page lists every setting of a dream with the values it accepts and its default. The defaults are those of the
preset `paper`; other presets have their own. A setting has the same name as an option of `dream` (`--step-size`), as a
key of a config file (`step-size` or `step_size`), in records and in Python (`Settings`, or `Execution` for the last
table). [methods.md](methods.md) explains what the settings do. `python docs/make_settings.py` writes this page from the
code.
"""


def page() -> str:
    """Returns the text of the page."""
    groups: dict[str, list[str]] = {}
    for settings in (Settings, Execution):
        for name, one in descriptions(settings).items():
            where = "presets and config files" if settings is Settings else "Python and records"
            note = "" if one.has_option else f" Only in {where}."
            row = f"| `{name.replace('_', '-')}` | {one.kind} | {one.shown_default} | {one.sentence}{note} |"
            groups.setdefault(one.panel or "Common settings", []).append(row)
    tables = [
        "\n".join([f"## {title}\n", "| setting | accepts | default | meaning |", "|---|---|---|---|", *rows])
        for title, rows in groups.items()
    ]
    return "\n".join([_HEAD, "\n\n".join(tables)]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
