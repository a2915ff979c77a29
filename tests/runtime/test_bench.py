"""The command `bench`, and the benchmark in benchmarks/: the tests check what is measured, never how fast it was."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from exports import unverified
from pictures_fixture import Command, in_this_process
from tiny import LAYERS, LITE_LAYERS, TINY, TINY_LITE

from onnxdream.models.arrays import Image, Size
from onnxdream.runtime import Bundle, Settings, dream
from onnxdream.runtime.ascent.stepper import DeviceStepper
from onnxdream.runtime.bench import StepTimer, Trial, machines
from onnxdream.runtime.errors import ProviderError
from onnxdream.runtime.image.source import noise_picture
from onnxdream.runtime.provider import selection
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.tensors import Device
from onnxdream.runtime.settings.settings import Execution

FOLDER = Path(__file__).parents[2] / "benchmarks"
SIZE = (48, 40)
CPU = Machine("cpu", 1)
EXECUTION = Execution("cpu", 1)

of_a_checkout = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the benchmarks of a checkout")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    return in_this_process(capfd)


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of benchmarks/ as its scripts do: `part("runner")`."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = {file.stem for file in FOLDER.glob("*.py")}
    yield importlib.import_module
    for name in names & set(sys.modules):
        del sys.modules[name]


# The command.


def test_bench_prints_what_was_measured(run: Command, tiny_path: Path) -> None:
    finished = run("bench", "--model", tiny_path, "--size", "48x40", "--size", "32x32", "--threads", 1, "--json")
    finished.succeeds()
    first, second = [facts for facts in json.loads(finished.out) if facts["provider"] == "cpu"]
    assert [(f["width"], f["height"], f["threads"], f["precision"]) for f in (first, second)] == [
        (48, 40, 1, "fp32"),
        (32, 32, 1, "fp32"),
    ]
    for facts in (first, second):
        low, high = facts["quartiles"]
        assert 0 < low <= facts["step_seconds"] <= high
        assert facts["steps"] >= 3
        assert facts["load_seconds"] > 0
        assert math.isclose(facts["steps_per_second"] * facts["step_seconds"], 1)
        assert math.isclose(facts["seconds_for_1000_steps"], facts["load_seconds"] + 1000 * facts["step_seconds"])
        assert 30e6 < facts["peak_bytes"] < 2e9
        assert facts["problem"] is None


def test_bench_prints_a_line_for_each_provider_and_size(run: Command, tiny_path: Path) -> None:
    finished = run("bench", "--model", tiny_path, "--size", "40x40", "--provider", "cpu")
    finished.succeeds()
    header, line = finished.out.splitlines()
    assert " ".join(header.split()) == "provider precision threads size load steps/s 1000 steps peak memory"
    assert line.split()[0] == "cpu"
    assert "40x40" in line
    assert line.split()[-1] == "MB"
    assert "tiny.onnx" in finished.err


def test_bench_reports_a_fallback_to_the_cpu_once(run: Command, tiny_path: Path, broken_cuda: str) -> None:
    finished = run("bench", "--model", tiny_path, "--size", "40x40", "--size", "32x32", "--threads", 1)
    finished.succeeds()
    assert finished.err.splitlines().count(broken_cuda) == 1
    assert [line.split()[0] for line in finished.out.splitlines()[1:]] == ["cpu", "cpu"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--size", "48"), "512x384"),
        (("--provider", "abacus"), "provider must be one of"),
        (("--threads", "0"), "threads must be"),
        (("--precision", "fp16"), "choose --precision fp32"),
        (("--model", "no-such"), "no model 'no-such'"),
    ],
)
def test_bench_refuses_what_it_cannot_measure(
    words: tuple[str, ...], reason: str, run: Command, tiny_path: Path
) -> None:
    finished = run("bench", *(() if "--model" in words else ("--model", tiny_path)), *words)
    finished.refuses(reason)
    assert finished.out == ""


def test_a_failure_in_the_measuring_process_is_a_problem_in_one_line(tmp_path: Path) -> None:
    result = Trial(tmp_path / "gone.onnx", CPU, Size(SIZE[1], SIZE[0])).run_in_subprocess()
    assert result.measurement is None
    assert "gone.onnx" in str(result.problem)
    assert "\n" not in str(result.problem)
    assert result.facts()["problem"] == result.problem
    assert result.row() == ("cpu", "fp32", "1", "48x40", "failed")


def test_auto_means_every_provider_that_works() -> None:
    assert CPU in machines(Execution(threads=1))[0]
    assert machines(Execution("cpu", threads=1)) == ([CPU], None)


def test_tensorrt_is_measured_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [PROVIDERS[name].ort_name for name in ("tensorrt", "cuda", "cpu")]
    monkeypatch.setattr(ort, "get_available_providers", lambda: names)
    monkeypatch.setattr(selection, "self_test", lambda *words: None)
    assert [machine.provider for machine in machines(Execution())[0]] == ["cpu", "cuda"]
    assert [machine.provider for machine in machines(Execution("tensorrt"))[0]] == ["tensorrt"]


def test_a_precision_that_a_provider_lacks_is_refused() -> None:
    with pytest.raises(ProviderError):
        machines(Execution("cpu", precision="bf16"))


def test_the_timed_steps_are_those_of_the_real_ascent(tiny_path: Path) -> None:
    bundle, picture = Bundle.load(tiny_path), noise_picture(*SIZE, seed=0).pixels
    timer = StepTimer(bundle, EXECUTION, picture)
    assert len(timer.step_seconds(3)) == 3
    assert len(timer.step_seconds(2)) == 2
    assert timer.state is not None
    assert timer.state.number == 5
    images: list[Image] = []
    settings = Settings(max_size=None, steps=5, execution=EXECUTION)
    dream(picture, bundle, settings, lambda step: images.append(step.fetch_state().image.copy()))
    np.testing.assert_allclose(timer.state.image, images[5], atol=1e-5)


def test_a_picture_on_a_device_is_not_fetched_while_its_steps_are_timed(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Device, "fetch_interval", 20)  # as on a GPU
    fetched = {"arrays": 0, "fetch_loss_rows": 0}
    for name in fetched:
        real = getattr(DeviceStepper, name)

        def counted(stepper: DeviceStepper, name: str = name, real: Any = real) -> Any:
            fetched[name] += 1
            return real(stepper)

        monkeypatch.setattr(DeviceStepper, name, counted)
    timer = StepTimer(Bundle.load(tiny_path), EXECUTION, noise_picture(*SIZE, seed=0).pixels)
    timer.step_seconds(3)
    after_few_steps = dict(fetched)
    timer.step_seconds(16)
    assert {name: count - after_few_steps[name] for name, count in fetched.items()} == after_few_steps
    assert after_few_steps["arrays"] <= 2  # for the state, and at the end of the run


def test_timing_ends_early_at_its_limit_but_not_before_the_minimum(tiny_path: Path) -> None:
    timer = StepTimer(Bundle.load(tiny_path), EXECUTION, noise_picture(*SIZE, seed=0).pixels)
    assert len(timer.step_seconds(50, limit=0.0, min_count=4)) == 4


# The benchmark.


@of_a_checkout
def test_systems_without_an_environment_are_skipped_with_the_reason(tmp_path: Path, part: Any) -> None:
    environments, systems = part("environments"), part("systems").SYSTEMS
    file = tmp_path / "environments.toml"
    file.write_text(f'tensorflow = "{sys.executable}"\nruntime = "{sys.executable}"\npytorch = "{tmp_path}/gone"\n')
    available, skipped = environments.select_available(systems, environments.read_environments(file))
    assert {system.name for system in available} == {"cpu", "tf-function", "floor"}
    assert {system.name for system in systems} == {"cpu", "tf-function", "floor"} | set(skipped)
    assert skipped["cuda"] == "no environment cuda"
    assert "has no Python" in skipped["torch-eager"]
    assert str(tmp_path) not in str(skipped)


@of_a_checkout
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "environments.toml.example"),
        ("= nothing", "not valid TOML"),
        ("tensorflow = 3", "must be the path"),
        ('runtime = "python"', "no environment tensorflow"),
    ],
)
def test_a_useless_file_of_environments_is_refused(text: str | None, reason: str, tmp_path: Path, part: Any) -> None:
    environments, file = part("environments"), tmp_path / "environments.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(environments.EnvironmentsError, match=reason):
        environments.read_environments(file)


@of_a_checkout
def test_the_example_of_environments_names_those_of_the_systems(part: Any) -> None:
    pythons = part("environments").read_environments(FOLDER / "environments.toml.example")
    assert set(pythons) == {system.environment for system in part("systems").SYSTEMS}


@of_a_checkout
def test_a_ratio_compares_systems_within_a_round(part: Any) -> None:
    runner, summarise, systems = part("runner"), part("summary").summarise, part("systems").SYSTEMS
    rounds = {
        "cpu": [[0.1, 0.2, 0.1], [0.8, 0.8, 0.8], [0.3, 0.3, 0.3]],
        "torch-eager": [[0.2, 0.2, 0.2], [1.6, 1.6, 1.6], [0.1, 0.2, 0.2]],
        "torch-compile": [[3.0, 3.0, 3.0]] * 3,
        "torch-bf16": [[0.01, 0.01, 0.01]] * 3,
        "floor": [[0.001, 0.001, 0.001]] * 3,
    }
    entries = {name: runner.Measurement({}, rounds=seconds) for name, seconds in rounds.items()}
    found = summarise(entries, list(systems))
    assert found["cpu"]["ratio"] == pytest.approx(0.5)
    assert found["torch-eager"]["ratio"] == 1.0  # the best peer in fp32; bf16 and the floor do not count
    assert found["cpu"]["median_ms"] == pytest.approx(300)
    assert (found["cpu"]["low_ms"], found["cpu"]["high_ms"]) == pytest.approx((200, 800))


@pytest.fixture(scope="session")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a folder with the files that the benchmark makes for the tiny net or the tiny lite net."""
    pytest.importorskip("tensorflow")
    networks = {"tiny": (TINY, LAYERS, "mean"), "lite": (TINY_LITE, LITE_LAYERS, "l2")}

    @cache
    def make(network: str) -> Path:
        folder = tmp_path_factory.mktemp("fixtures")
        backbone, layers, objective = networks[network]
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(FOLDER))
            with unverified():
                importlib.import_module("fixtures").make(folder, backbone, layers, [SIZE], objective)
        return folder

    return make


