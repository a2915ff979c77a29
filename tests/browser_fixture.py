"""A real browser for tests of pages: Chromium, driven by Playwright.

A test module that imports the fixture `browse` is skipped where either is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# No sandbox for root, no GPU, and nothing that the browser does by itself on the network.
_WORDS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture
def browse() -> Iterator[Callable[[str], Page]]:
    """Opens an address in a new window of a browser, and returns the page.

    The test fails in the end if a page has written an error to its console, thrown an exception, or asked for anything
    that is not at its own address.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    faults: list[str] = []
    with ExitStack() as stack:
        browser = stack.enter_context(playwright.sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=list(_WORDS)
        )
        stack.callback(browser.close)

        def open_page(address: str) -> Page:
            page: Page = browser.new_page()
            _watch(page, _origin(address), faults)
            page.goto(address)
            return page

        yield open_page
    assert not faults


def _watch(page: Any, origin: str, faults: list[str]) -> None:
    """Collects the faults of a page."""

    def on_console(message: Any) -> None:
        if message.type == "error":
            faults.append(f"console: {message.text}")

    def on_request(request: Any) -> None:
        if _origin(request.url) not in (origin, "data", "blob"):
            faults.append(f"request: {request.url}")

    page.on("console", on_console)
    page.on("request", on_request)
    page.on("pageerror", lambda error: faults.append(f"exception: {error}"))


def _origin(address: str) -> str:
    """What a request may not leave: a server, or the files of this machine."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else parts.scheme
