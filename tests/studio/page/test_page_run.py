"""Runs on the page: start, pause, step, stop, going on, changes on the way, and what is shown of them."""

from __future__ import annotations

import time

from browser_fixture import Watch
from fake_studio import FakeStudio
from playwright.sync_api import Page, Route, expect
from steps import canvas_sum, dream, finish, give_sample, set_slider, wait_for_state, wait_until


def test_a_dream_grows_before_the_eyes_and_ends(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    dream(page)
    first = canvas_sum(page)
    studio.rests_at = 40
    wait_until(page, lambda: canvas_sum(page) != first)
    finish(page, studio)
    expect(page.locator("#figures")).to_contain_text("step 66 of 66")
    expect(page.locator("#figures")).to_contain_text("on cpu")
    words = "Loss, the strength of the patterns: from 2.15 to 4.29 in 66 of 66 steps, octave 6 of 6"
    expect(page.locator("#curve svg")).to_have_attribute("aria-label", words)
    assert page.locator("#curve .marks line").count() == 5


def test_a_dream_can_be_paused_stepped_stopped_and_continued(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    dream(page)
    page.get_by_role("button", name="Pause").click()
    wait_for_state(page, "Paused")
    [job] = studio.jobs.values()
    before = job.step
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator("#figures")).to_contain_text(f"step {before + 1} of")
    page.get_by_role("button", name="Go on").click()
    wait_for_state(page, "Dreaming")
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "Stopped")
    expect(page.locator("#primary")).to_have_text("Dream")
    page.get_by_role("button", name="Go on").click()
    finish(page, studio)


def test_two_quick_clicks_start_one_dream(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.locator("#primary").dblclick()
    page.wait_for_timeout(200)
    assert len(studio.jobs) == 1
    expect(page.locator("#state")).to_have_text("Dreaming")


def test_a_stop_that_is_pressed_before_a_pause_was_answered_is_not_lost(page: Page) -> None:
    def answer_late(route: Route) -> None:
        page.wait_for_timeout(300)
        route.continue_()

    page.route("**/pause", answer_late)
    give_sample(page)
    dream(page)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "Stopped")


def test_a_change_during_a_run_reaches_it_newest_last_and_never_too_often(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    dream(page)
    began = time.monotonic()
    for value in range(20, 60):
        set_slider(page, "#setting-step_size-slider", value)
    last = page.locator("#setting-step_size").input_value()
    wait_until(page, lambda: studio.patches and studio.patches[-1]["step_size"][0] == float(last))
    assert len(studio.patches) <= (time.monotonic() - began) * 5 + 2
    assert all(list(patch) == ["step_size"] for patch in studio.patches)
    expect(page.locator("#setting-step_size")).to_have_value(last)


def test_what_matters_only_at_the_start_says_so_during_a_run(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    dream(page)
    expect(page.locator("#setting-octaves")).to_be_disabled()
    expect(page.locator("#setting-octaves-note")).to_have_text("For a new dream")
    expect(page.locator("#setting-max_size-note")).to_have_text("Takes effect at the next octave")
    expect(page.locator("#mask-open")).to_be_disabled()
    expect(page.get_by_role("radio", name="Leopards")).to_be_disabled()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#setting-octaves")).to_be_enabled()
    expect(page.locator("#mask-open")).to_be_enabled()


def test_a_look_of_the_same_network_can_be_chosen_during_a_run(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    dream(page)
    page.get_by_role("radio", name="Towers").check()
    expect(page.get_by_role("radio", name="Towers")).to_be_checked()
    wait_until(page, lambda: studio.patches)
    assert studio.patches[0]["channels"] == ["block08:18", "block10:18"]
    assert "octaves" not in studio.patches[0]
    expect(page.get_by_role("radio", name="Towers")).to_be_checked()


def test_a_failure_is_told(page: Page, studio: FakeStudio) -> None:
    studio.fails_at = 3
    give_sample(page)
    page.get_by_role("button", name="Dream", exact=True).click()
    wait_for_state(page, "Failed: The dream ran out of memory: choose a smaller size.")
    expect(page.locator("#primary")).to_be_enabled()


def test_a_second_dream_waits_for_its_turn(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    dream(page)
    page.get_by_role("button", name="New picture").click()
    give_sample(page, "Bears")
    page.get_by_role("button", name="Dream", exact=True).click()
    wait_for_state(page, "Waits for its turn")
    expect(page.locator("#history li")).to_have_count(2)


def test_a_wrong_value_that_the_server_finds_is_told_at_its_field(page: Page, studio: FakeStudio, watch: Watch) -> None:
    watch.allow("422")
    give_sample(page)
    row = next(row for row in studio.catalogue["settings"] if row["name"] == "steps")
    row["max"] = 20
    page.locator("#setting-steps").fill("30")
    expect(page.locator("#setting-steps-note")).to_have_text("Steps must be from 1 to 20")
    expect(page.locator("#setting-steps")).to_have_attribute("aria-invalid", "true")
    page.locator("#setting-steps").fill("12")
    expect(page.locator("#setting-steps-note")).not_to_contain_text("must")


def test_an_error_of_a_change_goes_with_the_run(page: Page, studio: FakeStudio, watch: Watch) -> None:
    watch.allow("422")
    give_sample(page)
    dream(page)
    next(row for row in studio.catalogue["settings"] if row["name"] == "blend")["max"] = 0.5
    page.locator("#setting-blend").fill("0.9")
    expect(page.locator("#setting-blend-note")).to_have_text("Blend must be from 0 to 0.5")
    expect(page.locator("#run-message")).to_contain_text("needs another value")

    def goes_on_without_it() -> bool:
        studio.rests_at = min((studio.rests_at or 0) + 1, 60)
        return page.locator("#setting-blend").input_value() != "0.9"

    wait_until(page, goes_on_without_it)
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "Stopped")
    expect(page.locator("#setting-blend-note")).to_have_text("Share of the dream in the result")
    expect(page.locator("#run-message")).to_have_text("")