@pytest.fixture
def case(request: pytest.FixtureRequest, fixtures: Callable[[str], Path], tmp_path: Path, part: Any) -> Any:
    """A case of the tiny net, or of the network that the test names, whose reference gradient a test may change."""
    for file in fixtures(getattr(request, "param", "tiny")).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return part("rows").Case(tmp_path, SIZE)


of_both_networks = pytest.mark.parametrize("case", ["tiny", "lite"], indirect=True)

PEER = """
import sys
from pathlib import Path
import numpy as np
from rows import Case
peer, width, height, found, *folders = sys.argv[1:]
module, name = peer.split(":")
for number, folder in enumerate(folders):
    case = Case(Path(folder), (int(width), int(height)))
    np.save(f"{found}/{number}.npy", getattr(__import__(module), name)(case, 1).gradient())
"""


@of_a_checkout
@pytest.mark.parametrize(
    ("package", "peer"), [("tensorflow", "peer_tensorflow:TensorFlow"), ("torch", "peer_pytorch:PyTorch")]
)
def test_a_peer_computes_the_reference_gradients(
    package: str, peer: str, fixtures: Callable[[str], Path], part: Any, tmp_path: Path
) -> None:
    """In a process of its own, since TensorFlow takes a number of threads only before anything else."""
    pytest.importorskip(package)
    made = [fixtures(network) for network in ("tiny", "lite")]
    path = os.pathsep.join([*map(str, (FOLDER, Path(__file__).parents[1])), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", PEER, peer, *SIZE, tmp_path, *made]
    subprocess.run([*map(str, command)], env={**os.environ, "PYTHONPATH": path}, timeout=200, check=True)
    for number, folder in enumerate(made):
        expected = np.load(part("rows").Case(folder, SIZE).gradient)
        found = np.load(tmp_path / f"{number}.npy")
        np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.abs(expected).max()))


