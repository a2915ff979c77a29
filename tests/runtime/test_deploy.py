"""Deployed folders: their files, installing and running them, and what `deploy` never overwrites."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
from pictures_fixture import TINY_BYTES, in_limited_files, listing, noise, save

from onnxdream.models.assembly import DEFAULT
from onnxdream.runtime import Bundle
from onnxdream.runtime import deploy as deploy_module
from onnxdream.runtime.deploy import deploy
from onnxdream.runtime.deploying import wheel as wheel_module
from onnxdream.runtime.deploying.folder import TARGETS, DeploymentWriteError, plain_name
from onnxdream.runtime.deploying.wheel import pack_wheel
from onnxdream.runtime.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
ALWAYS = {"README.txt", "SHA256SUMS", "deployment.json", "requirements.txt", "run.sh", "tiny.onnx"}
JETSON = {"requirements-jetson.txt", "requirements-opencv.txt"}
PACKED = WHEEL, _ = pack_wheel()


@pytest.fixture(autouse=True)
def _packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing takes most of a deployment's time, and all of them contain the same wheel."""
    monkeypatch.setattr(deploy_module, "pack_wheel", lambda: PACKED)


@pytest.fixture(scope="module")
def tiny() -> Bundle:
    return Bundle.load(Path(__file__).parents[1] / "data" / "tiny.onnx")


SCRIPT = "import sys; from onnxdream.cli import app; sys.exit(app())"  # as pip makes it


