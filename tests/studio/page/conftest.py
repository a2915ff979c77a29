"""A browser, a stand-in of the studio's server, and a page that must stay without errors and requests elsewhere."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from watching import ELSEWHERE, Watch

if TYPE_CHECKING:
    from fake_studio import FakeStudio
    from playwright.sync_api import Browser, Page
    from serve import Server

MISSING = [name for name in ("playwright", "starlette", "uvicorn", "websockets") if not importlib.util.find_spec(name)]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
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


class Unavailable(pytest.Module):
    """A file of tests whose packages are missing."""

    def collect(self) -> list[pytest.Item]:
        raise pytest.skip.Exception(f"needs {', '.join(MISSING)}", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return Unavailable.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("needs chromium, chromium-browser or google-chrome on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def studio() -> FakeStudio:
    from fake_studio import FakeStudio

    return FakeStudio(seconds=0.02)


@pytest.fixture
def server(studio: FakeStudio) -> Iterator[Server]:
    from serve import Server

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
    from playwright.sync_api import expect

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