@of_a_checkout
@of_both_networks
def test_the_floor_has_every_convolution_forward_and_backward(case: Any, part: Any) -> None:
    floor, facts = part("floor"), json.loads((case.folder / "forward.json").read_text())
    with np.load(case.folder / "forward.npz") as arrays:
        model = floor.build_model(facts["operators"], dict(arrays), SIZE)
    convolutions = [op for op in facts["operators"] if op["kind"] == "Convolution"]
    activated = {op["inputs"][0] for op in facts["operators"] if op["kind"] in ("Relu", "Relu6")}
    made = {output.name for output in model.graph.output}
    for op in convolutions:
        forward = f"{op['name']}/forward"
        output = f"{forward}/activation" if op["name"] in activated else forward
        assert {output, f"{op['name']}/backward"} <= made
    assert len(made) == 2 * len(convolutions)
    kinds = [node.op_type for node in model.graph.node]
    strided = sum(op["strides"] != [1, 1] for op in convolutions)
    assert kinds.count("ConvTranspose") == strided > 0
    assert kinds.count("Conv") == 2 * len(convolutions) - strided


@of_a_checkout
@of_both_networks
def test_the_floor_computes_on_the_real_sizes(case: Any, part: Any) -> None:
    """The multiplications and additions of its model, counted from its outputs' shapes, are those of the network."""
    import onnxruntime as ort

    floor, facts = part("floor"), json.loads((case.folder / "forward.json").read_text())
    with np.load(case.folder / "forward.npz") as arrays:
        kernels = {name: array.size for name, array in arrays.items() if name.endswith("/kernel")}
        model = floor.build_model(facts["operators"], dict(arrays), SIZE)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    shapes = {name: array.shape for name, array in zip(names, session.run(names, feed), strict=True)}
    forward = {name.split("/")[0]: shape for name, shape in shapes.items() if "/forward" in name}
    inputs = {
        node.output[0].split("/")[0]: node.input[0] for node in model.graph.node if node.output[0].endswith("/forward")
    }
    for name, read in inputs.items():  # the gradient has the shape of the input, but for pixels that no window covers
        behind = [a - b for a, b in zip(feed[read].shape, shapes[f"{name}/backward"], strict=True)]
        assert behind[:2] == [0, 0]
        assert 0 <= min(behind) <= max(behind) <= 1
    operations = sum(4 * kernels[f"{name}/kernel"] * shape[2] * shape[3] for name, shape in forward.items())
    assert operations / 1e9 == pytest.approx(facts["gflop"][case.size_name])
    assert len(forward) == len(kernels)