def run_script(folder: Path, *words: str, here: Path | None = None, **environment: str) -> tuple[int, str, str]:
    """Runs run.sh as a user does, in the folder `here`."""
    finished = subprocess.run(
        [str(folder / "run.sh"), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=here or folder.parent,
        env={**os.environ, **environment},
    )
    return finished.returncode, finished.stdout, finished.stderr


def installed(folder: Path) -> Path:
    """The folder with an environment as run.sh would make it, but with the Python that runs the tests."""
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (python.parent / "onnxdream").write_text(SCRIPT, encoding="utf-8")
    interface = sysconfig.get_config_var("SOABI")
    text = f"{(folder / 'SHA256SUMS').read_text(encoding='utf-8')}{interface}\n"
    (folder / ".venv" / "installed").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("target", TARGETS)
def test_the_folder_of_every_target(target: str, tiny: Bundle, tmp_path: Path) -> None:
    folder = deploy(tiny, target, tmp_path / "device")
    jetson = target.startswith("jetpack")
    assert listing(folder) == ALWAYS | {WHEEL} | (JETSON if jetson else set())
    assert listing(tmp_path) == {"device", *(f"device/{name}" for name in listing(folder))}
    assert (folder / "tiny.onnx").read_bytes() == TINY_BYTES
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert checked.returncode == 0
    assert len(checked.stdout.splitlines()) == len(listing(folder)) - 1
    *_, extras = lines = (folder / "README.txt").read_text().splitlines()
    assert len(lines) == 6
    assert extras.endswith(f".venv/bin/python -m pip install './{WHEEL}[video,heic,studio]'")
    assert target in (folder / "README.txt").read_text()
    assert json.loads((folder / "deployment.json").read_text())["target"] == target
    script = (folder / "run.sh").read_text()
    assert TARGETS[target].python in script
    assert "@bundle" not in script
    assert "@python" not in script
    assert subprocess.run(["sh", "-n", folder / "run.sh"], check=False).returncode == 0
    assert os.access(folder / "run.sh", os.X_OK)
    requirements = (folder / "requirements.txt").read_text()
    assert requirements.startswith(f"./{WHEEL}")
    assert ("numpy>=1.26,<2" in requirements) == jetson
    if jetson:
        from_jetson_index = (folder / "requirements-jetson.txt").read_text()
        assert f"--index-url {TARGETS[target].jetson_index}\n" in from_jetson_index
        (requirement,) = TARGETS[target].requirements
        assert requirement.startswith("onnxruntime-gpu>=")
        assert ",<" in requirement
        assert from_jetson_index.endswith(f"\n{requirement}\n")
        assert "onnxruntime" not in requirements
    else:
        assert requirements.splitlines() == [f"./{WHEEL}[{TARGETS[target].extra}]", *TARGETS[target].requirements]


def test_the_same_bundle_makes_the_same_folder(tiny: Bundle, tmp_path: Path) -> None:
    first, second = (deploy(tiny, "cpu", tmp_path / name) for name in ("first", "second"))
    assert (first / "SHA256SUMS").read_bytes() == (second / "SHA256SUMS").read_bytes()
    assert pack_wheel() == PACKED == (WHEEL, (first / WHEEL).read_bytes())


def test_a_folder_is_named_after_its_bundle_and_target(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert deploy(tiny, "cpu") == Path("tiny-cpu")
    assert (tmp_path / "tiny-cpu" / "run.sh").is_file()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("v3-low.onnx", "v3-low.onnx"),
        ("my net's $(v3).onnx", "my_net_s___v3_.onnx"),
        ("-rf.onnx", "rf.onnx"),
        (".onnx", "onnx"),
        ("日本.onnx", "onnx"),
        ("x" * 300 + ".onnx", "x" * 195 + ".onnx"),
        ("///", "bundle-"),
    ],
)
def test_a_bundle_gets_a_name_that_no_shell_misreads(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_an_unknown_target_is_refused(tiny: Bundle, tmp_path: Path) -> None:
    targets = "jetpack6, jetpack7, workstation, workstation-cuda12, cpu"
    with pytest.raises(SettingsError, match=f"unknown target 'jetson': choose one of {targets}"):
        deploy(tiny, "jetson", tmp_path / "device")
    assert not listing(tmp_path) - {"onnxdream-home"}


# The wheel.


def test_the_wheel_has_the_files_of_the_package() -> None:
    with zipfile.ZipFile(io.BytesIO(pack_wheel()[1])) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("onnxdream/")}
        metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    expected: set[str] = set()
    if (PROJECT.parent / "cli.py").is_file():
        for package in project["tool"]["setuptools"]["packages"]:
            folder = PROJECT.parent.joinpath(*package.split(".")[1:])
            patterns = ["*.py", *project["tool"]["setuptools"]["package-data"].get(package, [])]
            expected |= {str(path) for pattern in patterns for path in folder.glob(pattern)}
        expected = {f"onnxdream/{Path(path).relative_to(PROJECT.parent).as_posix()}" for path in expected}
    else:  # the tests of an installed wheel
        package = DEFAULT.path.parents[2]
        files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        expected = {f"onnxdream/{path.relative_to(package).as_posix()}" for path in files}
    assert packed == expected
    required = [line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-")]
    for requirement in project["project"]["dependencies"]:
        name = requirement.split(">")[0]
        assert any(line.startswith(name) and "extra ==" not in line for line in required), requirement
    assert any(line.startswith("onnxruntime>") and 'extra == "cpu"' in line for line in required)


@pytest.mark.parametrize(("python", "cuda"), [("3.10", "12"), ("3.11", "13"), ("3.13", "13")])
def test_the_extra_for_tensorrt_has_one_cuda_for_each_python(python: str, cuda: str) -> None:
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extra = [requirements.Requirement(line) for line in project["optional-dependencies"]["tensorrt"]]
    chosen = {
        line.name: line for line in extra if line.marker is None or line.marker.evaluate({"python_version": python})
    }
    assert set(chosen) == {"onnxruntime-gpu", f"tensorrt-cu{cuda}", "opencv-python-headless"}
    assert chosen["onnxruntime-gpu"].specifier.contains("1.26.0" if cuda == "12" else "1.31.1")
    assert not chosen["onnxruntime-gpu"].specifier.contains("1.31.1" if cuda == "12" else "1.26.0")


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("jinja2>=3.1", 'jinja2>=3.1; extra == "report"'),
        (
            "matplotlib>=3.8; python_version < '3.13'",
            "matplotlib>=3.8; (python_version < '3.13') and extra == \"report\"",
        ),
        (
            "matplotlib ;sys_platform == 'linux' or python_version < '3.13'",
            "matplotlib; (sys_platform == 'linux' or python_version < '3.13') and extra == \"report\"",
        ),
    ],
)
def test_a_requirement_of_an_extra_keeps_its_own_marker(
    requirement: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = PROJECT.read_text(encoding="utf-8").replace('"jinja2>=3.1"', f'"{requirement}"')
    for name, text in {"pyproject.toml": project, "LICENSE": "", "NOTICE": ""}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(wheel_module, "_PACKAGE", tmp_path)
    with zipfile.ZipFile(io.BytesIO(pack_wheel()[1])) as wheel:
        metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    assert f"Requires-Dist: {expected}" in metadata.splitlines()
    if find_spec("packaging"):
        from packaging.requirements import Requirement

        assert Requirement(expected).marker.evaluate({"extra": "report", "python_version": "3.12"})
        assert not Requirement(expected).marker.evaluate({"extra": "cpu", "python_version": "3.12"})


def test_the_wheel_s_record_has_the_hashes_and_sizes_of_its_files() -> None:
    with zipfile.ZipFile(io.BytesIO(pack_wheel()[1])) as wheel:
        record = next(name for name in wheel.namelist() if name.endswith("RECORD"))
        rows = {name: (hashed, size) for name, hashed, size in csv.reader(io.StringIO(wheel.read(record).decode()))}
        assert set(rows) == set(wheel.namelist())
        for name, (hashed, size) in rows.items():
            if name != record:
                digest = base64.urlsafe_b64encode(hashlib.sha256(wheel.read(name)).digest()).rstrip(b"=").decode()
                assert (hashed, int(size)) == (f"sha256={digest}", len(wheel.read(name)))


def test_pip_installs_the_wheel_and_it_runs(tmp_path: Path) -> None:
    name, data = pack_wheel()
    (tmp_path / name).write_bytes(data)
    packages = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", packages]
    if subprocess.run([*pip[:3], "--version"], capture_output=True, check=False).returncode:
        pytest.skip("no pip in this environment")
    subprocess.run([*pip, tmp_path / name], check=True, capture_output=True, cwd=tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "onnxdream.cli", "info", "v3-low", "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(packages)},
    )
    assert Path(json.loads(ran.stdout)["path"]).is_relative_to(packages)


# run.sh.


def test_the_script_verifies_and_dreams_from_anywhere(tiny: Bundle, tmp_path: Path) -> None:
    folder = installed(deploy(tiny, "cpu", tmp_path / "my device"))
    here = tmp_path / "here"
    here.mkdir()
    for words in ((), ("verify",)):
        code, out, err = run_script(folder, *words, here=here)
        assert code == 0, err
        assert "gradient on cpu in fp32" in out
    save(here / "my bears.png", noise(40, 50))
    code, _, err = run_script(folder, "dream", "my bears.png", "--steps", "2", here=here)
    assert code == 0, err
    assert "model: tiny.onnx" in err
    assert (here / "my bears-dream.png").is_file()
    again = json.loads((here / "my bears-dream.json").read_text())["bundle"]["path"]
    assert Path(again) == folder / "tiny.onnx"
    code, _, err = run_script(folder, "dream", "--repeat", "my bears-dream.json", here=here)
    assert code == 0, err
    assert (here / "my bears-dream-2.png").is_file()
    assert run_script(folder, "info", "--json", here=here)[0] == 0


@pytest.mark.parametrize(
    ("words", "has_own"),
    [
        (["dream", "bears.jpg"], False),
        (["dream", "bears.jpg", "--model=lite0"], True),
        (["dream", "--repeat", "bears-dream.json"], True),
        (["bench"], False),
        (["features", "mixed2"], False),
        (["features", "mixed2", "--model", "v3-mid"], True),
        (["film", "walk.mp4", "dream.mp4"], False),
        (["film", "--resume", "dream.mp4.parts"], True),
        (["zoom", "bears.jpg", "zoom.mp4"], False),
        (["travel", "bears.jpg", "travel.mp4"], False),
        (["doctor"], False),
        (["info"], True),
    ],
)
def test_the_script_gives_its_bundle_to_commands_that_dream_and_name_no_other(
    words: list[str], has_own: bool, tiny: Bundle, tmp_path: Path
) -> None:
    folder = installed(deploy(tiny, "cpu", tmp_path / "device"))
    python = f'#!/bin/sh\n[ "$1" != -c ] || exec {sys.executable} "$@"\nprintf "%s\\n" "$@"\n'
    (folder / ".venv" / "bin" / "python").write_text(python, encoding="utf-8")
    command, *others = words
    given = [command, *([] if has_own else ["--model", str(folder / "tiny.onnx")]), *others]
    assert run_script(folder, *words)[1].splitlines() == [str(folder / ".venv" / "bin" / "onnxdream"), *given]


def test_the_script_imports_nothing_from_the_current_folder(tiny: Bundle, tmp_path: Path) -> None:
    """It may be one of pictures from elsewhere."""
    folder = installed(deploy(tiny, "cpu", tmp_path / "device"))
    (tmp_path / "json.py").write_text("raise SystemExit(7)", encoding="utf-8")
    assert run_script(folder, "--version", here=tmp_path)[0] == 0


def test_the_script_returns_the_result_of_verify(tiny: Bundle, tmp_path: Path) -> None:
    folder = installed(deploy(tiny, "cpu", tmp_path / "device"))
    with (folder / "tiny.onnx").open("ab") as file:
        file.write(b"x")
    code, _, err = run_script(folder)
    assert code == 1
    assert "tiny.onnx is not as it was deployed" in err


def test_the_script_refuses_another_python(tiny: Bundle, tmp_path: Path) -> None:
    folder = deploy(tiny, "jetpack6", tmp_path / "device")
    code, out, err = run_script(folder, PYTHON="false")
    assert code == 1
    assert err.startswith("error: false is not the Python this folder was made for (sys.version_info[:2] == (3, 10), a")
    assert "JetPack 6" in err
    assert not out
    assert not (folder / ".venv").exists()


def test_the_script_installs_again_where_the_folder_has_changed(tiny: Bundle, tmp_path: Path) -> None:
    folder = installed(deploy(tiny, "cpu", tmp_path / "device"))
    (folder / ".venv" / "installed").write_text("another folder's", encoding="utf-8")
    code, _, err = run_script(folder, PYTHON="false")
    assert code == 1
    assert "is not the Python this folder was made for" in err


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="macOS lacks sha256sum")
def test_the_script_installs_nothing_from_a_damaged_folder(tiny: Bundle, tmp_path: Path) -> None:
    folder = deploy(tiny, "cpu", tmp_path / "device")
    (wheel,) = folder.glob("*.whl")
    os.truncate(wheel, 1000)
    code, _, err = run_script(folder, "dream", PYTHON=fake_python(tmp_path / "python", "echo installing"))
    assert code == 1
    last = (
        f"error: a file of {folder} is not as it was deployed (sha256sum -c SHA256SUMS names it): copy the folder again"
    )
    assert err.splitlines()[-1] == last
    assert "installing" not in err
    assert not (folder / ".venv").exists()


