"""The mask: painted, given with numbers, changed, used and left."""

from __future__ import annotations

import numpy as np
from fake_studio import FakeStudio
from playwright.sync_api import Page, expect
from steps import colour, drop_file, give_sample, png, start, wait_for_picture, wait_for_state


def mask_sent(studio: FakeStudio) -> np.ndarray:
    [mask] = [picture for picture in studio.pictures.values() if picture.role == "mask"]
    return mask.pixels[..., 0]


def test_a_mask_is_painted_with_the_brush(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.get_by_role("button", name="Mask…").click()
    wait_for_picture(page)
    box = page.locator("#canvas").bounding_box()
    assert box
    dark = sum(colour(page, 0.56, 0.4)[:3])
    page.mouse.move(box["x"] + box["width"] * 0.35, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.65, box["y"] + box["height"] * 0.4, steps=6)
    page.mouse.up()
    assert sum(colour(page, 0.56, 0.4)[:3]) > dark + 60
    page.get_by_role("button", name="Erase").click()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.4)
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("button", name="Change the mask")).to_be_focused()
    mask = mask_sent(studio)
    height, width = mask.shape
    row = mask[int(height * 0.4)]
    assert (row == 255).any()
    assert row[width // 2] == 0
    assert mask[-5].max() == 0
    assert start(page, studio)["mask"] == "p2"


def test_a_mask_is_made_without_a_pointer(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.get_by_role("button", name="Mask…").press("Enter")
    page.get_by_text("With numbers").click()
    page.get_by_label("Left %").fill("abc")
    page.get_by_role("button", name="Fill the rectangle").press("Enter")
    expect(page.locator("#mask-bar .message")).to_contain_text("Left %: This is not a number.")
    page.get_by_label("Left %").fill("0")
    page.get_by_label("Width %").fill("50")
    page.get_by_role("button", name="Fill the rectangle").press("Enter")
    page.get_by_role("button", name="Invert").press("Enter")
    page.get_by_role("button", name="Done").press("Enter")
    expect(page.get_by_role("button", name="Change the mask")).to_be_visible()
    mask = mask_sent(studio)
    height, width = mask.shape
    assert mask[height // 2, width // 4] == 0
    assert mask[height // 2, width * 3 // 4] == 255


def test_a_mask_of_an_earlier_dream_can_be_changed(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.get_by_role("button", name="Mask…").click()
    page.get_by_text("With numbers").click()
    page.get_by_role("button", name="Fill the rectangle").click()
    page.get_by_role("button", name="Done").click()
    start(page, studio)
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "Stopped")
    page.reload()
    page.get_by_role("button", name="Change the mask").click()
    wait_for_picture(page)
    page.wait_for_function("() => document.querySelector('#mask-bar') && performance.now() > 500")
    page.get_by_role("button", name="Invert").click()
    page.get_by_role("button", name="Done").click()
    expect(page.locator("#mask-bar")).to_be_hidden()
    first, second = [picture.pixels for picture in studio.pictures.values() if picture.role == "mask"]
    assert (first + second == 255).all()


def test_a_mask_that_is_cleared_is_none(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    page.get_by_role("button", name="Mask…").click()
    page.get_by_role("button", name="Invert").click()
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Done").click()
    assert start(page, studio)["mask"] is None


def begin_mask(page: Page) -> None:
    """Opens the mask, and lets a part of the picture dream."""
    page.get_by_role("button", name="Mask…").click()
    page.get_by_text("With numbers").click()
    page.get_by_role("button", name="Fill the rectangle").click()


def test_a_mask_that_is_being_painted_is_used(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    begin_mask(page)
    assert start(page, studio)["mask"] == "p2"
    expect(page.locator("#mask-bar")).to_be_hidden()


def test_a_mask_that_is_being_painted_goes_with_its_picture(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    begin_mask(page)
    drop_file(page, "other.png", png(), "image/png", "#stage")
    expect(page.locator("#source-body")).to_contain_text("other.png")
    expect(page.locator("#mask-bar")).to_be_hidden()
    begin_mask(page)
    page.get_by_role("button", name="New picture").click()
    expect(page.locator("#mask-bar")).to_be_hidden()
