"""A browser, a stand-in of the studio's server, and a page that must stay without errors and requests elsewhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser_fixture import Watch, chromium, origin

if TYPE_CHECKING:
    from fake_studio import FakeStudio
    from playwright.sync_api import Browser, Page
    from serve import Server

_PAGE = Path(__file__).parents[3] / "studio" / "page"
_MISSING = [name for name in ("playwright", "starlette", "uvicorn", "websockets") if not importlib.util.find_spec(name)]
_MISSING += [] if _PAGE.is_dir() else ["a checkout"]
# A camera that needs no permission, and what the test of memory calls.
_WORDS = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--js-flags=--expose-gc")


class Unavailable(pytest.Module):
    """A file of tests that cannot run, since something is missing."""

    def collect(self) -> list[pytest.Item]:
        raise pytest.skip.Exception(f"needs {', '.join(_MISSING)}", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return Unavailable.from_parent(parent, path=module_path) if _MISSING else None


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*_WORDS) as browser:
        yield browser


@pytest.fixture
def studio() -> FakeStudio:
    from fake_studio import FakeStudio

    return FakeStudio(seconds=0.02, rests_at=20)


@pytest.fixture
def server(studio: FakeStudio) -> Iterator[Server]:
    from serve import Server

    server = Server(studio)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def watch(server: Server) -> Iterator[Watch]:
    watch = Watch({origin(server.address)})
    yield watch
    watch.check()


@pytest.fixture
def patience() -> int:
    """How long anything is waited for, in milliseconds."""
    return 60_000


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