def test_the_script_installs_again_where_its_python_has_changed(tiny: Bundle, tmp_path: Path) -> None:
    """As where the system got a newer Python, which lacks all that was installed for the old one, or on an ARM CPU."""
    folder = installed(deploy(tiny, "cpu", tmp_path / "device"))
    python = folder / ".venv" / "bin" / "python"
    assert run_script(folder, "--version", PYTHON="false")[0] == 0
    for script in ("echo cpython-399-x86_64-linux-gnu", "exit 126"):
        python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        code, _, err = run_script(folder, "info", PYTHON="false")
        assert code == 1
        assert "is not the Python this folder was made for" in err


@pytest.mark.parametrize("link", ["{folder}/run.sh", "../device/run.sh", "second"])
def test_the_script_runs_through_a_link_and_leaves_what_lies_beside_the_link(
    link: str, tiny: Bundle, tmp_path: Path
) -> None:
    folder = installed(deploy(tiny, "cpu", tmp_path / "device"))
    project = tmp_path / "project"
    (project / ".venv").mkdir(parents=True)
    (project / ".venv" / "mine.txt").write_text("mine", encoding="utf-8")
    (project / "second").symlink_to("../device/run.sh")
    (project / "run.sh").symlink_to(link.format(folder=folder))
    code, out, err = run_script(project)
    assert code == 0, err
    assert "gradient on cpu in fp32" in out
    assert listing(project) == {"run.sh", "second", ".venv", ".venv/mine.txt"}


