"""How pictures come into the page: samples, choosing, dropping, pasting, the camera; and what is said of bad ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser_fixture import ELSEWHERE, Watch
from fake_studio import FakeStudio
from playwright.sync_api import Page, Route, expect
from serve import Server
from steps import drop_file, give_sample, png, wait_for_picture, wait_until


def test_a_sample_is_one_click_away_and_the_default_look_is_chosen(page: Page, studio: FakeStudio) -> None:
    expect(page.locator("#primary")).to_be_disabled()
    expect(page.get_by_role("radio", name="Creatures")).to_be_checked()
    give_sample(page)
    wait_for_picture(page)
    expect(page.locator("#source-body")).to_contain_text("cat.jpg")
    expect(page.locator("#source-body")).to_contain_text("600 × 399")
    expect(page.locator("#estimate")).to_contain_text("512 × 340 · about")


def test_a_picture_can_be_chosen_and_replaced(page: Page, tmp_path: Path, studio: FakeStudio) -> None:
    (tmp_path / "mine.png").write_bytes(png())
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a picture").click()
    chooser.value.set_files(tmp_path / "mine.png")
    expect(page.locator("#source-body")).to_contain_text("mine.png")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Replace").click()
    chooser.value.set_files({"name": "other.png", "mimeType": "image/png", "buffer": png(9)})
    expect(page.locator("#source-body")).to_contain_text("other.png")
    page.get_by_role("button", name="New picture").click()
    expect(page.locator("#empty")).to_be_visible()


def test_a_picture_can_be_dropped(page: Page) -> None:
    drop_file(page, "dropped.png", png(), "image/png")
    expect(page.locator("#source-body")).to_contain_text("dropped.png")
    expect(page.locator("#drop")).to_be_hidden()


def test_a_picture_can_be_pasted(open_page: Callable[..., Page]) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async (bytes) => { const blob = new Blob([new Uint8Array(bytes)], { type: 'image/png' });
        await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]); }""",
        list(png()),
    )
    page.keyboard.press("Control+V")
    expect(page.locator("#source-body")).to_contain_text("60 × 40")


def test_a_picture_can_be_taken_with_the_camera(open_page: Callable[..., Page]) -> None:
    page = open_page(permissions=["camera"])
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the picture").click()
    expect(page.locator("#source-body")).to_contain_text("camera.jpg")
    expect(page.locator("dialog")).to_have_count(0)


def test_where_there_can_be_no_camera_the_page_says_why(
    open_page: Callable[..., Page], server: Server, watch: Watch
) -> None:
    watch.origins.add(f"http://{ELSEWHERE}:{server.port}")
    page = open_page(f"http://{ELSEWHERE}:{server.port}")
    expect(page.get_by_role("button", name="Use the camera")).to_be_disabled()
    expect(page.locator("#camera-note")).to_contain_text("https")


def test_a_file_that_is_no_picture_is_refused_where_it_was_given(page: Page, watch: Watch) -> None:
    watch.allow("415")
    drop_file(page, "notes.txt", b"no picture", "text/plain")
    expect(page.locator("#intake-message:not(.is-calm)")).to_contain_text("notes.txt is no picture")
    give_sample(page)
    drop_file(page, "notes.txt", b"no picture", "text/plain", "#stage")
    expect(page.locator("#source-message")).to_contain_text("notes.txt is no picture")
    expect(page.locator("#source-body")).to_contain_text("cat.jpg")


@pytest.mark.parametrize(("data", "words"), [(b"", "is empty"), (bytes(3000), "larger than")])
def test_an_empty_or_large_file_is_not_sent(
    studio: FakeStudio, open_page: Callable[..., Page], data: bytes, words: str
) -> None:
    studio.catalogue["limits"]["bytes"] = 2000
    page = open_page()
    drop_file(page, "odd.png", data, "image/png")
    expect(page.locator("#intake-message")).to_contain_text(words)
    assert not studio.pictures


def test_a_name_of_a_file_is_never_markup(page: Page) -> None:
    drop_file(page, "<img src=x onerror=alert(1)>.png", png(), "image/png")
    expect(page.locator("#source-body strong")).to_have_text("<img src=x onerror=alert(1)>.png")


def test_a_chosen_picture_outlives_a_reload(page: Page) -> None:
    give_sample(page)
    page.reload()
    expect(page.locator("#source-body")).to_contain_text("cat.jpg")


def test_a_guide_is_a_second_picture(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Guide…").click()
    chooser.value.set_files({"name": "guide.png", "mimeType": "image/png", "buffer": png()})
    expect(page.get_by_role("img", name="Guide picture")).to_be_visible()
    expect(page.locator("#source-body")).to_contain_text("cat.jpg")
    wait_until(page, lambda: studio.estimates and studio.estimates[-1]["guide"] == "p2")
    page.get_by_role("button", name="Dream", exact=True).click()
    expect(page.locator("#state")).to_have_text("Dreaming")
    assert studio.starts[0]["guide"] == "p2"


def test_a_notice_names_its_picture_and_goes_with_it(page: Page) -> None:
    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "notices": ["only the first frame is used"]})

    # No line goes by itself after a while.
    page.evaluate(
        "() => { const set = setTimeout; window.setTimeout = (go, after) => (after < 5000 ? set(go, after) : 0); }"
    )
    page.route("**/api/pictures", answer)
    drop_file(page, "moving.png", png(), "image/png")
    expect(page.locator("#toasts")).to_have_text("moving.png: only the first frame is used")
    page.unroute("**/api/pictures")
    drop_file(page, "still.png", png(), "image/png", "#stage")
    expect(page.locator("#source-body")).to_contain_text("still.png")
    expect(page.locator("#toasts")).to_have_text("")


def test_of_two_pictures_the_last_that_was_given_counts(page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/pictures", lambda route: held.append(route))
    drop_file(page, "slow.png", png(), "image/png")
    wait_until(page, lambda: held)
    drop_file(page, "quick.png", png(9), "image/png")
    expect(page.locator("#intake-message.is-calm")).to_have_text("Reading quick.png…")
    wait_until(page, lambda: len(held) == 2)
    held[1].continue_()
    expect(page.locator("#source-body")).to_contain_text("quick.png")
    with page.expect_response("**/api/pictures"):
        held[0].continue_()
    page.wait_for_timeout(200)
    expect(page.locator("#source-body")).to_contain_text("quick.png")
