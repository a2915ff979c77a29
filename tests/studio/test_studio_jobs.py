"""What is known of a job: its losses, its time, its file; and the command line that makes the same dream."""

from __future__ import annotations

import errno
import json
import os
import shlex
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from onnxdream.runtime.dream.request import parse_request
from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.settings.changes import Change
from onnxdream.runtime.settings.config import read_config, settings_changes
from onnxdream.runtime.settings.options import OPTIONS
from onnxdream.runtime.settings.settings import Execution, Settings
from onnxdream.studio.errors import StudioError, disk_error
from onnxdream.studio.jobs.choices import Chooser, changed, checked_settings, command_line, settings_file
from onnxdream.studio.jobs.folder import Folder, new_id
from onnxdream.studio.jobs.job import StudioJob
from onnxdream.studio.pictures.reading import Reader
from onnxdream.studio.pictures.uploads import Pictures
from onnxdream.studio.workers.controls import Controls
from onnxdream.studio.workers.desk import devices
from onnxdream.studio.workers.messages import Task, Word


def job(**facts: Any) -> StudioJob:
    names = {"id": "a", "name": "bears", "request": "r", "picture": "p", "picture_file": "bears.jpg"}
    sizes = {"picture_width": 64, "picture_height": 48}
    settings = {"initial": Settings(), "settings": Settings()}
    return StudioJob(**{**names, **sizes, **settings, "result": "bears-dream.png", "bundle": "tiny", **facts})


def test_a_pause_that_comes_amid_a_step_holds_the_next_one() -> None:
    """Otherwise the worker would wait without having said so."""
    controls = Controls()
    controls.begin(Task("a", Path("bears.jpg"), "tiny", Settings(), Path("bears-dream.png")))
    assert not controls.decide()
    controls.hear(Word("a", "pause"))
    assert controls.wait() == "go"
    assert controls.decide()
    controls.hear(Word("a", "step"))
    assert controls.wait() == "go"
    assert controls.decide()


def test_only_the_studios_own_leftovers_are_removed(tmp_path: Path) -> None:
    """The folder may be one in which its user has folders of these names."""
    left = [tmp_path / kind / new_id() for kind in ("jobs", "pictures")]
    own = [tmp_path / kind / "holiday" / "cat.jpg" for kind in ("jobs", "pictures")]
    for path in (*(folder / "frame.jpg" for folder in left), *own):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"cat")
    folder, reader = Folder(tmp_path), Reader()
    try:
        assert list(folder.read_jobs()) == []
        Pictures(folder.pictures, reader).clean()
    finally:
        reader.close()
        folder.close()
    assert all(path.is_file() for path in own)
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("field", ["picture_file", "mask_file", "guide_file", "result"])
def test_a_job_whose_file_is_elsewhere_is_left_alone(field: str, tmp_path: Path) -> None:
    """Otherwise a forged folder would make the studio read and write files outside of it."""
    one = job(id=new_id())
    for name, expected in (("bears.png", [one.id]), ("../bears.png", []), (str(tmp_path / "bears.png"), [])):
        with closing(Folder(tmp_path / "studio")) as folder:
            (folder.jobs / one.id).mkdir(exist_ok=True)
            folder.save(one.id, json.dumps({**json.loads(one.to_json()), field: name}))
            assert [found.id for found in folder.read_jobs()] == expected, name
            assert (folder.jobs / one.id / "job.json").is_file()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_keeps_no_studio_from_starting(tmp_path: Path) -> None:
    reader = Reader()
    with closing(Folder(tmp_path)) as folder, closing(reader):
        good, pictures = job(id=new_id()), Pictures(folder.pictures, reader)
        (folder.jobs / good.id).mkdir()
        folder.save(good.id, good.to_json())
        for place in (folder.jobs, folder.pictures):
            (place / new_id()).mkdir(0o000)
        assert [found.id for found in folder.read_jobs()] == [good.id]
        pictures.clean()


def test_losses_are_thinned_and_the_last_is_known() -> None:
    one = job()
    for step in range(5000):
        one.add_losses(((step, float(step)),))
    steps = [step for step, _ in one.losses]
    assert 200 <= len(steps) <= 400
    assert {after - before for before, after in pairwise(steps)} == {16}
    one.add_losses(((5000, float("nan")),))
    assert one.loss is None
    assert one.losses[-1][0] == 4992


def test_a_job_is_read_back_from_its_file() -> None:
    before = job(look="creatures", octaves=((48, 64),), losses=((0, 1.5),), changes=(Change(3, {"blur": (2.0, 1.0)}),))
    assert StudioJob.from_json(before.to_json()) == before


def test_changes_at_one_step_are_one() -> None:
    one = job()
    one.add_change(Change(3, {"blur": 1.0, "jitter": 4}))
    one.add_change(Change(3, {"blur": 2.0}))
    one.add_change(Change(4, {"blur": 3.0}))
    assert one.changes == (Change(3, {"blur": 2.0, "jitter": 4}), Change(4, {"blur": 3.0}))


def test_the_time_left_follows_from_the_pace_of_the_octave() -> None:
    one = job(state="running", octaves=((500, 1000), (1000, 2000)), steps=20, octave=1)
    for step, seconds in ((0, 5.0), (1, 6.0), (5, 8.0)):  # the first steps take longer
        one.step, one.seconds = step, seconds
        one.note_pace()
    assert one.pace == pytest.approx(1.0)
    assert one.seconds_left == pytest.approx(0.5 * 5 + 2 * 10)
    one.speed = 0.5
    assert one.seconds_left == pytest.approx(0.5 * 5 + 10)
    one.state = "finished"
    assert one.seconds_left is None


