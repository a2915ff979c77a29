"""Dreams in the studio, from the upload to the result, as a page sees them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from studio_server import ENDLESS, SHORT, Server, decoded, is_frame, is_state, picture, running

from onnxdream.runtime.settings.presets import PRESETS
from onnxdream.runtime.settings.settings import OptimizerName


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("studio")) as server:
        yield server


@pytest.fixture(autouse=True)
def _alone(studio: Server) -> Iterator[None]:
    yield
    studio.remove_all()


def test_a_dream_has_the_same_bytes_as_that_of_the_command_that_it_shows(studio: Server, tmp_path: Path) -> None:
    settings = {**SHORT, "layers": ["low", "high"], "blur": [1.6, 0.5], "jitter": 3}
    mask = studio.upload(picture(20, 20), role="mask").json["id"]
    job = studio.finish(studio.begin(settings=settings, mask=mask))
    words = shlex.split(job["command"])
    assert words[:2] == ["onnxdream", "dream"]
    ran = studio.cli(*words[1:], "--output", str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    own = studio.ask("GET", job["results"]["png"]).data
    (by_command,) = tmp_path.glob("*-dream.png")
    assert np.array_equal(decoded(own), decoded(by_command.read_bytes()))
    assert len(np.unique(decoded(own))) > 50


def test_a_look_dreams_on_its_bundle(studio: Server, tmp_path: Path) -> None:
    picture = studio.picture()
    job = studio.begin(picture, {"max_size": 64, "steps": 2, "octaves": 2}, look="woodcut", bundle=None)
    job = studio.finish(job)
    assert (job["bundle"], job["look"], job["settings"]["layer_weights"]) == ("lite0", "woodcut", {"block03": 1.0})
    command = shlex.split(job["command"])[3:]
    assert command[:2] == ["--preset", "woodcut"]
    assert {"--max-size", "--steps", "--octaves"} < set(command)
    ran = studio.cli(*shlex.split(job["command"])[1:], "--output", str(tmp_path / "a.png"))
    assert ran.returncode == 0, ran.stderr
    own = studio.ask("GET", job["results"]["png"]).data
    assert np.array_equal(decoded(own), decoded((tmp_path / "a.png").read_bytes()))


def test_a_page_sees_the_dream_grow(studio: Server) -> None:
    first = studio.begin(settings=ENDLESS)  # so that the other one is watched before it begins
    with studio.live() as page:
        assert page.receive()["type"] == "jobs"
        job = studio.begin(settings={**SHORT, "steps": 60})
        page.watch(job)
        messages = page.until(is_frame)
        studio.act(first, "stop")
        # Its last frame comes before or after the news of its end.
        for last in (is_state("finished"), lambda message: is_frame(message) and message[0]["step"] == 120):
            messages += [] if any(map(last, messages)) else page.until(last)
    frames = [message for message in messages if is_frame(message)]
    headers = [header for header, _ in frames]
    assert [header["seq"] for header in headers] == sorted({header["seq"] for header in headers})
    assert headers[0]["step"] == 0
    assert all(jpeg.startswith(b"\xff\xd8") for _, jpeg in frames)
    news = [message["job"] for message in messages if not is_frame(message)]
    rows = [row for one in news if one["id"] == job["id"] for row in one["new_losses"]]
    assert [step for step, _ in rows] == list(range(121))
    found = studio.job(job)
    assert found["losses"] == rows
    assert found["notices"] == []
    assert (found["step"], found["steps"], found["octave_starts"]) == (120, 120, [0, 60])


def test_the_first_frame_is_the_picture_itself(studio: Server) -> None:
    waiting = studio.begin(settings=ENDLESS)
    job = studio.begin()
    with studio.live() as page:
        page.watch(job)
        header, jpeg = next(message for message in page.until(is_frame) if is_frame(message))
    assert (header["job"], header["step"]) == (job["id"], 0)
    difference = decoded(jpeg).astype(int) - decoded(picture()).astype(int)
    assert abs(difference).mean() < 4
    assert studio.act(waiting, "stop").status == 200


def test_two_pages_see_the_same(studio: Server) -> None:
    job = studio.begin(settings=ENDLESS)
    studio.wait(job, "running")
    studio.act(job, "pause")
    job = studio.wait(job, "paused", until=lambda job: job["step"] > 0)
    with studio.live() as first, studio.live() as second:
        seen = []
        for page in (first, second):
            page.watch(job)
            seen.append(page.until(is_frame)[-1])
    assert seen[0] == seen[1]
    assert (seen[0][0]["job"], seen[0][0]["step"]) == (job["id"], job["step"])


def test_a_slow_page_gets_the_newest_frame_only(studio: Server) -> None:
    with studio.live() as page:
        job = studio.begin(settings={**ENDLESS, "max_size": 512}, picture=studio.picture(width=512, height=512))
        page.watch(job)
        studio.wait(job, "running", until=lambda job: job["seq"] > 12)
        studio.act(job, "pause")
        last = studio.wait(job, "paused", until=lambda job: job["step"] > 0)
        headers = [
            message[0]
            for message in page.until(lambda one: is_frame(one) and one[0]["seq"] >= last["seq"])
            if is_frame(message)
        ]
    assert [header["seq"] for header in headers] == sorted({header["seq"] for header in headers})
    assert headers[-1]["step"] >= last["step"] - 1


def test_a_page_without_a_live_connection_polls(studio: Server) -> None:
    job = studio.finish(studio.begin())
    answer = studio.ask("GET", f"/api/jobs/{job['id']}/frame.jpg?after=0")
    assert answer.status == 200
    assert decoded(answer.data).shape == (48, 64, 3)
    seq = json.loads(answer.headers["x-frame"])["seq"]
    assert studio.ask("GET", f"/api/jobs/{job['id']}/frame.jpg?after={seq}").status == 204


def test_results_come_in_every_form(studio: Server) -> None:
    job = studio.finish(studio.begin(settings={**SHORT, "steps": 300}))
    png = decoded(studio.ask("GET", job["results"]["png"]).data)
    for form, kind in (("png", "image/png"), ("jpg", "image/jpeg"), ("webp", "image/webp"), ("tiff", "image/tiff")):
        answer = studio.ask("GET", job["results"][form])
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        assert decoded(answer.data).shape == png.shape
    assert np.array_equal(decoded(studio.ask("GET", job["results"]["tiff"]).data), png)
    record = studio.ask("GET", job["results"]["record"]).json
    assert record["steps_done"] == job["step"]
    assert "steps = 300" in studio.ask("GET", job["results"]["settings"]).data.decode()
    film = studio.ask("GET", job["results"]["film"])
    assert film.status == 200
    assert film.headers["content-type"].startswith(("video/", "image/"))
    assert len(film.data) > 500
    for name in ("original", "thumbnail"):
        assert decoded(studio.ask("GET", job[name]).data).shape == (48, 64, 3)


def test_a_file_that_was_removed_is_not_found(studio: Server) -> None:
    job = studio.finish(studio.begin())
    own, upload = studio.folder / "jobs" / job["id"], studio.folder / "pictures" / job["picture"]
    for file in (*own.glob("shapes-dream.*"), *own.glob("*.original.jpg"), *upload.glob("*.jpg")):
        file.unlink()
    results = [job["results"][form] for form in ("png", "jpg", "record", "film")]
    for path in (f"/api/pictures/{job['picture']}.jpg", job["original"], *results):
        answer = studio.ask("GET", path)
        assert (answer.status, answer.json["error"].partition(":")[0]) == (404, "there is no such file"), path


def test_the_same_request_begins_one_dream(studio: Server) -> None:
    asked = {"request": "twice", "picture": studio.picture(), "bundle": "tiny", "settings": SHORT}
    first, second = (studio.ask("POST", "/api/jobs", asked) for _ in range(2))
    assert (first.status, second.status) == (201, 200)
    assert first.json["id"] == second.json["id"]
    assert len(studio.ask("GET", "/api/jobs").json["jobs"]) == 1


def test_a_branch_takes_the_pictures_of_its_parent_or_its_result(studio: Server) -> None:
    mask = studio.upload(picture(), role="mask").json["id"]
    parent = studio.finish(studio.begin(mask=mask))
    asked: dict[str, Any] = {"bundle": "tiny", "settings": SHORT, "branch_of": parent["id"]}
    same = studio.finish(studio.ask("POST", "/api/jobs", asked).json)
    assert (same["branch_of"], same["picture"], same["mask"]) == (parent["id"], parent["picture"], parent["mask"])
    results = [studio.ask("GET", job["results"]["png"]).data for job in (parent, same)]
    assert np.array_equal(decoded(results[0]), decoded(results[1]))
    onwards = studio.ask("POST", "/api/jobs", {**asked, "from_result": True}).json
    assert onwards["picture"] != parent["picture"]
    assert onwards["name"] == "shapes-dream"
    studio.finish(onwards)


@pytest.mark.parametrize("name", ["original", "start", "frame", "preview", "mask", "guide-a"])
def test_a_picture_of_any_name_is_the_one_that_is_dreamed(studio: Server, name: str) -> None:
    """The studio's own files lie beside it."""
    suffix = ".png" if name == "mask" else ".jpg"
    data, guide = picture(suffix=suffix), picture(40, 40, suffix)
    own = studio.upload(data, f"{name}{suffix}").json
    mask = studio.upload(picture(20, 20), role="mask").json["id"]
    named = {"mask": mask, "guide": studio.upload(guide, f"a{suffix}", role="guide").json["id"]}
    job = studio.begin(own["id"], **named)
    words = shlex.split(job["command"])
    assert job["name"] == name
    assert Path(words[2]).read_bytes() == data
    assert Path(words[words.index("--guide") + 1]).read_bytes() == guide
    assert (studio.folder / "pictures" / own["id"] / f"{name}{suffix}").read_bytes() == data
    assert studio.ask("GET", own["picture"]).data != data
    studio.finish(job)


