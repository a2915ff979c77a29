"""A real browser for tests of pages: Chromium, driven by Playwright.

A test that uses it is skipped where either is missing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ELSEWHERE = "studio.example"  # a name that leads to this machine, but is no safe address to a browser
# No sandbox for root, no GPU, and nothing that the browser does by itself on the network.
_WORDS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"),
)


@contextmanager
def chromium(*words: str) -> Iterator[Browser]:
    """A browser, started with more words on its command line."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if _CHROMIUM is None:
        pytest.skip("needs chromium, chromium-browser or google-chrome on the path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=_CHROMIUM, args=[*_WORDS, *words])
        yield browser
        browser.close()


@dataclass
class Watch:
    """What went wrong in the pages of a test: errors, warnings, and requests to other origins than these.

    `allowed` are patterns of what a test provokes.
    """

    origins: set[str] = field(default_factory=set)
    allowed: list[str] = field(default_factory=lambda: ["willReadFrequently"])  # of the canvas that tests read
    faults: list[str] = field(default_factory=list)

    def allow(self, *patterns: str) -> None:
        self.allowed += patterns

    def follow(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _request(self, request: Request) -> None:
        if origin(request.url) not in {"blob", "data", *self.origins}:
            self.faults.append(f"request to {request.url}")

    def check(self) -> None:
        found = [fault for fault in self.faults if not any(re.search(pattern, fault) for pattern in self.allowed)]
        assert not found


@pytest.fixture
def browse() -> Iterator[Callable[[str], Page]]:
    """Opens an address in a new window of a browser, and returns the page, which must stay without faults."""
    watch = Watch()
    with chromium() as browser:

        def open_page(address: str) -> Page:
            page: Page = browser.new_page()
            watch.origins.add(origin(address))
            watch.follow(page)
            page.goto(address)
            return page

        yield open_page
    watch.check()


def origin(address: str) -> str:
    """What a request may not leave: a server, or the files of this machine."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else parts.scheme