@pytest.mark.parametrize(
    ("look", "bundle", "settings"),
    [
        ("creatures", None, {}),
        ("creatures", None, {"steps": 3, "step_size": [0.05, 0.01], "blur": 0, "max_size": 0, "clip": False}),
        ("towers", None, {"channels": ["block05:3,-4", "block07:1"]}),
        ("towers", None, {"layers": ["block05"]}),
        ("towers", None, {"layer_weights": {"block05": 0.12345678, "block06": -0.7}, "snapshots": [5, 6]}),
        ("fur", None, {"pick": "strongest:5", "full_size": True, "until": ["block10:3=1.5"]}),
        ("gentle", "v3-mid", {}),
        ("paper", None, {"snapshots": []}),
        (None, "v3-low", {"steps": 7, "tiling": "tutorial", "interpolation": "linear"}),
        (None, "lite0", {"position": ["block05:0.5,0.25,0.1"], "colours": "own:0.7", "plateau": 5}),
    ],
)
def test_the_command_line_makes_the_same_dream(
    look: str | None, bundle: str | None, settings: dict[str, Any], tmp_path: Path
) -> None:
    chosen = Chooser({"threads": 1}).choose(look, bundle, settings)
    config = tmp_path / "bears.toml"
    config.write_text(settings_file(chosen.settings, chosen.model, config))
    line = command_line(chosen, {"threads": 1}, tmp_path / "my bears.jpg", {}, config)
    request = parse_request(read(shlex.split(line)[3:]), with_images=True)
    assert request.job.settings == chosen.settings
    assert request.job.bundle.sha256 == chosen.bundle.sha256


def test_the_command_line_names_the_file_of_settings_where_a_layer_has_a_comma(tmp_path: Path) -> None:
    """A comma separates layers there."""
    chosen, config = Chooser({}).choose(None, "v3-low", {}), tmp_path / "bears.toml"
    facts = chosen.bundle.metadata
    odd = replace(facts, layers=(replace(facts.layers[0], name="a,b"), *facts.layers[1:]))
    bundle = replace(chosen.bundle, metadata=odd)
    settings = replace(chosen.settings, layer_weights={"a,b": 2.0})
    line = command_line(replace(chosen, bundle=bundle, settings=settings), {}, tmp_path / "a.jpg", {}, config)
    assert shlex.split(line)[3:] == ["--config", str(config)]
    config.write_text(settings_file(settings, chosen.model, config))
    assert settings_changes(read_config(config))["layer_weights"] == settings.layer_weights


def read(words: list[str]) -> dict[str, Any]:
    """The options of a command line, as the real one reads them."""
    import typer

    from onnxdream import cli

    app: Any = typer.main.get_command(cli.app)
    with app.make_context("onnxdream", ["dream", *words]) as context:
        _, command, rest = app.resolve_command(context, ["dream", *words])
        params = command.make_context("dream", rest, parent=context).params
    names = {option.name for option in OPTIONS}
    return {name: value for name, value in params.items() if name in names and value not in (None, [], ())}


def test_everything_of_a_look_is_the_look_itself() -> None:
    chooser = Chooser({})
    chosen = chooser.choose("towers", None, {})
    everything = checked_settings({}) | {"steps": chosen.settings.steps, "channels": list(chosen.settings.channels)}
    assert chooser.choose("towers", None, everything).settings == chosen.settings
    other = {**everything, "channels": ["block05:1"], "layer_weights": {"block08": 1.0, "block10": 1.0}}
    assert chooser.choose("towers", None, other).settings.weights_of(chosen.bundle.metadata.layer_names)[1] == 1.0


def test_a_change_replaces_what_chose_in_another_way() -> None:
    before = Settings(channels=("low:1",))
    assert changed(before, {"layers": ["mid"]}) == Settings(layer_weights={"mid": 1.0})
    assert changed(before, {"classes": "3"}) == Settings(classes="3")
    assert changed(Settings(layer_weights={"mid": 1.0}), {"channels": ["low:2"]}) == Settings(channels=("low:2",))


def test_settings_of_no_sense_name_their_field() -> None:
    with pytest.raises(StudioError) as refused:
        Chooser({}).choose("creatures", None, {"blur": "0,5"})
    assert (refused.value.status, refused.value.field) == (422, "blur")


def test_each_gpu_has_a_worker_where_no_number_is_given() -> None:
    assert [one.provider for one in devices(Execution(provider="cuda"), 3)] == ["cuda:0", "cuda:1", "cuda:2"]
    for provider, gpus in (("cuda:1", 3), ("cuda", 1), ("cpu", 2), ("auto", 2)):
        assert devices(Execution(provider=provider), gpus) == [Execution(provider=provider)]


def test_a_full_disk_has_an_answer_of_its_own() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = OutputError("cannot write")
    wrapped.__cause__ = full
    rescued = OutputError("saved elsewhere")
    rescued.__cause__ = wrapped
    found = [disk_error(error).status for error in (full, wrapped, rescued, OSError(errno.EACCES, "denied"))]
    assert found == [507, 507, 507, 500]


def test_options_in_lines_are_settings_on_the_page() -> None:
    assert str(StudioError(422, "give a smaller --max-size, or --stay 1")) == "give a smaller max size, or stay 1"
