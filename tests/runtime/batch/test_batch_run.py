"""Many pictures in this process: failures, signals, receipts, and what a second call does."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batches import Lines, done, pictures, sources, states
from pictures_fixture import TINY_BYTES, listing, load, noise, save

from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.batch import run
from onnxdream.runtime.batch.plan import Plan
from onnxdream.runtime.batch.receipts import MANIFEST, Manifest
from onnxdream.runtime.batch.run import Outcome, dream_many, dream_named
from onnxdream.runtime.dream.checkpoint import read_checkpoint
from onnxdream.runtime.dream.record import read_record
from onnxdream.runtime.dream.repeat import find_source, job_to_resume
from onnxdream.runtime.dream.writer import Job
from onnxdream.runtime.errors import OutputError, SettingsError
from onnxdream.runtime.image.source import Source

SETTINGS = Settings(steps=3, step_size=0.02, snapshots=(), execution=Execution("cpu", 1))


@pytest.fixture
def job(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A short dream of the tiny bundle into the folder `out`, of which only the picture is kept."""
    bundle = tmp_path_factory.mktemp("bundle") / "tiny.onnx"
    bundle.write_bytes(TINY_BYTES)
    return Job(Bundle.load(bundle), SETTINGS, tmp_path / "out", extras=False)


def test_bad_files_are_reported_and_the_rest_go_on(job: Job, tmp_path: Path) -> None:
    paths, lines = pictures(tmp_path, 20), Lines()
    for path in paths[::8]:
        path.write_bytes(path.read_bytes()[:200])
    assert dream_many(job, sources(paths), lines.reporter()) == Outcome(17, 3)
    assert sorted(error.partition(":")[0] for error in lines.errors) == [str(path) for path in paths[::8]]
    assert states(tmp_path / "out") == {"begun": 20, "done": 17, "failed": 3}
    assert len(list((tmp_path / "out").glob("*.png"))) == 17
    assert sum("saved as" in line for line in lines.log) == 17


def test_a_second_call_skips_and_counts_what_is_done(job: Job, tmp_path: Path) -> None:
    paths, lines = pictures(tmp_path, 3), Lines()
    dream_many(job, sources(paths[:2]), lines.reporter())
    assert dream_many(job, sources(paths), lines.reporter()) == Outcome(3, 0)
    assert lines.log.count("2 pictures: 2 to dream") == lines.log.count("3 pictures: 2 done already, 1 to dream") == 1
    assert dream_many(job, sources(paths), lines.reporter()) == Outcome(3, 0)
    assert done(tmp_path / "out") == ["00.png", "01.png", "02.png"]


def test_changed_pictures_and_settings_are_dreamed_next_to_the_earlier_results(job: Job, tmp_path: Path) -> None:
    (path,) = pictures(tmp_path, 1)
    dream_many(job, sources([path]), Lines().reporter())
    save(path, noise(31, 40))
    dream_many(job, sources([path]), Lines().reporter())
    dream_many(replace(job, settings=replace(SETTINGS, steps=2)), sources([path]), Lines().reporter())
    assert [load(tmp_path / "out" / f"00-dream{end}.png").shape[0] for end in ("", "-2", "-3")] == [30, 31, 31]
    assert done(tmp_path / "out") == ["00.png"] * 3


def test_two_pictures_of_the_same_name_do_not_replace_each_other(job: Job, tmp_path: Path) -> None:
    paths = [save(tmp_path / folder / "bears.png", noise(40, 53, seed=n)) for n, folder in enumerate("ab")]
    for _ in range(2):
        lines = Lines()
        dream_many(replace(job, overwrite=True, extras=True), sources(paths), lines.reporter())
        assert not lines.errors
    recorded = {
        name: read_record((tmp_path / "out" / f"{name}.json").read_text(), "").picture.path  # type: ignore[union-attr]
        for name in ("bears-dream", "bears-dream-2")
    }
    assert recorded == dict(zip(("bears-dream", "bears-dream-2"), map(str, paths), strict=True))
    assert len(list((tmp_path / "out").glob("*.json"))) == 2