def test_a_branch_needs_no_upload_that_its_parent_has(studio: Server) -> None:
    """Uploads are removed for newer ones, and the page names those of the dream that it shows."""
    named = {"picture": studio.picture()}
    named |= {role: studio.upload(picture(80, 80), role=role).json["id"] for role in ("mask", "guide")}
    parent = studio.begin(**named)
    for identifier in named.values():
        shutil.rmtree(studio.folder / "pictures" / identifier)
    asked = {"bundle": "tiny", "settings": SHORT, "branch_of": parent["id"]}
    again = studio.ask("POST", "/api/jobs", {**asked, **named})
    assert again.status == 201, again.json
    assert {role: again.json[role] for role in named} == named
    assert studio.ask("POST", "/api/jobs", {**asked, "picture": named["mask"]}).status == 404
    studio.finish(again.json)


def test_a_branch_may_be_without_the_mask_and_the_guide_of_its_parent(studio: Server) -> None:
    named = {role: studio.upload(picture(80, 80), role=role).json["id"] for role in ("mask", "guide")}
    parent = studio.finish(studio.begin(**named))
    asked = {"bundle": "tiny", "settings": SHORT, "branch_of": parent["id"], "mask": None, "guide": None}
    for more in ({"picture": parent["picture"]}, {"from_result": True}):
        job = studio.ask("POST", "/api/jobs", {**asked, **more}).json
        assert (job["mask"], job["guide"]) == (None, None)
        assert not {"--mask", "--guide"} & set(shlex.split(job["command"]))


