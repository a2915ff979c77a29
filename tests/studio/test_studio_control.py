"""A running dream: paused, changed, stopped, waiting for another one, and the studio's end amid it."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studio_server import ENDLESS, SECONDS, SHORT, Server, children, decoded, picture, running

# A dream that ends only where its test lets it, and whose steps can be seen.
LONG: dict[str, Any] = {**ENDLESS, "step_size": 0.01}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("studio")) as server:
        yield server


@pytest.fixture(autouse=True)
def _alone(studio: Server) -> Iterator[None]:
    yield
    studio.remove_all()


def result(studio: Server, job: Any) -> Any:
    return decoded(studio.ask("GET", job["results"]["png"]).data)


def pause(studio: Server, job: Any) -> int:
    """Pauses a dream; returns the step at which it rests."""
    assert studio.act(job, "pause").status == 200
    step: int = studio.wait(job, "paused")["step"]
    return step


def end(studio: Server, job: Any) -> Any:
    """Lets a paused dream end a few steps on; returns it."""
    steps = studio.job(job)["step"] + 20
    assert studio.change(job, steps=steps).status == 200
    assert studio.act(job, "resume").status == 200
    return studio.finish(job)


def straight(studio: Server, job: Any) -> Any:
    """The result of a dream with the settings of one that has ended, without a pause."""
    steps = job["settings"]["steps"]
    return result(studio, studio.finish(studio.begin(job["picture"], {**LONG, "steps": steps})))


def test_a_paused_dream_goes_step_by_step_to_the_same_result(studio: Server) -> None:
    job = studio.begin(settings=LONG)
    studio.wait(job, "running", until=lambda job: job["step"] > 20)
    step = pause(studio, job)
    for count in (1, 2):
        assert studio.act(job, "step").status == 200
        studio.wait(job, "paused", until=lambda job, count=count: job["step"] == step + count)
    assert studio.wait(job, "paused")["step"] == step + 2
    finished = end(studio, job)
    assert finished["step"] == 2 * (step + 2 + 20)
    assert np.array_equal(result(studio, finished), straight(studio, finished))


def test_a_stopped_dream_has_a_result_and_goes_on(studio: Server) -> None:
    job = studio.begin(settings=LONG)
    studio.wait(job, "running", until=lambda job: job["step"] > 20)
    studio.act(job, "stop")
    stopped = studio.wait(job, "stopped")
    assert result(studio, stopped).shape == (48, 64, 3)
    assert studio.act(job, "resume").status == 200
    assert pause(studio, job) >= stopped["step"]
    finished = end(studio, job)
    assert np.array_equal(result(studio, finished), straight(studio, finished))
    assert finished["seconds"] > stopped["seconds"]


def test_what_makes_no_sense_is_a_conflict(studio: Server) -> None:
    job = studio.finish(studio.begin())
    for action in ("pause", "resume", "step", "stop"):
        answer = studio.act(job, action)
        assert (answer.status, answer.json["field"]) == (409, None), action
        assert job["name"] in answer.json["error"]
    assert studio.change(job, step_size=0.1).status == 409
    assert studio.act(job, "explode").status == 404
    assert studio.act({"id": "0" * 16}, "stop").status == 404


def test_a_change_on_the_way_is_recorded_and_repeated(studio: Server, tmp_path: Path) -> None:
    job = studio.begin(settings=LONG)
    studio.wait(job, "running", until=lambda job: job["step"] > 5)
    step = pause(studio, job)
    answer = studio.change(job, step_size=0.02, layers=["high"])
    assert answer.status == 200
    changed = studio.wait(job, "paused", until=lambda job: job["changes"] and not job["pending"])
    assert changed["settings"]["step_size"] == 0.02
    (change,) = changed["changes"]
    assert change == {"step": step, "settings": {"step_size": 0.02, "layer_weights": {"high": 1.0}}}
    finished = end(studio, job)
    words = shlex.split(finished["command"])
    assert words[:3] == ["onnxdream", "dream", "--repeat"]
    record = studio.ask("GET", finished["results"]["record"]).json
    assert [change["step"] for change in record["changes"]] == [step]
    ran = studio.cli(*words[1:], "--output", str(tmp_path / "again.png"))
    assert ran.returncode == 0, ran.stderr
    assert np.array_equal(decoded((tmp_path / "again.png").read_bytes()), result(studio, finished))


def test_a_larger_size_comes_with_the_next_octave(studio: Server) -> None:
    job = studio.begin(settings={**LONG, "max_size": 48}, picture=studio.picture(width=96, height=96))
    studio.wait(job, "running")
    assert studio.change(job, max_size=96).json["pending"] == {"max_size": 96}
    assert studio.change(job, steps=1).status == 200  # which ends this octave
    finished = studio.finish(job)
    assert (finished["width"], finished["height"], finished["pending"]) == (96, 96, {})
    assert result(studio, finished).shape == (96, 96, 3)


def test_many_changes_at_once_are_one_and_the_newest_wins(studio: Server) -> None:
    job = studio.begin(settings=ENDLESS)
    studio.wait(job, "running")
    studio.act(job, "pause")
    studio.wait(job, "paused")
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda n: studio.change(job, blur=n / 100).status, range(50)))
    assert set(statuses) == {200}
    assert studio.change(job, blur=7.5).status == 200
    found = studio.wait(job, "paused", until=lambda job: not job["pending"])
    assert found["settings"]["blur"] == 7.5
    assert len(found["changes"]) == 1


@pytest.mark.parametrize(
    ("settings", "field", "status"),
    [
        ('{"step_size": NaN}', "step_size", 422),
        ('{"step_size": Infinity}', "step_size", 422),
        ('{"step_size": 1e10}', "step_size", 422),
        ('{"step_size": ""}', "step_size", 422),
        ('{"step_size": "0,5"}', "step_size", 422),
        ('{"stay": "0,5"}', "stay", 422),
        ('{"stay": null}', "stay", 422),
        ('{"steps": 1e9}', "steps", 422),
        ('{"steps": true}', "steps", 422),
        ('{"steps": 12.5}', "steps", 422),
        ('{"colours": "rainbow"}', "colours", 422),
        ('{"optimizer": ["adam"]}', "optimizer", 422),
        ('{"layers": ["mixed99"]}', "layer_weights", 422),
        ('{"layers": []}', "layer_weights", 422),
        ('{"layer_weights": {"low": 0}}', "layer_weights", 422),
        ('{"channels": ["low:99999"]}', "channels", 422),
        ('{"channels": ["nowhere:1"]}', "channels", 422),
        ('{"channels": [[[]]]}', "channels", 422),
        ('{"classes": "castle"}', "classes", 422),
        ('{"wishes": 3}', "wishes", 422),
        ('{"noise": [64, 64]}', "noise", 422),
        ('{"provider": "cuda"}', "provider", 422),
        ('{"octaves": 2, "octaves_above": 5}', "octaves_above", 422),
        ('["steps"]', "settings", 422),
    ],
)
def test_a_wrong_setting_is_named(studio: Server, settings: str, field: str, status: int) -> None:
    head = f'{{"picture": "{studio.picture()}", "bundle": "tiny", "settings": '
    body = f"{head}{settings}}}".encode()
    for path in ("/api/jobs", "/api/estimate"):
        answer = studio.ask("POST", path, body, content_type="application/json")
        assert (answer.status, answer.json["field"]) == (status, field), answer.json
        assert "\n" not in answer.json["error"]
    assert studio.ask("GET", "/api/jobs").json["jobs"] == []


def test_a_running_dream_refuses_wrong_settings_and_goes_on(studio: Server) -> None:
    job = studio.begin(settings=ENDLESS)
    studio.wait(job, "running")
    for settings, status in (({"step_size": "x"}, 422), ({"layers": ["x"]}, 422), ({"seed": 5}, 409), ({"x": 1}, 422)):
        answer = studio.change(job, **settings)
        assert (answer.status, answer.json["error"].count("\n")) == (status, 0), settings
        assert answer.json["field"] in (*settings, "layer_weights")
    assert studio.job(job)["state"] == "running"


def test_requests_that_are_none_are_refused(studio: Server) -> None:
    asked = {"picture": studio.picture(), "bundle": "tiny", "settings": SHORT}
    before = set((studio.folder / "jobs").iterdir())
    for wrong, status in (
        ({"picture": None}, 422),
        ({"picture": "0" * 16}, 404),
        ({"picture": "../x"}, 404),
        ({"picture": 7}, 422),
        ({"look": "nightmare"}, 422),
        ({"look": ["creatures"]}, 422),
        ({"bundle": "none"}, 422),
        ({"mask": "0" * 16}, 404),
        ({"branch_of": "0" * 16}, 404),
    ):
        answer = studio.ask("POST", "/api/jobs", {**asked, **wrong})
        assert answer.status == status, (wrong, answer.json)
    for body in (b"", b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff\xfe", b'{"settings": {"\\ud800": 1}}'):
        assert studio.ask("POST", "/api/jobs", body, content_type="application/json").status == 400
    assert (
        studio.ask("POST", "/api/jobs", b'{"x": "' + bytes(2**19) + b'"}', content_type="application/json").status
        == 413
    )
    assert set((studio.folder / "jobs").iterdir()) <= before


def test_dreams_wait_in_a_queue_of_limited_length(studio: Server) -> None:
    picture = studio.picture()
    first = studio.begin(picture, ENDLESS)
    studio.wait(first, "starting", "running")  # a dream that was removed may still be about to end
    waiting = [studio.begin(picture) for _ in range(20)]
    refused = studio.ask("POST", "/api/jobs", {"picture": picture, "bundle": "tiny", "settings": SHORT})
    assert refused.status == 429
    assert [studio.job(job)["state"] for job in waiting] == ["queued"] * 20
    assert studio.act(waiting[0], "stop").json["state"] == "stopped"
    assert studio.change(waiting[1], step_size=0.5).json["settings"]["step_size"] == 0.5
    studio.act(first, "stop")
    changed = studio.finish(waiting[1])
    assert (changed["settings"]["step_size"], changed["changes"]) == (0.5, [])
    assert "--step-size 0.5 " in changed["command"]
    assert studio.finish(waiting[-1])["created"] > studio.job(waiting[1])["created"]


def test_a_paused_dream_makes_room_for_one_that_waits(studio: Server) -> None:
    job = studio.begin(settings=LONG)
    studio.wait(job, "running", until=lambda job: job["step"] > 20)
    step = pause(studio, job)
    studio.finish(studio.begin())
    assert (studio.job(job)["state"], studio.job(job)["step"]) == ("paused", step)
    studio.act(job, "step")
    studio.wait(job, "paused", until=lambda job: job["step"] == step + 1)
    assert studio.change(job, blur=1.0).status == 200
    assert studio.change(job, blur=0.0).status == 200
    finished = end(studio, job)
    assert np.array_equal(result(studio, finished), straight(studio, finished))


def test_a_removed_dream_is_gone(studio: Server) -> None:
    job, other = studio.begin(settings=ENDLESS), studio.begin()
    studio.wait(job, "running")
    with studio.live() as page:
        assert studio.ask("DELETE", f"/api/jobs/{job['id']}").status == 204
        page.until(lambda message: message == {"type": "removed", "id": job["id"]})
    assert studio.ask("DELETE", f"/api/jobs/{job['id']}").status == 404
    studio.finish(other)
    _wait_until(lambda: [path.name for path in (studio.folder / "jobs").iterdir()] == [other["id"]])


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds the worker in /proc")
def test_a_worker_that_is_killed_is_replaced_and_the_dream_goes_on(studio: Server) -> None:
    def kill_the_worker_of(job: Any) -> None:
        studio.wait(job, "running", until=lambda job: job["step"] > 5)
        os.kill(children(studio.process.pid)[-1], signal.SIGKILL)  # started after the reader of pictures

    job, again = studio.begin(settings=ENDLESS), studio.begin(settings=ENDLESS)
    for one in (job, again):
        kill_the_worker_of(one)
        # From then on, it is no longer running, until the next worker has begun it.
        studio.wait(one, "queued", "starting", "running", until=lambda job: "killed" in "".join(job["notices"]))
        if one is job:
            assert studio.change(job, steps=1).status == 200
            studio.finish(job)
    kill_the_worker_of(again)
    failed = studio.wait(again, "failed")
    assert "second time" in failed["error"]
    studio.finish(studio.begin())


def test_a_diverged_dream_says_so(studio: Server) -> None:
    settings = {**SHORT, "clip": False, "gradient_norm": "none", "step_size": 1e9, "steps": 100}
    job = studio.wait(studio.begin(settings=settings), "diverged", "finished", "failed")
    assert job["state"] == "diverged"
    assert "a smaller step size" in job["error"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    with running(tmp_path) as server:
        job = server.finish(server.begin())
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1000, 1000))
        answer = server.upload(picture(200, 200))
        assert answer.status in (500, 507)
        assert "\n" not in answer.json["error"]
        assert len(list((server.folder / "pictures").iterdir())) == 1
        assert server.job(job)["state"] == "finished"


def test_a_studio_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        done = server.finish(server.begin())
        paused = server.begin(settings=ENDLESS)
        server.wait(paused, "running", until=lambda job: job["step"] > 10)
        server.act(paused, "pause")
        paused = server.wait(paused, "paused")
        frame = server.ask("GET", f"/api/jobs/{paused['id']}/frame.jpg?after=0").data
        run = server.begin(settings=ENDLESS)
        waiting = server.begin()
        before = server.wait(run, "running", until=lambda job: job["step"] > 500)
        for job, state in ((done, "finished"), (paused, "paused"), (run, "running")):
            _rest_until_saved(server, job, state)
        server.kill()
    with running(tmp_path) as server:
        assert server.job(done)["results"] == done["results"]
        again = server.job(paused)
        assert (again["state"], again["step"]) == ("paused", paused["step"])
        assert server.ask("GET", f"/api/jobs/{paused['id']}/frame.jpg?after=0").data == frame
        assert server.wait(run, "running")["created"] == before["created"]
        server.change(run, steps=1)
        server.finish(run)
        server.finish(waiting)
        server.act(paused, "step")
        server.wait(paused, "paused", until=lambda job: job["step"] == paused["step"] + 1)
        server.finish(server.begin())  # to which the paused one leaves its worker
        assert server.act(paused, "stop").status == 200
        stopped = server.wait(paused, "stopped")
        assert (stopped["step"], result(server, stopped).shape) == (paused["step"] + 1, (48, 64, 3))


def _rest_until_saved(server: Server, job: Any, state: str) -> None:
    """The files of jobs are written a while after they change, one after the other in no order."""
    path = server.folder / "jobs" / job["id"] / "job.json"
    _wait_until(lambda: json.loads(path.read_text())["state"] == state)


def _wait_until(is_so: Callable[[], bool]) -> None:
    """Waits for what a studio does in its folder after its answer."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_studio_that_ends_saves_what_runs(name: str, code: int, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        job = server.begin(settings=ENDLESS)
        before = server.wait(job, "running", until=lambda job: job["step"] > 100)
        server.process.send_signal(signal.Signals[name])
        _, said = server.process.communicate(timeout=SECONDS)
        assert (server.process.returncode, said.strip()) == (code, "")
    assert (tmp_path / "studio" / "jobs" / job["id"] / "shapes-dream.checkpoint").stat().st_size
    with running(tmp_path) as server:
        found = server.wait(job, "running", until=lambda job: job["step"] > before["step"])
        assert found["seconds"] > 0
