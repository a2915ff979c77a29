"""Jobs live on without the page: a reload, a second tab, no sockets, a server that goes away and comes back."""

from __future__ import annotations

import re
from collections.abc import Callable

from browser_fixture import Watch
from fake_studio import FakeStudio
from playwright.sync_api import Page, expect
from serve import Server
from steps import canvas_sum, dream, finish, give_sample, still, wait_for_picture, wait_for_state, wait_until

AWAY = ("ERR_CONNECTION", "WebSocket", "Failed to fetch", "Failed to load resource")


def test_a_reload_amid_a_dream_goes_on(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.locator("#setting-blend").fill("0.6")
    dream(page)
    page.reload()
    wait_for_picture(page)
    wait_for_state(page, "Dreaming")
    expect(page.locator("#setting-blend")).to_have_value("0.6")
    expect(page.locator("#curve .line")).to_have_attribute("d", re.compile("^M"))
    finish(page, studio)
    expect(page.locator("#curve .line")).to_have_attribute("d", re.compile("^M15.2 "))


def test_a_second_tab_shows_and_steers_the_same_dream(
    page: Page, open_page: Callable[..., Page], studio: FakeStudio
) -> None:
    give_sample(page)
    dream(page)
    other = open_page()
    wait_for_state(other, "Dreaming")
    other.get_by_role("button", name="Pause").click()
    wait_for_state(page, "Paused")
    other.locator("#setting-blend").fill("0.5")
    expect(page.locator("#setting-blend")).to_have_value("0.5")
    assert still(page) == still(other)
    page.get_by_role("button", name="Stop").click()
    wait_for_state(other, "Stopped")


def test_a_dream_is_opened_by_its_address(page: Page, open_page: Callable[..., Page], studio: FakeStudio) -> None:
    give_sample(page)
    dream(page)
    finish(page, studio)
    other = open_page(page.url)
    wait_for_state(other, "Finished")
    other.evaluate("() => { location.hash = '0123456789abcdef'; }")
    expect(other.locator("#toasts")).to_contain_text("This studio has no such dream")
    assert other.url == page.url


def test_an_address_of_a_dream_of_another_studio_is_told(open_page: Callable[..., Page], server: Server) -> None:
    other = open_page(f"{server.address}/#0123456789abcdef")
    expect(other.locator("#toasts")).to_contain_text("This studio has no such dream")
    expect(other.locator("#empty")).to_be_visible()
    assert other.url == f"{server.address}/"


def test_without_sockets_the_page_asks_each_second(
    open_page: Callable[..., Page], studio: FakeStudio, watch: Watch
) -> None:
    watch.allow("WebSocket")
    studio.has_sockets = False
    page = open_page()
    expect(page.locator("#link")).to_contain_text("Without a live connection")
    give_sample(page)
    dream(page)
    first = canvas_sum(page)
    studio.rests_at = 40
    wait_until(page, lambda: canvas_sum(page) != first)
    finish(page, studio)
    studio.has_sockets = True
    page.evaluate("() => dispatchEvent(new Event('online'))")
    expect(page.locator("#link")).to_have_text("")


def test_a_server_that_comes_back_is_found_again(page: Page, studio: FakeStudio, server: Server, watch: Watch) -> None:
    watch.allow(*AWAY)
    give_sample(page)
    dream(page)
    server.stop()
    expect(page.locator("#link")).to_contain_text("The studio is away")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#run-message")).to_contain_text("cannot be reached")
    server.start()
    expect(page.locator("#link")).to_have_text("Back again")
    finish(page, studio)
    expect(page.locator("#history li")).to_have_count(1)


def test_that_the_server_was_away_is_no_longer_told_when_it_is_back(page: Page, server: Server, watch: Watch) -> None:
    watch.allow(*AWAY)
    give_sample(page)
    dream(page)
    page.get_by_role("button", name="Pause").click()
    wait_for_state(page, "Paused")
    server.stop()
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#run-message")).to_contain_text("cannot be reached")
    server.start()
    expect(page.locator("#link")).to_have_text("Back again")
    expect(page.locator("#run-message")).to_have_text("")
    wait_for_state(page, "Paused")


def test_a_page_that_is_opened_before_its_server_waits_for_it(page: Page, server: Server, watch: Watch) -> None:
    watch.allow(*AWAY)
    page.route("**/api/catalogue", lambda route: route.abort())
    page.reload()
    expect(page.locator("#link")).to_contain_text("The studio is away")
    page.unroute("**/api/catalogue")
    give_sample(page)


def test_an_older_frame_never_covers_a_newer_one(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    dream(page)
    page.get_by_role("button", name="Pause").click()
    wait_for_state(page, "Paused")
    newest = still(page)
    [job] = studio.jobs.values()
    page.evaluate(
        """async (header) => { const { showFrame } = await import('/static/viewing.js');
        const canvas = new OffscreenCanvas(60, 40); const context = canvas.getContext('2d');
        context.fillStyle = '#0f0'; context.fillRect(0, 0, 60, 40);
        await showFrame(header, await canvas.convertToBlob({ type: 'image/jpeg' })); }""",
        {**job.header(), "seq": job.seq - 1},
    )
    assert canvas_sum(page) == newest


def test_a_token_that_is_no_longer_right_is_told(page: Page, studio: FakeStudio, server: Server, watch: Watch) -> None:
    watch.allow(*AWAY)
    page.route("**/api/jobs", lambda route: route.fulfill(status=401, json={"error": "no token", "field": None}))
    studio.has_sockets = False
    server.stop()
    server.start()
    expect(page.locator("#link")).to_have_text("The studio was started anew: open the address that it shows.")


def test_notices_of_a_dream_are_shown(page: Page, studio: FakeStudio) -> None:
    studio.notices = ["CUDA does not work here, so the CPU dreams."]
    give_sample(page)
    dream(page)
    expect(page.locator("#notices")).to_have_text("CUDA does not work here, so the CPU dreams.")
