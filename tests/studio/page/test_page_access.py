"""The page for everyone: names, contrast, sizes, keys, calm, and a memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from access import access_faults
from browser_fixture import Watch
from fake_studio import PAGE, FakeStudio
from playwright.sync_api import Page, expect
from steps import dream, drop_file, finish, give_sample, png, wait_for_picture, wait_for_state

KEPT = ("#stage", "#curve", "#primary", "#second", "#stop", "#save", "#source-title", "#look-title", "#main-title")


def test_the_page_is_small_and_needs_nothing_from_elsewhere() -> None:
    files = [path for path in PAGE.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert not [path.name for path in files if b"https://" in path.read_bytes()]
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert "<style" not in html
    assert " style=" not in html
    assert not [line for line in html.splitlines() if "<script" in line and "src=" not in line]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_names_contrast_and_sizes_are_right_in_every_state(
    open_page: Callable[..., Page], studio: FakeStudio, scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 760})
    assert not access_faults(page)
    give_sample(page)
    for fold in ("#patterns", "#more"):
        page.locator(f"{fold} summary").click()
    page.locator("#patterns-body .channel").first.click()
    page.locator("#setting-octaves").fill("nothing")
    page.get_by_label("Search looks and patterns").fill("eye")
    assert not access_faults(page)
    page.get_by_role("button", name="Reset Octaves to the look's value").click()
    page.get_by_role("button", name="Mask…").click()
    assert not access_faults(page)
    page.get_by_role("button", name="Cancel").click()
    dream(page)
    assert not access_faults(page)
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "Stopped")
    page.get_by_role("button", name="Compare").click()
    assert not access_faults(page)
    page.get_by_role("button", name="Save…").click()
    assert not access_faults(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="What to do with cat").click()
    assert not access_faults(page)


def test_the_check_finds_faults(page: Page) -> None:
    """This shows that the test above can fail."""
    page.evaluate(
        """() => { const button = document.createElement("button"); button.id = "primary"; document.body.append(button);
        document.querySelector("img").removeAttribute("alt"); }"""
    )
    found = " ".join(access_faults(page))
    assert all(words in found for words in ("id primary twice", "no name: button", "no alt", "small"))


def test_all_is_done_with_keys_alone(page: Page, studio: FakeStudio) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the controls")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#panel")).to_be_focused()
    page.get_by_role("button", name="Cat", exact=True).focus()
    page.keyboard.press("Enter")
    wait_for_picture(page)
    page.get_by_role("radio", name="Creatures").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Fur")).to_be_checked()
    page.locator("#setting-octaves-slider").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#setting-octaves")).to_have_value("7")
    page.locator("#primary").focus()
    page.keyboard.press("Enter")
    wait_for_state(page, "Dreaming")
    page.locator("#primary").focus()
    page.keyboard.press("Space")
    wait_for_state(page, "Paused")
    page.locator("#second").focus()
    page.keyboard.press("Enter")
    page.locator("#stop").focus()
    page.keyboard.press("Enter")
    wait_for_state(page, "Stopped")


def test_the_keys_are_not_lost_with_what_was_pressed(page: Page, studio: FakeStudio) -> None:
    studio.seconds = 0.002
    for _ in range(2):
        page.get_by_role("button", name="Cat", exact=True).press("Enter")
        expect(page.locator("#primary")).to_be_focused()
        page.keyboard.press("Enter")
        finish(page, studio)
        page.get_by_role("button", name="New picture").press("Enter")
        expect(page.get_by_role("button", name="Choose a picture")).to_be_focused()
    for left in (1, 0):
        page.get_by_role("button", name="What to do with cat").first.press("Enter")
        page.get_by_role("button", name="Delete…").press("Enter")
        page.keyboard.press("Enter")
        expect(page.locator("#history li")).to_have_count(left)
        expect(page.locator("#history .dream" if left else "#panel")).to_be_focused()


def test_every_stop_of_the_tab_key_is_seen(page: Page) -> None:
    give_sample(page)
    page.locator("#skip").focus()
    stops = 0
    while stops < 120:
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => { const element = document.activeElement; if (element === document.body) return null;
            const ring = getComputedStyle(element).outlineStyle !== "none"
              || (element.name === "look" && getComputedStyle(element.nextElementSibling).outlineStyle !== "none");
            const box = element.getBoundingClientRect();
            const isVisible = box.width > 0 && box.bottom > 0 && box.top < innerHeight;
            return { name: element.outerHTML.slice(0, 80), ring, isVisible }; }"""
        )
        if stop is None:
            break
        assert stop["ring"], stop["name"]
        assert stop["isVisible"], stop["name"]
        stops += 1
    assert 30 < stops < 120


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_jumps_from_one_state_to_the_next(
    open_page: Callable[..., Page], studio: FakeStudio, width: int
) -> None:
    page = open_page(viewport={"width": width, "height": 800})
    give_sample(page)
    expect(page.locator("#estimate")).to_contain_text("about")

    def boxes() -> dict[str, Any]:
        page.wait_for_timeout(150)
        return {name: page.locator(name).bounding_box() for name in KEPT}

    before = boxes()
    dream(page)
    assert boxes() == before
    page.get_by_role("button", name="Pause").click()
    wait_for_state(page, "Paused")
    assert boxes() == before
    page.get_by_role("button", name="Go on").click()
    finish(page, studio)
    assert boxes() == before
    page.get_by_role("button", name="Compare").click()
    assert boxes() == before