@pytest.mark.parametrize("change", [{"film": Path("a.mp4")}, {"output": Path("a.png")}])
def test_one_file_cannot_hold_several_dreams(change: dict[str, Path], job: Job, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot hold several dreams"):
        dream_many(replace(job, **change), sources(pictures(tmp_path, 2)), Lines().reporter())  # type: ignore[arg-type]


def test_a_folder_with_one_picture_may_become_a_named_file(job: Job, tmp_path: Path) -> None:
    named = replace(job, output=tmp_path / "art.png")
    assert dream_many(named, sources(pictures(tmp_path, 1)), Lines().reporter()) == Outcome(1, 0)
    assert listing(tmp_path) == {"00.png", "art.png"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
def test_after_a_signal_the_same_call_continues(number: int, job: Job, tmp_path: Path) -> None:
    paths = pictures(tmp_path, 2)

    def interrupt(line: str) -> None:
        if "→ 40×30" in line:
            signal.raise_signal(number)
            if number != signal.SIGINT:
                signal.raise_signal(number)  # `timeout` and a closing terminal send it twice

    before, lines = signal.getsignal(number), Lines(interrupt)
    assert dream_many(job, sources(paths), lines.reporter()).signal == number
    assert signal.getsignal(number) is before
    assert listing(tmp_path / "out") == {"00-dream.png", "00-dream.checkpoint", "manifest.jsonl"}
    assert any("stopped after 0 of 3 steps" in line for line in lines.log)
    assert dream_many(job, sources(paths), Lines().reporter()) == Outcome(2, 0)
    assert listing(tmp_path / "out") == {"00-dream.png", "01-dream.png", "manifest.jsonl"}
    assert states(tmp_path / "out") == {"begun": 3, "stopped": 1, "done": 2}
    whole = dream(noise(30, 40, seed=0), job.bundle, SETTINGS)
    np.testing.assert_array_equal(load(tmp_path / "out" / "00-dream.png"), whole.picture)


def test_a_dream_that_was_stopped_with_other_settings_starts_anew(job: Job, tmp_path: Path) -> None:
    paths = pictures(tmp_path, 2)
    stopping = Lines(lambda line: signal.raise_signal(signal.SIGINT) if "→ 40×30" in line else None)
    dream_many(job, sources(paths), stopping.reporter())
    other = replace(job, settings=replace(SETTINGS, seed=1))
    assert dream_many(other, sources(paths), Lines().reporter()) == Outcome(2, 0)
    assert {"00-dream-2.png", "00-dream.checkpoint", "01-dream.png"} <= listing(tmp_path / "out")


def resume(picture: Path, lines: Lines, source: Source | None = None) -> Outcome:
    """Resumes a picture as `--resume` does."""
    path = picture.with_suffix(".checkpoint")
    checkpoint = read_checkpoint(path)
    source = source or find_source(checkpoint.settings, checkpoint.picture, path)
    return dream_named(job_to_resume(checkpoint, path), source, lines.reporter(), checkpoint)


def test_a_picture_of_many_that_is_resumed_alone_has_its_receipts(job: Job, tmp_path: Path) -> None:
    out, paths = tmp_path / "out", pictures(tmp_path, 2)

    def stop_at(words: str) -> Lines:
        return Lines(lambda line: signal.raise_signal(signal.SIGINT) if words in line else None)

    dream_many(job, sources(paths), stop_at("→ 40×30").reporter())
    assert resume(out / "00-dream.png", stop_at("→ 40×30")).signal == signal.SIGINT
    assert states(out) == {"begun": 2, "stopped": 2}
    assert resume(out / "00-dream.png", Lines(), Source(paths[1])) == Outcome(0, 1)  # it is another picture
    assert states(out) == {"begun": 3, "stopped": 3}
    assert resume(out / "00-dream.png", Lines()) == Outcome(1, 0)
    assert states(out) == {"begun": 4, "stopped": 3, "done": 1}


def test_a_call_for_the_folder_counts_a_picture_that_was_resumed_as_done(job: Job, tmp_path: Path) -> None:
    out, paths, lines = tmp_path / "out", pictures(tmp_path, 2), Lines()
    stopping = Lines(lambda line: signal.raise_signal(signal.SIGINT) if "→ 40×30" in line else None)
    dream_many(job, sources(paths), stopping.reporter())
    assert resume(out / "00-dream.png", Lines()) == Outcome(1, 0)
    assert dream_many(job, sources(paths), lines.reporter()) == Outcome(2, 0)
    assert lines.log[0] == "2 pictures: 1 done already, 1 to dream"
    assert listing(out) == {MANIFEST, "00-dream.png", "01-dream.png"}


def test_a_picture_that_another_call_dreams_is_not_resumed(job: Job, tmp_path: Path) -> None:
    out, paths = tmp_path / "out", pictures(tmp_path, 1)
    stopping = Lines(lambda line: signal.raise_signal(signal.SIGINT) if "→ 40×30" in line else None)
    dream_many(job, sources(paths), stopping.reporter())
    with Manifest(out) as manifest:
        plan = Plan(job, sources(paths), manifest)
        assert plan.begin(plan.tasks[0])
        with pytest.raises(OutputError, match=r"00-dream\.png is being dreamed by another call"):
            resume(out / "00-dream.png", Lines())


def test_a_resumed_picture_needs_no_receipt(job: Job, tmp_path: Path) -> None:
    out, (path,) = tmp_path / "out", pictures(tmp_path, 1)
    out.mkdir()
    (out / MANIFEST).write_text("of another program")
    stopping = Lines(lambda line: signal.raise_signal(signal.SIGINT) if "→ 40×30" in line else None)
    dream_named(job, Source(path), stopping.reporter())
    assert resume(out / "00-dream.png", Lines()) == Outcome(1, 0)
    assert (out / MANIFEST).read_text() == "of another program"


def test_a_second_ctrl_c_ends_everything_at_once_and_leaves_nothing_half_written(job: Job, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        dream_named(job, Source(pictures(tmp_path, 1)[0]), Lines(interrupt).reporter())
    assert listing(tmp_path / "out") == set()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_long_plan_is_announced_once_with_what_would_be_faster(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_LONG_SECONDS", 0)
    lines = Lines()
    dream_many(job, sources(pictures(tmp_path, 3)), lines.reporter("use a look"))
    (announced,) = [line for line in lines.log if "use a look" in line]
    assert announced.startswith("the other 2 pictures take about ")
    assert announced.endswith("; use a look")
    monkeypatch.undo()
    lines = Lines()
    dream_many(replace(job, overwrite=True), sources(pictures(tmp_path, 3)), lines.reporter("use a look"))
    assert not [line for line in lines.log if "use a look" in line]
