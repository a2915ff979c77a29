"""A browser, a stand-in of the studio's server, and a page that must stay without errors and requests elsewhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright", reason="needs the package playwright")
pytest.importorskip("starlette", reason="needs the extra studio")
pytest.importorskip("uvicorn", reason="needs the extra studio")

from fake_studio import FakeStudio
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from serve import Server

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
ELSEWHERE = "studio.example"  # a name that leads to this machine, but is no safe address to a browser
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--js-flags=--expose-gc",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
]


@dataclass
class Watch:
    """What went wrong in the pages of a test; `allow` names what a test provokes."""

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
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data") and parts.netloc not in self.origins:
            self.faults.append(f"request to {request.url}")

    def check(self) -> None:
        found = [fault for fault in self.faults if not any(re.search(pattern, fault) for pattern in self.allowed)]
        assert not found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def studio() -> FakeStudio:
    return FakeStudio(seconds=0.02)


@pytest.fixture
def server(studio: FakeStudio) -> Iterator[Server]:
    server = Server(studio)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def watch(server: Server) -> Iterator[Watch]:
    watch = Watch({urlsplit(server.address).netloc})
    yield watch
    watch.check()


@pytest.fixture
def patience() -> int:
    """How long anything is waited for, in milliseconds."""
    return 15_000


@pytest.fixture
def open_page(browser: Browser, server: Server, watch: Watch, patience: int) -> Iterator[Callable[..., Page]]:
    """Opens the page in a browser of its own; the arguments are those of a new context, `address` that of the page."""
    contexts = []
    expect.set_options(timeout=patience)

    def open_page(address: str | None = None, **options: Any) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1400, "height": 900}, "reduced_motion": "reduce", **options}
        )
        context.set_default_timeout(patience)
        contexts.append(context)
        page = context.new_page()
        watch.follow(page)
        page.goto(address or server.address)
        page.wait_for_selector("#looks label")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()