def test_a_guide_chooses_what_is_dreamed(studio: Server, tmp_path: Path) -> None:
    guide = studio.upload(picture(80, 80), "guide.png", role="guide").json["id"]
    job = studio.finish(studio.begin(guide=guide))
    ran = studio.cli(*shlex.split(job["command"])[1:], "--output", str(tmp_path / "a.png"))
    assert ran.returncode == 0, ran.stderr
    own = decoded(studio.ask("GET", job["results"]["png"]).data)
    assert np.array_equal(own, decoded((tmp_path / "a.png").read_bytes()))


def test_an_estimate_says_what_a_dream_takes(studio: Server) -> None:
    asked = {"picture": studio.picture(), "bundle": "tiny", "settings": SHORT}
    found = studio.ask("POST", "/api/estimate", asked).json
    assert (found["octaves"], found["steps"], found["tiles"]) == ([[45, 34], [64, 48]], 12, 1)
    assert found["memory"] > 10**8
    job = studio.begin()
    of_branch = {"branch_of": job["id"], "bundle": "tiny", "settings": SHORT}
    assert studio.ask("POST", "/api/estimate", of_branch).json["octaves"] == found["octaves"]
    assert studio.ask("POST", "/api/estimate", {**of_branch, "picture": job["picture"]}).json["steps"] == 12
    wrong = studio.ask("POST", "/api/estimate", {**asked, "settings": {"octaves": 0}})
    assert (wrong.status, wrong.json["field"]) == (422, "octaves")