@of_a_checkout
def test_the_floor_is_timed_by_its_kernels(case: Any, part: Any) -> None:
    floor = part("floor")
    seconds = floor.Floor(case, 1).step_seconds(2)
    assert len(seconds) == 2
    assert 0 < min(seconds) < 1  # one of them may have to wait for another program
    kernel = {"name": "conv_kernel_time", "ts": 20, "dur": 3, "args": {"op_name": "Conv"}}
    other = {**kernel, "args": {"op_name": "ReorderInput"}}
    runs = [{"name": "model_run", "ts": ts, "dur": 15, "args": {}} for ts in (10, 30)]
    assert floor.kernel_seconds([kernel, other, {**kernel, "ts": 31}, {**kernel, "ts": 40}, *runs]) == [3e-6, 6e-6]


@of_a_checkout
def test_a_benchmark_checks_times_and_reports(case: Any, part: Any, tmp_path: Path) -> None:
    runner, summary, report = part("runner"), part("summary"), part("report")
    systems = [system for system in part("systems").SYSTEMS if system.name in ("cpu", "floor")]
    pythons = dict.fromkeys(("runtime", "tensorflow"), Path(sys.executable))
    candidates = {system.name: runner.Candidate(system, case) for system in systems}
    lines: list[str] = []
    entries, absent = runner.run_interleaved(
        candidates, pythons, runner.RunPlan(rounds=2, steps=3, threads=1), lines.append
    )
    assert absent == {}
    assert entries["cpu"].cosine >= 0.9999
    assert entries["floor"].cosine is None
    for entry in entries.values():
        assert [len(times) for times in entry.rounds] == [3, 3]
        assert all(time > 0 for times in entry.rounds for time in times)
        assert entry.peak_bytes > 10e6
        assert "onnxruntime" in entry.versions
    assert len(entries["cpu"].evaluations) == 2
    results = {
        "date": "2020-01-01",
        "machine": part("machine").describe_machine(),
        "threads": 1,
        "versions": {name: entry.versions for name, entry in entries.items()},
        "skipped": {"cuda": "no environment cuda"},
        "steps": [{"row": "v3-low", "size": SIZE, "gflop": 1.0, "systems": summary.summarise(entries, systems)}],
        "start": {"cpu": [2.0, 1.0, 1.0], "tf-function": [8.0, 8.0, 2.0]},
    }
    assert json.loads(json.dumps(results))["steps"][0]["systems"]["cpu"]["rounds"] == entries["cpu"].rounds
    text = report.report(results)
    assert "| onnxdream, cpu fp32 |" in text
    assert "| TensorFlow tf.function | 8.00 (2.00–8.00) | 0.25× |" in text  # start by start
    assert "not measured: onnxdream, cuda fp32 (no environment cuda)" in text
    file = tmp_path / "performance.md"
    file.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.publish(results, file)
    assert file.read_text() == f"before\n{report.BEGIN}\n{text}{report.END}\nafter\n"
    file.write_text("no markers")
    with pytest.raises(ValueError, match="markers"):
        report.publish(results, file)


