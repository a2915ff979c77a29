"""The page of an atlas in a real browser: search, order and the command of a tile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from browser_fixture import browse as browse
from pictures_fixture import TINY_LITE_BYTES, photograph

from onnxdream.runtime import Bundle
from onnxdream.runtime.features.atlas import Atlas
from onnxdream.runtime.features.drawing.draw import Drawn
from onnxdream.runtime.features.feature import Feature
from onnxdream.runtime.features.settings import FeatureSettings

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHANNELS = {0: 1.5, 1: 12.0, 10: 3.0}  # channel -> loss
CLASSES = {2: ("castle", 9.0), 3: ("golden retriever", 10.5)}


@pytest.fixture
def page(tmp_path: Path, browse: Callable[[str], Page]) -> Page:
    """The page of an atlas with three channels and two classes."""
    bundle = Bundle.load(TINY_LITE_BYTES)
    layer = bundle.metadata.layer_names[0]
    features = [(Feature(layer, channel), loss) for channel, loss in CHANNELS.items()]
    features += [(Feature("logits", channel, label), loss) for channel, (label, loss) in CLASSES.items()]
    drawn = [Drawn(feature, photograph(32, 32), loss, 8, 8) for feature, loss in features]
    with Atlas(tmp_path / "out", bundle, FeatureSettings(size=32, steps=8)) as atlas:
        atlas.add(drawn)
        return browse(atlas.finish().as_uri())


def shown(page: Page) -> list[str]:
    """The texts of the tiles that are shown, in the order of the page."""
    return [tile.locator("b").inner_text() for tile in page.locator("li:visible").all()]


def test_the_tiles_are_those_of_the_atlas(page: Page) -> None:
    assert shown(page) == ["0", "1", "10", "castle", "golden retriever"]
    sizes = [tile.bounding_box() for tile in page.locator("li span").all()]
    assert all(box and (box["width"], box["height"]) == (32, 32) for box in sizes)
    seen = cv2.imdecode(np.frombuffer(page.locator("li span").last.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None
    inside = slice(4, 28)  # without the round corners
    assert np.abs(seen[inside, inside, ::-1].astype(int) - photograph(32, 32)[inside, inside]).mean() < 12


def test_the_search_finds_numbers_and_names(page: Page) -> None:
    find = page.get_by_label("Find")
    find.fill("Retr")
    assert shown(page) == ["golden retriever"]
    find.fill(" :1")
    assert shown(page) == ["1", "10"]
    find.fill("nothing")
    assert shown(page) == []
    find.fill("")
    assert len(shown(page)) == 5


def test_the_order_is_by_loss_or_by_number(page: Page) -> None:
    order = page.get_by_label("Order")
    order.select_option("strongest first")
    assert shown(page) == ["1", "10", "0", "golden retriever", "castle"]
    page.get_by_label("Find").fill(":1")
    assert shown(page) == ["1", "10"]
    page.get_by_label("Find").fill("")
    order.select_option("by number")
    assert shown(page) == ["0", "1", "10", "castle", "golden retriever"]


def test_the_enter_key_keeps_what_was_found(page: Page) -> None:
    page.get_by_label("Find").fill("castle")
    page.get_by_label("Find").press("Enter")
    assert shown(page) == ["castle"]


def test_names_with_spaces_are_quoted_in_the_command(page: Page) -> None:
    page.evaluate("document.querySelector('output').dataset.model = 'my birds'")
    page.get_by_role("link", name="logits:2 (castle)").focus()
    assert '--model "my birds" --channels logits:2' in page.locator("output code").inner_text()


def test_a_tile_tells_the_command_that_dreams_it_and_opens_its_picture(page: Page) -> None:
    page.get_by_role("link", name="logits:2 (castle)").focus()
    assert "--channels logits:2" in page.locator("output code").inner_text()
    page.get_by_role("link", name="logits:3 (golden retriever)").hover()
    assert "--channels logits:3" in page.locator("output code").inner_text()
    page.get_by_role("link", name="logits:2 (castle)").click()
    page.wait_for_url("**/logits-2-castle.png")