@pytest.mark.parametrize("beside", [(), ("requirements.txt",), ("requirements.txt", "SHA256SUMS")])
def test_the_script_never_empties_an_environment_of_another_folder(
    beside: tuple[str, ...], tiny: Bundle, tmp_path: Path
) -> None:
    """As where a user copies run.sh into a project, even one that has files of these names."""
    project = tmp_path / "project"
    (project / ".venv").mkdir(parents=True)
    (project / ".venv" / "mine.txt").write_text("mine", encoding="utf-8")
    for name in beside:
        (project / name).write_text("numpy", encoding="utf-8")
    shutil.copy(deploy(tiny, "cpu", tmp_path / "device") / "run.sh", project)
    code, _, err = run_script(project, "doctor")
    assert (code, err) == (
        1,
        f"error: {project} is not a folder that onnxdream deployed: run run.sh in that folder, or link to it\n",
    )
    assert (project / ".venv" / "mine.txt").read_text(encoding="utf-8") == "mine"


def fake_python(path: Path, venv: str) -> str:
    """A Python for which the shell commands `venv` are those of `python -m venv`; returns its path."""
    path.write_text(
        f'#!/bin/sh\nif [ "$1 $2" = "-m venv" ]; then {venv}; else exec {sys.executable} "$@"; fi\n', encoding="utf-8"
    )
    path.chmod(0o755)
    return str(path)


