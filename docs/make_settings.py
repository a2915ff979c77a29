"""Writes docs/settings.md, the list of all settings, from their descriptions: `python docs/make_settings.py`."""

from __future__ import annotations

from pathlib import Path

from onnxdream.runtime.film.settings import Camera, Coherence, Travel
from onnxdream.runtime.settings.settings import Execution, Settings, descriptions

PAGE = Path(__file__).with_name("settings.md")
_HEAD = """# Settings

All settings of a dream, with the values that each accepts and its default. The defaults are those of the preset
`paper`; other presets have their own. A setting has the same name as an option of `dream` (`--step-size`), as a key
of a config file (`step-size` or `step_size`), in records and in Python, where those on where to compute belong to
`Execution` and all others to `Settings`. [methods.md](methods.md) explains what they do. The last tables hold what
the commands `film`, `zoom` and `travel` have besides, which [film.md](film.md) explains. `python
docs/make_settings.py` writes this page from the code.
"""


def page() -> str:
    """Returns the text of the page."""
    groups: dict[str, list[str]] = {}
    for settings in (Settings, Execution):
        for name, setting in descriptions(settings).items():
            where = "presets and config files" if settings is Settings else "config files, Python and records"
            note = "" if setting.has_option else f" Only in {where}."
            key = name.replace("_", "-")
            row = f"| `{key}` | {setting.kind} | {setting.shown_default} | {setting.sentence}{note} |"
            groups.setdefault(setting.panel or "Basic settings", []).append(row)
    for title, film in (("Films", Coherence), ("Zooms", Camera), ("Travels", Travel)):
        groups[f"{title} (`{film.__name__}` in Python)"] = [
            f"| `{name.replace('_', '-')}` | {setting.kind} | {setting.shown_default} | {setting.sentence} |"
            for name, setting in descriptions(film).items()
        ]
    tables = [
        "\n".join([f"## {title}\n", "| setting | accepts | default | meaning |", "|---|---|---|---|", *rows])
        for title, rows in groups.items()
    ]
    return "\n".join([_HEAD, "\n\n".join(tables)]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
