"""The page with the real server: a dream from a sample to a saved file, and dreams that live on without the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser_fixture import Watch
from playwright.sync_api import Page, expect
from serve import free_port
from steps import canvas_sum, give_sample, set_slider, still, wait_for_picture, wait_for_state, wait_until
from studio_server import Server

ENDLESS = 100_000  # steps of an octave


@pytest.fixture
def start_server(tmp_path: Path, home: Path) -> Iterator[Callable[[], Server]]:
    """Starts the studio on its folder and port, again after it was killed."""
    servers: list[Server] = []
    port = str(free_port())

    def start() -> Server:
        servers.append(Server(tmp_path / "dreams", home, "--port", port))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.close()


@pytest.fixture
def patience() -> int:
    return 60_000


@pytest.fixture
def server(start_server: Callable[[], Server]) -> Server:
    return start_server()


def prepare(page: Page, steps: int = 60) -> None:
    """Gives the cat, small enough for a test, and with the default look on lite0."""
    give_sample(page)
    page.locator("#setting-max_size").fill("160")
    page.locator("#setting-octaves").fill("2")
    page.locator("#setting-steps").fill(str(steps))


def dream(page: Page) -> None:
    page.get_by_role("button", name="Dream", exact=True).click()
    expect(page.locator("#figures")).to_contain_text("step")
    wait_for_picture(page)


def state_in(file: Path) -> str:
    """The state of a job that a studio that begins anew will find."""
    return str(json.loads(file.read_text())["state"])


def newest_loss(page: Page) -> str:
    """The last point of the curve; earlier ones may have been thinned in one page and not in another."""
    return (page.locator("#curve .line").get_attribute("d") or "").split("L")[-1]


def test_a_dream_from_a_sample_to_a_file(page: Page, server: Server) -> None:
    prepare(page, ENDLESS)
    expect(page.get_by_role("radio", name="Creatures")).to_be_checked()
    expect(page.locator("#estimate")).to_contain_text("160 × 106")
    dream(page)
    wait_for_state(page, "Dreaming")
    first = canvas_sum(page)
    wait_until(page, lambda: canvas_sum(page) != first)
    page.get_by_role("button", name="Pause").click()
    wait_for_state(page, "Paused")
    [job] = server.ask("GET", "/api/jobs").json["jobs"]
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator("#figures")).to_contain_text(f"step {job['step'] + 1} of {2 * ENDLESS}")
    set_slider(page, "#setting-blend-slider", 0.9)
    page.get_by_role("button", name="Go on").click()
    wait_for_state(page, "Dreaming")
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "Stopped")
    page.get_by_role("button", name="Go on").click()
    wait_for_state(page, "Dreaming")
    page.locator("#setting-steps").fill("20")
    page.locator("#setting-steps").press("Tab")
    wait_for_state(page, "Finished")
    job = server.ask("GET", f"/api/jobs/{job['id']}").json
    assert job["settings"]["blend"] == 0.9
    assert [list(change["settings"]) for change in job["changes"]] == [["blend"], ["steps"]]

    page.get_by_role("button", name="Compare").click()
    line = page.get_by_role("slider", name="Compare")
    line.press("Home")
    dreamed = canvas_sum(page)
    line.press("End")
    assert canvas_sum(page) != dreamed
    page.get_by_role("button", name="Save…").click()
    for name in ("PNG", "JPEG", "Record"):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        path = download.value.url.removeprefix(server.address.rstrip("/"))
        assert Path(download.value.path()).read_bytes() == server.ask("GET", path).data
    expect(page.get_by_label("The command line")).to_have_value(job["command"])
    page.keyboard.press("Escape")

    page.get_by_role("button", name="New picture").click()
    page.get_by_role("button", name="Reset Blend to the look's value").click()
    page.get_by_role("button", name="What to do with cat").click()
    page.get_by_role("button", name="Use its settings").click()
    expect(page.locator("#setting-blend")).to_have_value("0.9")


def test_a_reload_and_a_second_tab_show_the_dream_that_runs(page: Page, open_page: Callable[..., Page]) -> None:
    prepare(page, ENDLESS)
    dream(page)
    page.reload()
    wait_for_picture(page)
    wait_for_state(page, "Dreaming")
    other = open_page()
    wait_for_state(other, "Dreaming")
    other.get_by_role("button", name="Pause").click()
    wait_for_state(page, "Paused")
    for seen in (still, lambda page: page.locator("#figures").inner_text(), newest_loss):
        wait_until(page, lambda seen=seen: seen(page) == seen(other))
    page.get_by_role("button", name="Stop").click()
    wait_for_state(other, "Stopped")


def test_a_server_that_is_killed_goes_on_where_it_was(
    page: Page, server: Server, start_server: Callable[[], Server], watch: Watch
) -> None:
    watch.allow("ERR_", "WebSocket", "Failed to load resource")
    prepare(page, 5)
    dream(page)
    wait_for_state(page, "Finished")
    page.locator("#setting-steps").fill(str(ENDLESS))
    dream(page)
    wait_for_state(page, "Dreaming")
    files = server.folder / "jobs"
    wait_until(page, lambda: {state_in(file) for file in files.glob("*/job.json")} == {"finished", "running"})
    server.kill()
    expect(page.locator("#link")).to_contain_text("The studio is away")
    start_server()
    expect(page.locator("#link")).to_have_text("Back again")
    expect(page.locator("#history li")).to_have_count(2)
    wait_for_state(page, "Dreaming")
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "Stopped")


def test_a_photograph_of_the_camera_comes_in(open_page: Callable[..., Page]) -> None:
    page = open_page(permissions=["camera"])
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the picture").click()
    expect(page.locator("#source-body")).to_contain_text("camera")
    wait_for_picture(page)
