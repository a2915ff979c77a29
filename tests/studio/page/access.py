"""A small check of a page for people who hear it, use its keys, or see little."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

_CHECK = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def access_faults(page: Page) -> list[str]:
    """What is wrong with the page as it is now, a line for each fault."""
    found: list[str] = page.evaluate(_CHECK)
    return found