def test_nothing_moves_where_less_motion_is_wanted(open_page: Callable[..., Page]) -> None:
    page = open_page(reduced_motion="reduce")
    moving = """() => [...document.querySelectorAll("*")]
        .filter((one) => parseFloat(getComputedStyle(one).transitionDuration)).length"""
    assert page.evaluate(moving) == 0
    assert open_page(reduced_motion="no-preference").evaluate(moving) > 0


def test_only_the_state_is_announced_during_a_run(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.evaluate(
        """() => { window.heard = []; new MutationObserver((changes) => { for (const { target } of changes) {
        const element = target.closest ? target : target.parentElement;
        const live = element.closest("[role=status], [role=alert], [aria-live]");
        if (live?.textContent) window.heard.push(live.textContent); } })
        .observe(document.body, { subtree: true, childList: true, characterData: true }); }"""
    )
    dream(page)
    finish(page, studio)
    heard = page.evaluate("() => window.heard")
    assert set(heard) <= {"Getting ready", "Waits for its turn", "Dreaming", "Finished"}
    assert len(heard) <= 4


def test_the_memory_does_not_grow_with_the_dreams(page: Page, studio: FakeStudio, watch: Watch) -> None:
    watch.allow("404")  # files of dreams that are deleted while they are fetched
    studio.seconds = 0.001
    drop_file(page, "small.png", png(), "image/png")
    expect(page.locator("#primary")).to_be_enabled()
    session = page.context.new_cdp_session(page)

    def used() -> int:
        session.send("HeapProfiler.collectGarbage")
        return int(session.send("Runtime.getHeapUsage")["usedSize"])

    dream_many = """async (count) => { const { store, show, ENDED } = await import("/static/store.js");
        const until = async (is) => { const end = performance.now() + 60000; while (!is()) {
          if (performance.now() > end) throw new Error("a dream does not go on");
          await new Promise((done) => setTimeout(done, 2)); } };
        for (let number = 0; number < count; number++) {
          const settings = { steps: 2, octaves: 1, max_size: 64 };
          const body = { request: `${Math.random()}`, picture: "p1", look: "creatures", settings };
          const job = await (await fetch("/api/jobs", { method: "POST", body: JSON.stringify(body) })).json();
          await until(() => store.jobs.has(job.id));
          show(job.id);
          await until(() => ENDED.has(store.jobs.get(job.id).state));
          await fetch(`/api/jobs/${job.id}`, { method: "DELETE" });
          await until(() => !store.jobs.has(job.id)); } }"""
    page.evaluate(dream_many, 20)
    before = used()
    page.evaluate(dream_many, 200)
    assert used() < before * 1.1
