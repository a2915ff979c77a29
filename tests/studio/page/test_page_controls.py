"""The controls of the page: looks, patterns, settings, the search, and a surprise."""

from __future__ import annotations

import re
from collections.abc import Callable

from fake_studio import FakeStudio
from playwright.sync_api import Page, expect
from steps import give_sample, set_slider, start


def test_a_look_brings_its_settings(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.get_by_role("button", name="All 26 looks").click()
    expect(page.get_by_role("radio")).to_have_count(26)
    page.get_by_role("radio", name="Woodcut").check()
    expect(page.locator("#look-text")).to_have_text("Bold lines and hatching turn the picture into a woodcut.")
    expect(page.locator("#setting-octaves")).to_have_value("5")
    sent = start(page, studio)
    assert (sent["look"], sent["bundle"], sent["settings"]) == ("woodcut", "lite0", {})


def test_a_size_that_was_chosen_stays_with_another_look(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.locator("#setting-max_size").fill("300")
    page.locator("#setting-blend").fill("0.5")
    page.get_by_role("radio", name="Fur").check()
    assert start(page, studio)["settings"] == {"max_size": 300}


def test_a_look_without_a_picture_has_a_plain_tile(studio: FakeStudio, open_page: Callable[..., Page]) -> None:
    studio.catalogue["looks"][0]["tile"] = None
    page = open_page()
    expect(page.locator(".plain-tile").first).to_have_text("Cr")


def test_the_search_finds_looks_and_patterns_by_name(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.get_by_label("Search looks and patterns").fill("feathers")
    expect(page.get_by_role("radio")).to_have_count(2)  # feathers, and leopards, which says so
    page.locator("#hits .channel").first.click()
    expect(page.locator("#hits .channel").first).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Search looks and patterns").fill("zzz")
    expect(page.locator("#hits")).to_contain_text("Nothing has this name")
    page.get_by_label("Search looks and patterns").fill("")
    sent = start(page, studio)
    settings = sent["settings"]
    assert isinstance(settings, dict)
    assert re.fullmatch(r"block\d\d:\d+", settings["channels"][0])
    assert list(settings["layer_weights"]) == [settings["channels"][0].split(":")[0]]


def test_several_patterns_and_layers_are_chosen_with_signs_and_weights(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.locator("#patterns summary").click()
    page.get_by_label("Layer", exact=True).select_option("block05")
    page.get_by_role("button", name="sand, pattern 42 of block05").click()
    page.get_by_role("button", name="dabs, pattern 34 of block05").click()
    page.get_by_role("button", name="dabs grows: let it fade").click()
    page.get_by_label("Layer", exact=True).select_option("block03")
    page.get_by_role("button", name="Add the whole layer").click()
    page.get_by_label("Weight of block03", exact=True).fill("-0,5")
    page.get_by_label("Weight of block03", exact=True).press("Enter")
    set_slider(page, "#weight-block05", 1.5)
    settings = start(page, studio)["settings"]
    assert settings == {"layer_weights": {"block05": 1.5, "block03": -0.5}, "channels": ["block05:42,-34"]}


def test_a_pattern_that_is_taken_away_gives_the_look_back(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.locator("#patterns summary").click()
    page.locator("#patterns-body .channel").nth(3).click()
    expect(page.locator("#patterns-summary")).to_have_text("1 chosen")
    page.locator(".chip").get_by_role("button", name="Take").click()
    expect(page.locator("#patterns-summary")).to_have_text("block09, block10")
    assert start(page, studio)["settings"] == {}


def test_the_tiles_of_patterns_come_from_the_atlas(page: Page) -> None:
    page.locator("#patterns summary").click()
    swatch = page.locator("#patterns-body .channel .swatch").nth(9)
    assert "/api/atlases/lite0/block" in swatch.evaluate("(element) => getComputedStyle(element).backgroundImage")
    assert swatch.evaluate("(element) => element.style.backgroundPosition") == "-72px -72px"


def test_things_can_be_dreamed_where_a_network_knows_them(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.get_by_role("radio", name="Leopards").check()
    page.locator("#patterns summary").click()
    page.get_by_label("Name of a thing to dream").fill("unicorn")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".classes .message")).to_contain_text("does not know")
    page.get_by_label("Name of a thing to dream").fill("castle")
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator(".chip").get_by_role("button", name="grows").click()
    assert start(page, studio)["settings"] == {"classes": "-castle", "layer_weights": None}


def test_a_wrong_number_is_told_at_its_field_before_it_is_sent(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    for text, words in [
        ("", "Write a number"),
        ("NaN", "not a number"),
        ("1e9", "from 1 to 100"),
        ("2.5", "whole"),
        ("1.000,5", "without separators"),
    ]:
        page.locator("#setting-octaves").fill(text)
        expect(page.locator("#setting-octaves-note")).to_contain_text(words)
        expect(page.locator("#setting-octaves")).to_have_attribute("aria-invalid", "true")
        page.get_by_role("button", name="Dream", exact=True).click()
        expect(page.locator("#setting-octaves")).to_be_focused()
        assert not studio.starts
        page.get_by_role("button", name="Reset Octaves to the look's value").click()
        expect(page.locator("#setting-octaves")).to_have_value("6")
        expect(page.locator("#setting-octaves-note")).to_have_text("From coarse shapes to fine detail")


def test_a_wrong_text_stays_while_other_settings_change(page: Page) -> None:
    page.locator("#setting-octaves").fill("many")
    page.locator("#setting-blend").fill("0.5")
    expect(page.locator("#setting-octaves")).to_have_value("many")
    page.get_by_role("radio", name="Fur").check()
    expect(page.locator("#setting-octaves")).to_have_value("6")


def test_a_decimal_comma_is_understood(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.locator("#setting-blend").fill("0,75")
    page.locator("#setting-step_size").fill("0,05")
    assert start(page, studio)["settings"] == {"blend": 0.75, "step_size": [0.05, 0.012]}


def test_a_slider_of_a_pair_moves_both_ends(page: Page) -> None:
    set_slider(page, "#setting-step_size-slider", 100)
    expect(page.locator("#setting-step_size")).to_have_value("0.1")
    expect(page.locator("#setting-step_size-end")).to_have_value("0.0343")
    page.get_by_role("button", name="Reset Step size to the look's value").click()
    expect(page.locator("#setting-step_size-end")).to_have_value("0.012")


def test_more_settings_are_folded_away_searched_and_explained(page: Page) -> None:
    expect(page.locator("#setting-momentum")).to_be_hidden()
    page.locator("#more summary").click()
    page.get_by_label("Search settings").fill("momentum")
    assert page.locator("#more-settings .control:visible").count() == 2  # the optimizer speaks of it, too
    page.get_by_role("button", name="What Momentum does").click()
    expect(page.locator("#setting-momentum-help")).to_contain_text("Decay of earlier gradients")
    page.locator("#setting-momentum").fill("0.5")
    expect(page.locator("#more-summary")).to_have_text("1 changed")


def test_an_empty_size_keeps_the_picture_s_own(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.locator("#setting-max_size").fill("")
    expect(page.locator("#estimate")).to_contain_text("600 × 399")
    assert start(page, studio)["settings"] == {"max_size": None}


def test_the_estimate_follows_the_newest_settings(page: Page) -> None:
    give_sample(page)
    for size in ("256", "320", "384"):
        page.locator("#setting-max_size").fill(size)
    expect(page.locator("#estimate")).to_contain_text("384 × 255 · about")
    expect(page.locator("#estimate")).to_contain_text("MB")


def test_a_surprise_is_the_same_for_the_same_number(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.get_by_role("button", name="Surprise me").click()
    number = page.get_by_label("Surprise number").input_value()
    first = start(page, studio)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Surprise me").click()
    page.get_by_label("Surprise number").fill(number)
    page.get_by_label("Surprise number").press("Enter")
    second = start(page, studio)
    assert (first["look"], first["settings"]) == (second["look"], second["settings"])
    assert first["settings"]["seed"] == int(number)  # type: ignore[index]


def test_surprises_stay_within_what_looks_good(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.get_by_role("button", name="Surprise me").click()
    seen = set()
    for number in range(100):
        page.get_by_label("Surprise number").fill(str(number))
        page.get_by_label("Surprise number").press("Enter")
        step = float(page.locator("#setting-step_size").input_value())
        assert 0.008 < step < 0.06
        seen.add(page.locator("#looks input:checked").input_value())
    assert len(seen) > 15


# The mask
