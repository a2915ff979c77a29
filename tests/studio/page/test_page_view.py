"""What is on the stage: comparing, the original, zoom and pan, two dreams side by side; and the dreams so far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fake_studio import FakeStudio
from playwright.sync_api import Page, expect
from serve import Server
from steps import canvas_sum, colour, dream, finish, give_sample, still, wait_for_state


def finished(page: Page, studio: FakeStudio, sample: str = "Cat") -> None:
    studio.seconds = 0.002
    give_sample(page, sample)
    page.locator("#setting-steps").fill("2")
    dream(page)
    finish(page, studio)
    expect(page.locator("#save")).to_be_enabled()
    still(page)


def test_the_dividing_line_follows_mouse_and_keys(page: Page, studio: FakeStudio) -> None:
    finished(page, studio)
    dreamed = colour(page, 0.3, 0.5)
    page.get_by_role("button", name="Compare").click()
    line = page.get_by_role("slider", name="Compare")
    expect(line).to_have_attribute("aria-valuenow", "50")
    original = colour(page, 0.3, 0.5)
    assert original != dreamed
    box = line.bounding_box()
    assert box
    page.mouse.move(box["x"] + 22, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] - 250, box["y"] + 60, steps=4)
    page.mouse.up()
    assert 10 < int(line.get_attribute("aria-valuenow") or 0) < 30
    assert colour(page, 0.4, 0.5) != original
    line.press("Home")
    expect(line).to_have_attribute("aria-valuenow", "0")
    assert colour(page, 0.3, 0.5) == dreamed
    line.press("ArrowRight")
    expect(line).to_have_attribute("aria-valuetext", "2 % original")
    page.get_by_role("button", name="Compare").click()
    expect(line).to_be_hidden()


def test_the_dividing_line_follows_a_finger(open_page: Callable[..., Page], studio: FakeStudio) -> None:
    page = open_page(has_touch=True, viewport={"width": 390, "height": 800})
    finished(page, studio)
    page.get_by_role("button", name="Compare").tap()
    line = page.get_by_role("slider", name="Compare")
    box = line.bounding_box()
    assert box
    session = page.context.new_cdp_session(page)

    def touch(kind: str, x: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": x, "y": box["y"] + 60}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", box["x"] + 22)
    for way in range(1, 6):
        touch("touchMove", box["x"] + 22 + way * 20)
    touch("touchEnd", 0)
    assert int(line.get_attribute("aria-valuenow") or 0) > 60


def test_holding_shows_the_original(page: Page, studio: FakeStudio) -> None:
    finished(page, studio)
    dreamed = canvas_sum(page)
    box = page.get_by_role("button", name="Original").bounding_box()
    assert box
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    assert canvas_sum(page) != dreamed
    page.mouse.up()
    assert canvas_sum(page) == dreamed
    page.locator("#stage").focus()
    page.keyboard.down("o")
    assert canvas_sum(page) != dreamed
    page.keyboard.up("o")
    assert canvas_sum(page) == dreamed
    page.get_by_role("button", name="Original").focus()
    page.keyboard.down("Space")
    assert canvas_sum(page) != dreamed
    page.keyboard.up("Space")
    assert canvas_sum(page) == dreamed


def test_real_size_is_one_pixel_for_one_and_can_be_panned(page: Page, studio: FakeStudio) -> None:
    finished(page, studio)
    fitted = canvas_sum(page)
    page.get_by_role("button", name="1:1").click()
    expect(page.get_by_role("button", name="1:1")).to_have_attribute("aria-pressed", "true")
    width = page.locator("#canvas").evaluate("(canvas) => canvas.width")
    middle = width // 2
    edge = (middle - 512 // 2 - 2) / width, (middle - 512 // 2 + 2) / width
    assert colour(page, edge[0])[3] == 0
    assert colour(page, edge[1])[3] == 255
    before = canvas_sum(page)
    page.locator("#stage").press("ArrowRight")
    assert canvas_sum(page) != before
    box = page.locator("#canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 340, box["y"] + 300, steps=3)
    page.mouse.up()
    assert canvas_sum(page) == before
    page.locator("#stage").press("+")
    page.get_by_role("button", name="Fit").click()
    assert canvas_sum(page) == fitted
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.wheel(0, -300)
    expect(page.get_by_role("button", name="Fit")).to_have_attribute("aria-pressed", "false")
    page.locator("#stage").press("f")
    assert canvas_sum(page) == fitted


def test_a_picture_fits_on_a_screen_with_finer_pixels(open_page: Callable[..., Page], studio: FakeStudio) -> None:
    page = open_page(device_scale_factor=2)
    finished(page, studio)
    size = page.locator("#canvas").evaluate("(canvas) => canvas.width / canvas.clientWidth")
    assert size == 2


# The dreams so far


def test_every_dream_is_kept_with_its_settings_and_can_be_restored(page: Page, studio: FakeStudio) -> None:
    page.locator("#setting-octaves").fill("3")
    finished(page, studio)
    page.get_by_role("button", name="New picture").click()
    page.get_by_role("radio", name="Fur").check()
    finished(page, studio, "Bears")
    expect(page.locator("#history li")).to_have_count(2)
    page.get_by_role("button", name="What to do with cat, creatures").click()
    expect(page.get_by_role("dialog")).to_contain_text("Octaves3")
    page.get_by_role("button", name="Use its settings").click()
    expect(page.get_by_role("radio", name="Creatures")).to_be_checked()
    expect(page.locator("#setting-octaves")).to_have_value("3")
    expect(page.locator("#source-body")).to_contain_text("bears")
    page.get_by_role("button", name="cat, creatures, finished").click()
    expect(page.locator("#canvas")).to_have_attribute("aria-label", "The dream of cat, creatures, finished")
    expect(page.locator("#source-body")).to_contain_text("cat")


def test_a_dream_is_branched_from_its_picture_or_its_result(page: Page, studio: FakeStudio) -> None:
    finished(page, studio)
    page.get_by_role("button", name="What to do with cat, creatures").click()
    page.get_by_role("button", name="Same picture again").click()
    page.locator("#setting-steps").fill("5")
    dream(page)
    finish(page, studio)
    assert studio.starts[1]["branch_of"] == "j2"
    assert studio.starts[1]["picture"] == "p1"
    page.get_by_role("button", name="What to do with cat, creatures").first.click()
    page.get_by_role("button", name="Dream on from its result").click()
    expect(page.locator("#source-body")).to_contain_text("the result of a dream")
    dream(page)
    assert studio.starts[2]["from_result"] is True
    assert "picture" not in studio.starts[2]


def test_two_dreams_are_shown_side_by_side_each_in_its_shape(page: Page, studio: FakeStudio) -> None:
    finished(page, studio)
    page.get_by_role("button", name="New picture").click()
    finished(page, studio, "Bears")
    page.get_by_role("button", name="What to do with cat, creatures").click()
    page.get_by_role("button", name="Beside the one shown").click()
    expect(page.locator("#tag-right")).to_have_text("The other")
    assert colour(page, 0.25)[3] == colour(page, 0.75)[3] == 255
    assert colour(page, 0.5)[3] == 0
    bears, cat = (
        page.evaluate(
            """(x) => { const canvas = document.querySelector('#canvas'), column = canvas.width * x;
            const { data } = canvas.getContext('2d').getImageData(column, 0, 1, canvas.height);
            return data.filter((value, place) => place % 4 === 3 && value === 255).length; }""",
            x,
        )
        for x in (0.25, 0.75)
    )
    assert abs(cat / bears - 340 / 384) < 0.02
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#tag-right")).to_be_hidden()


def test_a_dream_is_deleted_after_a_question(page: Page, studio: FakeStudio) -> None:
    finished(page, studio)
    page.get_by_role("button", name="What to do with cat, creatures").click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Keep it").click()
    assert len(studio.jobs) == 1
    page.get_by_role("button", name="What to do with cat, creatures").click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#history li")).to_have_count(0)
    assert not studio.jobs
    dream(page)  # the picture is still there
    assert studio.starts[-1]["branch_of"] is None


# Saving


def test_a_dream_is_saved_in_every_form(page: Page, studio: FakeStudio, server: Server, tmp_path: Path) -> None:
    finished(page, studio)
    page.get_by_role("button", name="Save…").click()
    for name, file in [
        ("PNG", "cat-dream.png"),
        ("JPEG", "cat-dream.jpg"),
        ("WebP", "cat-dream.webp"),
        ("TIFF", "cat-dream.tiff"),
        ("Film", "film.webp"),
        ("Settings", "settings.toml"),
        ("Record", "record.json"),
    ]:
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename == file
        expected = page.request.get(download.value.url).body()
        assert Path(download.value.path()).read_bytes() == expected


def test_the_command_line_is_copied(open_page: Callable[..., Page], studio: FakeStudio) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    finished(page, studio)
    page.get_by_role("button", name="Save…").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == "onnxdream dream cat.jpg --preset creatures"
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Save…")).to_be_focused()


def test_the_command_of_a_stopped_dream_is_said_to_make_the_whole(page: Page, studio: FakeStudio) -> None:
    give_sample(page)
    dream(page)
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "Stopped")
    page.get_by_role("button", name="Save…").click()
    [job] = studio.jobs.values()
    title = f"The whole dream on the command line (this one was stopped at step {job.step})"
    expect(page.get_by_role("heading", name=title)).to_be_visible()