@of_a_checkout
@pytest.mark.parametrize("spoil", [lambda g: np.roll(g, 1, axis=2), lambda g: -g, lambda g: 1.01 * g])
def test_a_wrong_gradient_ends_the_benchmark_without_a_time(
    spoil: Any, case: Any, part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    np.save(case.gradient, spoil(np.load(case.gradient)))
    environments, results = tmp_path / "environments.toml", tmp_path / "results.json"
    environments.write_text(f'tensorflow = "{sys.executable}"\nruntime = "{sys.executable}"\n')
    run, benchmark = part("run"), part("benchmark")
    monkeypatch.setattr(benchmark.Benchmark, "_prepare_case", lambda self, row, size: case)  # v3 would take minutes
    words = ["--rows", "v3-low", "--sizes", "256x256", "--systems", "cpu", "--parts", "steps", "--threads", "1"]
    code = run.main([*words, "--environments", str(environments), "--json", str(results)])
    printed = capsys.readouterr()
    assert code == 1
    assert printed.out == ""
    assert "error: cpu at 48x40: gradient cosine" in printed.err
    assert not results.exists()


@of_a_checkout
@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_a_peer_that_cannot_start_is_reported_and_left_out(case: Any, part: Any) -> None:
    runner, systems = part("runner"), {system.name: system for system in part("systems").SYSTEMS}
    plan, lines = runner.RunPlan(rounds=1, steps=1, threads=1), []
    candidates = {name: runner.Candidate(systems[name], case) for name in ("torch-eager", "floor")}
    pythons = dict.fromkeys(("pytorch", "tensorflow"), Path(sys.executable))
    entries, absent = runner.run_interleaved(candidates, pythons, plan, lines.append)
    assert set(entries) == {"floor"}
    assert "No module named 'torch'" in absent["torch-eager"]
    assert absent["torch-eager"] in lines[0]


@of_a_checkout
def test_the_benchmark_fails_where_onnxdream_itself_cannot_start(case: Any, part: Any) -> None:
    runner, systems = part("runner"), {system.name: system for system in part("systems").SYSTEMS}
    (case.folder / "bundle.onnx").unlink()
    candidates = {"cpu": runner.Candidate(systems["cpu"], case)}
    plan = runner.RunPlan(rounds=1, steps=1, threads=1)
    with pytest.raises(runner.BenchmarkError, match="no bundle"):
        runner.run_interleaved(candidates, {"runtime": Path(sys.executable)}, plan, print)


@of_a_checkout
def test_a_whole_dream_is_compared_with_its_steps_alone(case: Any, part: Any) -> None:
    runner, job = part("runner"), part("job")
    (system,) = [system for system in part("systems").SYSTEMS if system.name == "cpu"]
    found = job.time_whole_job(runner.Candidate(system, case), {"runtime": Path(sys.executable)}, steps=3, threads=1)
    assert found["steps"] == 3
    assert found["seconds"] > 0
    assert found["steps_alone_seconds"] > 0
    assert found["share"] == pytest.approx(found["seconds"] / found["steps_alone_seconds"])


@of_a_checkout
def test_a_gpu_is_busy_while_any_kernel_runs(part: Any) -> None:
    runs = [{"name": "model_run", "ts": ts, "dur": 90} for ts in (0, 100, 200)]
    kernels = [
        {"cat": "Kernel", "name": "k", "ts": ts, "dur": dur} for ts, dur in ((10, 20), (110, 20), (120, 30), (210, 5))
    ]
    host = [{"cat": "Node", "name": "conv_kernel_time", "ts": 100, "dur": 90}]
    assert part("gpu_utilisation").busy_seconds([*runs, *kernels, *host], skipped=1) == pytest.approx(45e-6)
    assert part("gpu_utilisation").busy_seconds(host, skipped=1) == 0.0


# The measurements on a GPU.


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A folder with the pages that the results of a GPU are written into."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("performance.md", "devices.md"):
        (folder / name).write_text("before\n<!-- device: begin -->\nwhat was there\n<!-- device: end -->\nafter\n")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results of benchmarks/device.sh."""
    folder = tmp_path / "results"
    folder.mkdir()
    times = {"median_ms": 2.954, "low_ms": 2.9, "high_ms": 3.1}
    of_v3 = {"network": "v3-low", "size": "512x384"}
    rows = {
        "machine": [
            {"date": "2027-01-02", "gpu": "NVIDIA X1", "driver": "580.1", "onnxruntime": "1.31.1", "cuda": "13.0"}
        ],
        "steps": [{"system": "onnxdream", **of_v3, "cosine": 0.99999, "loss_error": 3e-7, **times}],
        "tuned": [{"system": "onnxdream --tune", **of_v3, "loss_error": 2e-3, "loss_rtol": 5e-2, **times}],
        "pytorch_v3": [{"system": "pytorch graph-fp16", **of_v3, "problem": "it has no memory"}],
        "options": [{"variant": "prefer_nhwc", **of_v3, "loss_error": float("nan"), **times}],
        "memory": [{**of_v3, "taken_bytes": 606 * 10**6, "planned_bytes": 173 * 10**6}],
    }
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (folder / "sections.1").write_text("SECTION doctor: ok\nSECTION tests: failed (3 failed, 9 passed)\n")
    (folder / "sections.2").write_text("SECTION steps: ok\nSECTION graph: skipped (too old)\n")
    return folder


@of_a_checkout
def test_the_results_of_a_gpu_are_written_into_the_documentation(part: Any, pages: Path, results: Path) -> None:
    part("device_report").main(results, pages)
    performance, devices = ((pages / name).read_text() for name in ("performance.md", "devices.md"))
    for page in (performance, devices):
        assert page.startswith("before\n<!-- device: begin -->\n2027-01-02, NVIDIA X1 (driver 580.1, CUDA 13.0, ")
        assert page.endswith("<!-- device: end -->\nafter\n")
        assert "what was there" not in page
    assert "| onnxdream | 2.95 (2.90–3.10) | not yet run | cosine 0.999990, losses within 3e-07 |" in performance
    assert "| onnxdream --tune | 2.95 (2.90–3.10) | not yet run | losses within 2e-03 |" in performance
    assert "| pytorch graph-fp16 | failed | not yet run |  |" in performance
    assert "| prefer_nhwc | wrong losses | not yet run |" in performance
    assert "ms per step of `lite0`: not yet run." in performance
    assert "| v3-low | 512×384 | 606 | 173 |" in performance
    assert "- graph: skipped (too old)" in performance
    assert "| `tests/gpu` | failed (3 failed, 9 passed) |" in devices
    assert "| a look, `creatures` | not yet run |" in devices


@of_a_checkout
def test_without_results_of_a_gpu_the_documentation_says_that_nothing_has_run(
    part: Any, pages: Path, tmp_path: Path
) -> None:
    part("device_report").main(tmp_path, pages)
    for name in ("performance.md", "devices.md"):
        assert ": not yet run.\n<!-- device: end -->" in (pages / name).read_text()


@of_a_checkout
@pytest.mark.parametrize("name", ["v3-low", "lite0"])
def test_the_networks_for_pytorch_are_those_of_the_built_in_bundles(name: str, part: Any, tmp_path: Path) -> None:
    """Their kernels are in the bundles, and their operators those of the exporter."""
    case = part("device_case").make_case(name, (48, 40), tmp_path)
    facts = json.loads((tmp_path / "forward.json").read_text())
    with np.load(tmp_path / "forward.npz") as arrays:
        names = {key.split("/")[0] for key in arrays.files}
    assert names == {op["name"] for op in facts["operators"] if op["kind"] == "Convolution"}
    assert np.load(case.image).shape == (3, 40, 48)
    if find_spec("tensorflow"):
        assert json.loads(json.dumps(part("device_case").forward_facts(name))) == facts