def test_an_estimate_counts_the_guide(studio: Server) -> None:
    guide = studio.upload(picture(80, 80), role="guide").json["id"]
    parent = studio.begin(guide=guide)
    asked: dict[str, Any] = {
        "picture": parent["picture"],
        "bundle": "tiny",
        "settings": {**SHORT, "guide_by": "cosine"},
    }
    for more in ({"guide": guide}, {"branch_of": parent["id"]}):
        assert studio.ask("POST", "/api/estimate", {**asked, **more}).status == 200
    assert studio.ask("POST", "/api/estimate", asked).json["field"] == "guide_by"


def test_the_size_of_a_result_counts_for_what_is_dreamed_of_it(studio: Server) -> None:
    parent = studio.finish(studio.begin(studio.picture(width=128, height=96)))
    asked = {"branch_of": parent["id"], "bundle": "tiny", "settings": {**SHORT, "max_size": 0}}
    for from_result, largest in ((False, [128, 96]), (True, [64, 48])):
        found = studio.ask("POST", "/api/estimate", {**asked, "from_result": from_result})
        assert found.json["octaves"][-1] == largest


def test_the_time_is_estimated_from_earlier_dreams(studio: Server) -> None:
    large = studio.picture(width=512, height=512)
    asked = {"picture": large, "bundle": "tiny", "settings": {"max_size": 512, "steps": 10, "snapshots": []}}
    studio.finish(studio.begin(large, asked["settings"]))
    assert studio.ask("POST", "/api/estimate", asked).json["seconds"] > 0


def test_the_catalogue_offers_what_there_is(studio: Server) -> None:
    found = studio.ask("GET", "/api/catalogue").json
    names = [look["name"] for look in found["looks"]]
    assert found["default_look"] in names
    assert {"creatures", "paper"} < set(names)
    bundles = {bundle["name"]: bundle for bundle in found["bundles"]}
    assert {"tiny", "lite0", "v3-mid"} < set(bundles)
    atlas = bundles["lite0"]["layers"][0]["atlas"]
    assert studio.ask("GET", atlas["picture"]).headers["content-type"] == "image/webp"
    settings = {setting["name"]: setting for setting in found["settings"]}
    assert (settings["steps"]["kind"], settings["steps"]["min"], settings["steps"]["changes"]) == ("integer", 1, "step")
    assert settings["optimizer"]["choices"] == list(get_args(OptimizerName))
    assert settings["max_size"]["changes"] == "octave"
    for look in found["looks"]:
        assert set(look["settings"]) >= set(settings)
        assert bool(look["tile"]) == bool(PRESETS[look["name"]].bundle), "python docs/make_tiles.py makes the tiles"
        assert look["tile"] is None or studio.ask("GET", look["tile"]).status == 200
    for sample in found["samples"]:
        assert studio.ask("GET", sample["picture"]).status == 200
        taken = studio.ask("POST", f"/api/samples/{sample['name']}")
        assert (taken.status, taken.json["width"]) == (201, sample["width"])
