"""Two nodes on this machine: the same results as one process, whatever is killed or missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import held
import numpy as np
import pytest
from batches import Lines, done, have_state, pictures, sources, states
from pictures_fixture import TINY_BYTES, listing, load, noise, save

from onnxdream.models.streams import tolerant_streams
from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.batch.receipts import MANIFEST
from onnxdream.runtime.batch.run import Outcome, dream_many
from onnxdream.runtime.cluster import connection, nodes
from onnxdream.runtime.cluster.connection import ClusterOptions
from onnxdream.runtime.dream.record import Record, read_record
from onnxdream.runtime.dream.writer import Job
from onnxdream.runtime.errors import ClusterError, SettingsError

ray = pytest.importorskip("ray", reason="needs the extra `cluster`")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

SETTINGS = Settings(steps=3, step_size=0.02, snapshots=(), execution=Execution("cpu"))


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes with one CPU each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", held.environment()["PYTHONPATH"])
        handler = signal.getsignal(signal.SIGTERM)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        signal.signal(signal.SIGTERM, handler)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def there(two_nodes: Any, monkeypatch: pytest.MonkeyPatch) -> ClusterOptions:
    """The cluster, whose workers of earlier tests have ended."""
    wait_until(lambda: two_nodes.global_state.available_resources().get("CPU") == 2)
    held.hold_all(monkeypatch.setattr)
    patience = dict.fromkeys(connection._CHECK_ENVIRONMENT, "60")
    monkeypatch.setattr(connection, "_CHECK_ENVIRONMENT", patience)
    monkeypatch.setattr(connection, "_CHECK_SECONDS", 120.0)
    return ClusterOptions(two_nodes.address)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(Bundle.load(TINY_BYTES), SETTINGS, tmp_path / "out", extras=False)


def kill_a_worker(cluster: Any) -> None:
    """Kills one of the processes that dream, and returns when it is dead."""
    raylets = {info[0].process.pid for node in cluster.list_all_nodes() if (info := node.all_processes.get("raylet"))}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and (process / "cmdline").read_bytes().startswith(b"ray::NodeWorker.dream"):
                os.kill(int(process.name), signal.SIGKILL)
                wait_until(lambda process=process: is_dead(process))
                return
    raise AssertionError("no worker dreams")


def is_dead(process: Path) -> bool:
    try:
        return "Z" in (process / "stat").read_text().rpartition(")")[2]
    except OSError:
        return True


def record_of(path: Path) -> Record:
    """A record without the time, and without the memory, which decides the size of tiles."""
    record = read_record(path.read_text(), "")
    settings = replace(record.settings, execution=Execution())
    return replace(record, seconds=0.0, settings=settings, execution=Execution("cpu", record.execution.threads))


@pytest.mark.parametrize("ship", [False, True])
def test_a_cluster_writes_what_one_process_writes(ship: bool, there: ClusterOptions, job: Job, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.png", noise(30 + n % 2, 40, seed=n)) for n in range(5)]
    paths.append(save(tmp_path / "broken.png", noise(30, 40)))
    paths[5].write_bytes(b"no picture")
    guide = save(tmp_path / "guide.png", noise(30, 40, seed=9))
    snapshots = replace(SETTINGS, snapshots=(1, 2), execution=Execution("cpu", 1))
    full = replace(job, extras=True, settings=snapshots, guide=guide)
    lines, serial, workers = Lines(), Lines(), replace(full, output=tmp_path / "workers")
    dream_many(replace(full, output=tmp_path / "serial"), sources(paths), serial.reporter())
    dream_many(
        replace(workers, settings=replace(snapshots, execution=Execution("cpu", 2))),
        sources(paths),
        Lines().reporter(),
        2,
    )
    assert dream_many(full, sources(paths), lines.reporter(), None, replace(there, ship=ship)) == Outcome(5, 1)
    assert lines.log[:2] == ["6 pictures: 6 to dream", "cluster: 2 workers on 2 nodes"]
    assert lines.errors == serial.errors
    assert sum("saved as" in line and str(tmp_path / "out") in line for line in lines.log) == 5
    for other in ("serial", "workers"):
        assert listing(tmp_path / "out") == listing(tmp_path / other)
        assert states(tmp_path / "out") == states(tmp_path / other)
        for path in (tmp_path / "out").glob("?-dream*.csv"):
            assert path.read_bytes() == (tmp_path / other / path.name).read_bytes()
        for path in (tmp_path / "out").glob("?-dream-step*.png"):
            assert path.read_bytes() == (tmp_path / other / path.name).read_bytes()
        for path in (tmp_path / "out").glob("?-dream.json"):
            assert record_of(path) == record_of(tmp_path / other / path.name)
        for path in (tmp_path / "out").glob("?-dream.png"):
            np.testing.assert_array_equal(load(path), load(tmp_path / other / path.name))


@pytest.mark.parametrize("ship", [False, True])
def test_a_cluster_sends_the_begin_and_the_end_of_each_picture_and_does_nothing_twice(
    ship: bool, there: ClusterOptions, job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = pictures(tmp_path, 2)
    with tolerant_streams(with_events=True):
        dream_many(job, sources(paths), Lines().reporter(), None, replace(there, ship=ship))
    found = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    for name in ("00", "01"):
        begin, end = (event for event in found if event["picture"] == f"{name}.png")
        assert begin == {"event": "start", "picture": f"{name}.png", "steps": 3, "octaves": 1}
        assert (end["event"], end["ended"], end["step"]) == ("done", "finished", 3)
        assert end["result"] == str(tmp_path / "out" / f"{name}-dream.png")
    nowhere, lines = ClusterOptions("127.0.0.1:9", ship=ship), Lines()
    assert dream_many(job, sources(paths), lines.reporter(), None, nowhere) == Outcome(2, 0)
    assert lines.log == ["2 pictures: 2 done already, 0 to dream"]


@pytest.mark.parametrize("ship", [False, True])
def test_a_picture_whose_worker_is_killed_is_continued_by_another(
    ship: bool, two_nodes: Any, there: ClusterOptions, job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    large = save(tmp_path / "large.png", noise(200, 300))
    waits = held.hold(tmp_path, "large.png", 2)

    def on_line(line: str) -> None:
        if line.startswith("large.png: 300×200") and waits.exists():
            kill_a_worker(two_nodes)
            waits.unlink()

    lines, options = Lines(on_line), replace(there, ship=ship)
    paths = sources([*pictures(tmp_path, 3), large])
    assert dream_many(job, paths, lines.reporter(), 1, options) == Outcome(4, 0)
    assert any("large.png: its worker on node " in line and line.endswith(" continues") for line in lines.log)
    assert done(tmp_path / "out") == ["00.png", "01.png", "02.png", "large.png"]
    assert listing(tmp_path / "out") == {MANIFEST, "large-dream.png", *(f"0{n}-dream.png" for n in range(3))}
    assert capfd.readouterr() == ("", "")  # of Ray's own lines


def test_a_picture_that_kills_its_worker_twice_is_set_aside(
    two_nodes: Any, there: ClusterOptions, job: Job, tmp_path: Path
) -> None:
    large = save(tmp_path / "large.png", noise(200, 300))
    held.hold(tmp_path, "large.png", 2)
    lines = Lines(lambda line: kill_a_worker(two_nodes) if line.startswith("large.png: 300×200") else None)
    assert dream_many(job, sources([*pictures(tmp_path, 2), large]), lines.reporter(), 1, there) == Outcome(2, 1)
    (error,) = lines.errors
    assert error.startswith("large.png: set aside, since its worker on node ")
    assert states(tmp_path / "out") == {"begun": 3, "done": 2, "failed": 1}


def test_the_pictures_of_a_node_that_dies_are_continued_elsewhere(
    two_nodes: Any, there: ClusterOptions, job: Job, tmp_path: Path
) -> None:
    third = two_nodes.add_node(num_cpus=1)
    two_nodes.wait_for_nodes()
    begun: list[str] = []
    waiting = [held.hold(tmp_path, f"{n}.png", 2) for n in range(4)]

    def on_line(line: str) -> None:
        begun.extend([line] if ": 300×200" in line else [])
        if len(begun) == 3 and third in two_nodes.worker_nodes:
            two_nodes.remove_node(third, allow_graceful=False)
        if line.endswith("another one continues"):
            for path in waiting:
                path.unlink()

    paths = [save(tmp_path / f"{n}.png", noise(200, 300, seed=n)) for n in range(4)]
    lines = Lines(on_line)
    try:
        assert dream_many(job, sources(paths), lines.reporter(), None, there) == Outcome(4, 0)
    finally:
        if third in two_nodes.worker_nodes:
            two_nodes.remove_node(third)
    assert "cluster: 3 workers on 3 nodes" in lines.log
    assert len([line for line in lines.log if line.endswith("another one continues")]) == 1
    assert done(tmp_path / "out") == [f"{n}.png" for n in range(4)]


@pytest.mark.parametrize("ship", [False, True])
def test_after_a_signal_all_workers_stop_and_the_same_call_continues(
    ship: bool, there: ClusterOptions, job: Job, tmp_path: Path
) -> None:
    slow, options = replace(job, settings=replace(SETTINGS, steps=50)), replace(there, ship=ship)
    paths = [save(tmp_path / f"{n}.png", noise(60, 80, seed=n)) for n in range(2)]
    paths.append(save(tmp_path / "2.png", noise(20, 20)))
    waiting = [held.hold(tmp_path, path.name, 20) for path in paths[:2]]
    handler = signal.getsignal(signal.SIGTERM)
    begun: list[str] = []

    def on_line(line: str) -> None:
        if ": 80×60" in line:
            begun.append(line)
            if len(begun) == 2:  # a worker may have come late
                signal.raise_signal(signal.SIGTERM)

    assert dream_many(slow, sources(paths), Lines(on_line).reporter(), None, options).signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handler
    assert states(tmp_path / "out") == {"begun": 2, "stopped": 2}
    assert len(list((tmp_path / "out").glob("*.checkpoint"))) == 2
    for path in waiting:
        path.unlink()
    assert dream_many(slow, sources(paths), Lines().reporter(), None, options) == Outcome(3, 0)
    assert listing(tmp_path / "out") == {MANIFEST, *(f"{n}-dream.png" for n in range(3))}
    one_thread = replace(slow.settings, execution=Execution("cpu", 1))
    whole = dream(load(paths[0]), job.bundle, one_thread)
    np.testing.assert_array_equal(load(tmp_path / "out" / "0-dream.png"), whole.picture)


def test_a_node_that_sees_no_shared_folder_is_named(
    there: ClusterOptions, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process has another folder as /proc/self/cwd, as each machine has another one as /home."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (own, *_) = pictures(Path("/proc/self/cwd"), 1)
    elsewhere, lines = replace(job, output=Path("/proc/self/cwd/out")), Lines()
    with pytest.raises(ClusterError, match=r"node \S+ does not see /proc/self/cwd/out: share the folder, or .* --ship"):
        dream_many(elsewhere, sources([own]), lines.reporter(), None, there)
    shared = save(tmp_path / "shared.png", noise(30, 40))
    assert dream_many(job, sources([own, shared]), lines.reporter(), None, there) == Outcome(1, 1)
    (error,) = lines.errors
    assert "does not see /proc/self/cwd/00.png: share its folder, or send pictures there with --ship" in error
    assert dream_many(elsewhere, sources([own]), lines.reporter(), None, replace(there, ship=True)) == Outcome(1, 0)
    assert listing(tmp_path / "here" / "out") == {MANIFEST, "00-dream.png"}


def test_a_cluster_without_free_cpus_is_refused(there: ClusterOptions, job: Job, tmp_path: Path) -> None:
    holder = f"""if True:
        import ray, time
        ray.init("{there.address}", log_to_driver=False)
        task = ray.remote(num_cpus=1)(lambda: time.sleep(600))
        tasks = [task.remote() for _ in range(2)]
        while ray.available_resources().get("CPU"):
            time.sleep(0.1)
        print("held", flush=True)
        time.sleep(600)
    """
    many = replace(job, settings=replace(SETTINGS, execution=Execution("cpu", 8)))
    with pytest.raises(ClusterError, match="no node has 8 CPUs, the most is 1: choose fewer --threads"):
        dream_many(many, sources(pictures(tmp_path, 1)), Lines().reporter(), None, there)
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ClusterError, match=r"the cluster has no free CPU \(0 of 2\): wait for its other jobs"):
            dream_many(job, sources(pictures(tmp_path, 1)), Lines().reporter(), None, there)
        other.kill()
    assert states(tmp_path / "out") == {}


def test_another_onnxdream_on_a_node_is_refused(
    there: ClusterOptions, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "__version__", "9.9")
    with pytest.raises(ClusterError, match=r"node \S+ has onnxdream 0\.1\.0, and this machine 9\.9: install the same"):
        dream_many(job, sources(pictures(tmp_path, 1)), Lines().reporter(), None, there)


def test_other_versions_of_ray_and_python_are_refused(
    two_nodes: Any, there: ClusterOptions, job: Job, tmp_path: Path
) -> None:
    from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
    from ray._private.ray_constants import KV_NAMESPACE_CLUSTER as NAMESPACE

    client = two_nodes.head_node.get_gcs_client()
    before = client.internal_kv_get(CLUSTER_METADATA_KEY, NAMESPACE)
    changed = json.dumps({**json.loads(before), "ray_version": "2.40.0", "python_version": "3.12.0"})
    client.internal_kv_put(CLUSTER_METADATA_KEY, changed.encode(), True, NAMESPACE)
    try:
        with pytest.raises(ClusterError, match=r"it runs Ray 2\.40\.0 on Python 3\.12\.0, and this machine has Ray"):
            dream_many(job, sources(pictures(tmp_path, 1)), Lines().reporter(), None, there)
    finally:
        client.internal_kv_put(CLUSTER_METADATA_KEY, before, True, NAMESPACE)


def test_a_cluster_dreams_into_a_folder_only(there: ClusterOptions, job: Job, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give a folder as --output"):
        dream_many(
            replace(job, output=tmp_path / "a.png"), sources(pictures(tmp_path, 1)), Lines().reporter(), None, there
        )


# Whole commands


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    options = ("--model", "tiny.onnx", "--provider", "cpu", "--no-extras", "--output", "out", "--cluster", "local")
    command = [sys.executable, "-m", "onnxdream.cli", "dream", "in", *options, *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True
    )


def wait_until(is_time: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not is_time():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def group(pid: int) -> list[str]:
    """The names of the living processes of a session."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (process / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, _, _, session = rest.split()[:4]
        found += [name] if int(session) == pid and state != "Z" else []
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_local_cluster_leaves_no_processes(how: signal.Signals, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 2)
    (tmp_path / "tiny.onnx").write_bytes(TINY_BYTES)
    process = start(tmp_path, "--steps", "1000000", "--workers", "2")
    try:
        wait_until(lambda: have_state(tmp_path / "out", "begun", 2) or process.poll() is not None)
        assert "raylet" in group(process.pid)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does
        else:
            process.kill()
        out, err = process.communicate(timeout=60)
        if how == signal.SIGINT:
            assert process.returncode == 130, err
            assert states(tmp_path / "out") == {"begun": 2, "stopped": 2}
        assert out == ""
        assert "Traceback" not in err
        assert not [line for line in err.splitlines() if "ray" in line.lower()]
        wait_until(lambda: not {"python", "raylet", "gcs_server", "ray::NodeWorker"} & set(group(process.pid)))
    finally:
        process.kill()