def test_the_script_installs_into_its_own_environment_whatever_pip_is_set_to(tiny: Bundle, tmp_path: Path) -> None:
    """As on a machine where PIP_USER=1 is set for all users; pip itself is imitated."""
    folder = deploy(tiny, "cpu", tmp_path / "device")
    pip = """printf '#!/bin/sh\\nset >pip.txt\\n' >.venv/bin/python; chmod +x .venv/bin/python"""
    python = fake_python(tmp_path / "python", f"mkdir -p .venv/bin; {pip}")
    run_script(folder, "info", PYTHON=python, PIP_USER="1", PIP_TARGET="/elsewhere", PIP_PREFIX="/elsewhere")
    text = (folder / "pip.txt").read_text(encoding="utf-8")
    assert "PIP_USER='0'" in text.splitlines()
    assert "/elsewhere" not in text


def without_pip(folder: Path, then: str = ":") -> str:
    """The Python of `fake_python`, whose environment has a pip that does nothing; `then` runs at the end of `venv`."""
    python = f'#!/bin/sh\\n[ "$2" = pip ] || exec {sys.executable} "$@"\\n'
    make = f"echo made >>{folder}/made; mkdir -p .venv/bin; echo '{SCRIPT}' >.venv/bin/onnxdream"
    make = f"{make}; printf '{python}' >.venv/bin/python"
    return fake_python(folder / "python", f"{make}; chmod +x .venv/bin/python; {then}")


