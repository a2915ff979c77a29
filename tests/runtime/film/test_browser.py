"""Films in a real browser: whether Chromium shows what is written, at the right size, colours and times."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")
import clips

from onnxdream.models.arrays import Pixels, Size
from onnxdream.runtime.video.encoder import SegmentWriter
from onnxdream.runtime.video.formats import film_format
from onnxdream.runtime.video.joining import Segment, join

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
SIZE, FRAMES = Size(48, 64), 20
GAP = Fraction(1, 20)  # seconds between two frames, a whole number of a GIF's hundredths
LEFT, RIGHT = (200, 60, 40), (40, 90, 180)
LEVELS = 10  # by which a colour may differ: half of the chroma's pixels are left out
SUFFIXES = (".mp4", ".webm", ".gif", ".webp")
SECONDS = 150  # until the test gives up

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")

PAGE = """<!doctype html><body><script>
const within = (seconds, promise) =>
  Promise.race([promise, new Promise((_, fail) => setTimeout(() => fail(new Error("timeout")), 1000 * seconds))]);
const event = (target, name) => new Promise((done, fail) => {
  target.addEventListener(name, done, {once: true});
  target.addEventListener("error", () => fail(target.error || new Error("cannot be shown")), {once: true});
});
function colours(shown, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), {width, height});
  const context = canvas.getContext("2d");
  context.drawImage(shown, 0, 0);
  return [0.25, 0.75].map(x => [...context.getImageData(x * width, 0.75 * height, 1, 1).data.slice(0, 3)]);
}
async function film(name) {
  const video = Object.assign(document.createElement("video"), {muted: true, src: name});
  document.body.append(video);
  if (video.readyState < 2) await event(video, "loadeddata");
  const {readyState, videoWidth: width, videoHeight: height, duration} = video;
  await video.play();
  await event(video, "ended");
  const last = colours(video, width, height);
  const {totalVideoFrames: frames} = video.getVideoPlaybackQuality();
  return {readyState, width, height, duration, colours: last, frames,
    currentTime: video.currentTime, sound: video.webkitAudioDecodedByteCount};
}
async function animation(name) {
  const image = Object.assign(new Image(), {src: name});
  await image.decode();
  const {naturalWidth: width, naturalHeight: height} = image;
  const type = "image/" + name.split(".").pop();
  const decoder = new ImageDecoder({type, data: await (await fetch(name)).arrayBuffer()});
  await decoder.completed;
  await decoder.tracks.ready;
  const {frameCount: frames, repetitionCount} = decoder.tracks.selectedTrack;
  let duration = 0;
  for (let frameIndex = 0; frameIndex < frames; frameIndex++)
    duration += (await decoder.decode({frameIndex})).image.duration / 1e6;
  return {width, height, duration, frames, colours: colours(image, width, height),
    repeats: repetitionCount === Infinity};
}
(async () => {
  const found = {};
  for (const name of NAMES) {
    const show = /mp4|webm/.test(name) ? film : animation;
    found[name] = await within(40, show(name)).catch(error => ({error: String(error.message || error)}));
  }
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, and takes what the page has found."""

    found: queue.Queue[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.found.put(json.loads(body))

    def log_message(self, format: str, *args: object) -> None:
        pass


def pictures() -> list[Pixels]:
    """Two colours side by side; above them, a white square moves."""
    found = []
    for number in range(FRAMES):
        picture = np.empty((*SIZE, 3), np.uint8)
        picture[:, : SIZE.width // 2], picture[:, SIZE.width // 2 :] = LEFT, RIGHT
        picture[4:12, 2 * number : 2 * number + 8] = 255
        found.append(picture)
    return found


def write_film(path: Path, sound: Path) -> None:
    """Writes the pictures as two segments, and joins them with the sound."""
    kind, segments, shown = film_format(path), [], pictures()
    half = FRAMES // 2
    for number in range(2):
        segment = Segment(path.with_name(f"{path.stem}-{number}{kind.segment_suffix}"), number * half * GAP, half)
        with SegmentWriter(segment.path, kind, SIZE, GAP, 1 / GAP) as writer:
            for index in range(number * half, (number + 1) * half):
                writer.add(shown[index], index * GAP, GAP)
        segments.append(segment)
    join(segments, path, kind, sound if kind.sound_codec else None, end=float(FRAMES * GAP))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film of each kind, and the page that shows them."""
    folder = tmp_path_factory.mktemp("films")
    source = clips.Clip(clips.pan(30), sounds=[clips.Sound(seconds=float(FRAMES * GAP))])
    sound = clips.write_clip(folder / "source.mp4", source)
    for suffix in SUFFIXES:
        write_film(folder / f"film{suffix}", sound)
    names = json.dumps([f"film{suffix}" for suffix in SUFFIXES])
    (folder / "page.html").write_text(PAGE.replace("NAMES", names))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the browser finds in each film, by suffix."""
    Handler.found = queue.Queue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    profile = tmp_path_factory.mktemp("profile")
    words = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio"]
    words += [f"--user-data-dir={profile}", "--autoplay-policy=no-user-gesture-required"]
    browser = subprocess.Popen(
        [*words, f"http://127.0.0.1:{server.server_port}/page.html"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        facts = Handler.found.get(timeout=SECONDS)
    except queue.Empty:
        pytest.fail("the browser has not shown the page")
    finally:
        browser.terminate()
        browser.wait()
        server.shutdown()
        server.server_close()
    return {suffix: facts[f"film{suffix}"] for suffix in SUFFIXES}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_browser_shows_the_film_in_its_size_length_and_colours(suffix: str, found: dict[str, Any]) -> None:
    facts = found[suffix]
    assert "error" not in facts
    assert (facts["width"], facts["height"]) == (SIZE.width, SIZE.height)
    tolerance = float(GAP) if suffix in (".mp4", ".webm") else 0.011  # a GIF counts in hundredths of a second
    assert facts["duration"] == pytest.approx(float(FRAMES * GAP), abs=tolerance)
    assert np.abs(np.subtract(facts["colours"], (LEFT, RIGHT))).max() <= LEVELS


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_browser_plays_the_film_with_its_sound_to_its_end(suffix: str, found: dict[str, Any]) -> None:
    facts = found[suffix]
    assert facts["readyState"] >= 2
    assert facts["currentTime"] == pytest.approx(facts["duration"])
    assert facts["frames"] > FRAMES // 2  # a slow machine drops some
    assert facts["sound"] > 0


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_browser_decodes_all_pictures_of_an_animation_and_repeats_it(suffix: str, found: dict[str, Any]) -> None:
    assert found[suffix]["frames"] == FRAMES
    assert found[suffix]["repeats"]
