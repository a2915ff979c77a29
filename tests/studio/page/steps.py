"""What a person does with the page, and what she sees, as the tests say it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from fake_studio import FakeStudio
from playwright.sync_api import Page, expect

SECONDS = 60  # how long anything is waited for


def png(value: int = 200) -> bytes:
    """A small grey picture."""
    return cv2.imencode(".png", np.full((40, 60, 3), value, np.uint8))[1].tobytes()


def give_sample(page: Page, name: str = "Cat") -> None:
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#stage")).to_be_visible()
    expect(page.locator("#primary")).to_be_enabled()


def dream(page: Page) -> None:
    """Starts a dream and waits for its first frame."""
    page.get_by_role("button", name="Dream", exact=True).click()
    expect(page.locator("#figures")).to_contain_text("step")
    wait_for_picture(page)


def start(page: Page, studio: FakeStudio) -> dict[str, object]:
    """Starts a dream and returns what the page asked for."""
    page.get_by_role("button", name="Dream", exact=True).click()
    wait_for_state(page, "Dreaming")
    return studio.starts[-1]


def wait_for_state(page: Page, state: str) -> None:
    expect(page.locator("#state")).to_have_text(state)


def finish(page: Page, studio: FakeStudio) -> None:
    """Lets the dreams go on to their ends, and waits for that of the one that the page shows."""
    studio.rests_at = None
    wait_for_state(page, "Finished")


def still(page: Page) -> int:
    """The sum of the canvas once nothing is drawn there any more."""
    sums = [canvas_sum(page)]
    end = time.monotonic() + SECONDS
    while len(sums) < 5 or len(set(sums[-5:])) > 1:
        assert time.monotonic() < end, "the canvas changes again and again"
        page.wait_for_timeout(50)
        sums.append(canvas_sum(page))
    return sums[-1]


def wait_until(page: Page, is_so: Callable[[], object]) -> None:
    """Waits until something is so that the page does not show."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, "it does not come"
        page.wait_for_timeout(20)


def wait_for_picture(page: Page) -> None:
    """Waits until the middle of the canvas is covered."""
    page.wait_for_function(
        """() => { const canvas = document.querySelector('#canvas');
        return canvas.getContext('2d').getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data[3] === 255; }"""
    )


def colour(page: Page, x: float = 0.5, y: float = 0.5) -> list[int]:
    """The red, green, blue and alpha of the canvas at a place, given as parts of its width and height."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    found: list[int] = page.evaluate(
        """([x, y]) => { const canvas = document.querySelector('#canvas');
        return [...canvas.getContext('2d').getImageData(canvas.width * x, canvas.height * y, 1, 1).data]; }""",
        [x, y],
    )
    return found


def canvas_sum(page: Page) -> int:
    """A number that differs between pictures on the canvas."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    found: int = page.evaluate(
        """() => { const canvas = document.querySelector('#canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let sum = 0; for (let i = 0; i < data.length; i += 97) sum = (sum * 31 + data[i]) % 1000000007; return sum; }"""
    )
    return found


def drop_file(page: Page, name: str, data: bytes, mime: str, target: str = "#empty") -> None:
    """Drops a file, in a real DataTransfer, with the events that a drag fires."""
    transfer: Any = page.evaluate_handle(
        """([name, bytes, type]) => { const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], name, { type })); return transfer; }""",
        [name, list(data), mime],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(target, event, {"dataTransfer": transfer})


def set_slider(page: Page, selector: str, value: float) -> None:
    """Moves a slider to a value as a hand does: with events for input and change."""
    page.locator(selector).fill(str(value))