def test_of_two_first_calls_one_installs_and_the_other_waits(tiny: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder = deploy(tiny, "cpu", tmp_path / "device")
    python = without_pip(tmp_path, then=f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done")

    def started() -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([str(folder / "run.sh"), "--version"], env={**os.environ, "PYTHON": python}, **pipes)

    with started() as first:
        while not (tmp_path / "made").exists():
            assert first.poll() is None
        with started() as second:
            assert second.stderr
            assert second.stderr.readline() == "another call of run.sh is installing here: waiting for it\n"
            (tmp_path / "go").touch()
            assert [one.communicate(timeout=100)[1] for one in (first, second)] == ["", ""]
    assert (first.returncode, second.returncode) == (0, 0)
    assert (tmp_path / "made").read_text(encoding="utf-8") == "made\n"


def test_without_a_network_one_line_names_what_pip_lacks_and_its_log(tiny: Bundle, tmp_path: Path) -> None:
    folder = deploy(tiny, "cpu", tmp_path / "device")
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    nowhere |= {"PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    code, out, err = run_script(folder, "info", **nowhere, PIP_QUIET="1", PYTHON=sys.executable)
    log = folder / ".venv" / "pip.log"
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: pip cannot install into {folder}/.venv (No matching distribution found for ")
    assert line.endswith(f"): check the network; all that pip complains of is in {log}")
    assert "ERROR: Could not find a version" in log.read_text(encoding="utf-8")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="runs the script as another user")
def test_the_script_as_a_user_who_cannot_run_the_installed_python(tiny: Bundle) -> None:
    """The owner's environment is left alone, and the advice is not to install python3-venv."""
    with ExitStack() as stack:
        stack.callback(os.umask, os.umask(0o022))  # the other user has to read what is made
        public = stack.enter_context(tempfile.TemporaryDirectory())
        Path(public).chmod(0o755)
        folder = installed(deploy(tiny, "cpu", Path(public).resolve() / "device"))
        folder.chmod(0o755)
        (folder / ".venv" / "bin" / "python").chmod(0o700)
        words = [str(folder / "run.sh"), "info"]
        finished = subprocess.run(words, capture_output=True, text=True, check=False, user=12345, group=12345)
        assert finished.returncode == 1
        assert finished.stderr == (
            f"error: this user cannot install into {folder}/.venv: run this as the folder's owner, or copy the folder\n"
        )
        assert (folder / ".venv" / "installed").exists()


def test_the_script_names_what_its_python_lacks(tiny: Bundle, tmp_path: Path) -> None:
    folder = deploy(tiny, "cpu", tmp_path / "device")
    code, _, err = run_script(folder, PYTHON="/no/such/python")
    assert (code, err) == (
        1,
        "error: there is no /no/such/python that this user can run: set PYTHON to the path of one\n",
    )
    code, _, err = run_script(folder, PYTHON=fake_python(tmp_path / "python", "echo no space left >&2; false"))
    assert (code, err) == (
        1,
        f"no space left\nerror: {tmp_path}/python cannot make a virtual environment in {folder}/.venv (see above)\n",
    )
    bare = tmp_path / "bare"
    bare.write_text("#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; esac\n", encoding="utf-8")
    bare.chmod(0o755)
    code, _, err = run_script(folder, PYTHON=str(bare))
    assert (code, err) == (1, f"error: {bare} cannot make virtual environments: sudo apt-get install python3-venv\n")


# Overwriting.


def test_a_deployed_folder_is_replaced_only_when_asked(tiny: Bundle, tmp_path: Path) -> None:
    folder = installed(deploy(tiny, "workstation", tmp_path / "device"))
    with pytest.raises(DeploymentWriteError, match="exists: give --overwrite"):
        deploy(tiny, "cpu", folder)
    assert "workstation" in (folder / "README.txt").read_text()
    deploy(tiny, "cpu", folder, overwrite=True)
    assert listing(folder) == ALWAYS | {WHEEL}
    assert listing(tmp_path) - {f"device/{name}" for name in listing(folder)} == {"device"}


def test_an_empty_folder_is_used(tiny: Bundle, tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    assert (deploy(tiny, "cpu", tmp_path / "device") / "run.sh").is_file()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_deploy_did_not_write_is_never_replaced(overwrite: bool, tiny: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    deploy(tiny, "cpu", tmp_path / "device")
    (tmp_path / "link").symlink_to("device")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = listing(tmp_path)
    for name in ("file", "folder", "link", "dangling"):
        with pytest.raises(DeploymentWriteError, match="choose another --output"):
            deploy(tiny, "cpu", tmp_path / name, overwrite)
    assert listing(tmp_path) == before
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "mine"


def test_dreams_beside_a_deployed_bundle_are_kept(tiny: Bundle, tmp_path: Path) -> None:
    folder = deploy(tiny, "cpu", tmp_path / "device")
    (folder / "bears-dream.png").write_text("a dream")
    with pytest.raises(DeploymentWriteError, match=r"contains 'bears-dream\.png', which was not deployed"):
        deploy(tiny, "cpu", folder, overwrite=True)
    assert (folder / "bears-dream.png").read_text() == "a dream"


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    """No new folder is left behind, and an existing folder is kept."""
    output = tmp_path / "device"
    bundle = tmp_path / "tiny.onnx"
    bundle.write_bytes(TINY_BYTES)
    words = (sys.executable, "-m", "onnxdream.cli", "deploy", bundle, "--target", "cpu", "--output", output)
    for existing in (False, True):
        if existing:
            deploy(Bundle.load(bundle), "cpu", output)
        before = listing(tmp_path)
        finished = in_limited_files(10**6, *words, "--overwrite")
        assert finished.returncode == 1
        assert finished.stderr.count("\n") == 1
        assert "cannot be written (File too large): choose another --output or make room" in finished.stderr
        assert listing(tmp_path) == before
