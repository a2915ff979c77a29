"""The command `verify` on deployed folders that are sound, damaged or hostile."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from pictures_fixture import MEAN, TINY_BYTES, Command, bundle_bytes, in_this_process, node

from onnxdream.runtime import Bundle
from onnxdream.runtime.deploy import deploy
from onnxdream.runtime.deploying.folder import DeploymentError
from onnxdream.runtime.deploying.reference import TOLERANCES, Agreement, Reference, Tolerance
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.verify import verify

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployed folder that no test changes."""
    bundle = Bundle.load(Path(__file__).parents[1] / "data" / "tiny.onnx")
    return deploy(bundle, "cpu", tmp_path_factory.mktemp("deployed") / "device")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(sound, tmp_path / "device"))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Command:
    return in_this_process(capfd)


def seal(folder: Path) -> None:
    """Makes the manifest fit the files again, as an attacker would."""
    names = [line[66:] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def change_facts(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the folder's `deployment.json`, and seals it."""
    facts = json.loads((folder / "deployment.json").read_text())
    change(facts)
    (folder / "deployment.json").write_text(json.dumps(facts))
    seal(folder)


def problems(folder: Path, **options: str) -> list[str]:
    """The problems that `verify` reports, each of which must be one line without control characters."""
    found = [check.problem for check in verify(folder, **options) if check.problem]
    assert all(line.isprintable() for line in found)
    return found


def refusal(folder: Path) -> str:
    with pytest.raises(DeploymentError) as refused:
        verify(folder)
    assert str(refused.value).isprintable()
    return str(refused.value)


def test_a_sound_folder_passes(sound: Path) -> None:
    checks = verify(sound)
    assert [check.name for check in checks] == ["files", "bundle", "provider cpu", "gradient on cpu in fp32"]
    assert not [check for check in checks if check.problem]
    assert "low, mid, high" in checks[1].found


def test_the_command_prints_a_table_or_json(sound: Path, folder: Path, run: Command) -> None:
    finished = run("verify", sound)
    finished.succeeds()
    assert [line.split()[0] for line in finished.out.splitlines()[1:]] == ["files", "bundle", "provider", "gradient"]
    finished = run("verify", sound, "--json")
    finished.succeeds()
    assert all(check["problem"] is None for check in json.loads(finished.out))
    (folder / "run.sh").unlink()
    (folder / "README.txt").write_text("other")
    finished = run("verify", folder, "--json")
    assert finished.code == 1
    assert finished.errors == [
        "error: README.txt is not as it was deployed: copy the folder again",
        "error: run.sh is missing: copy the folder again",
    ]
    assert [check["found"] for check in json.loads(finished.out)] == ["README.txt", "run.sh"]
    run("verify", folder / "nowhere").refuses("has no SHA256SUMS: give a folder that the command `deploy` made")
    (folder.parent / "bundle.onnx").write_bytes(b"")
    run("verify", folder.parent / "bundle.onnx").refuses(
        "has no SHA256SUMS: give a folder that the command `deploy` made"
    )


def test_every_file_is_checked(sound: Path, tmp_path: Path) -> None:
    for name in sorted(path.name for path in sound.iterdir() if path.name != "SHA256SUMS"):
        copy = Path(shutil.copytree(sound, tmp_path / name))
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        assert problems(copy) == [f"{name} is not as it was deployed: copy the folder again"]
        (copy / name).unlink()
        assert problems(copy) == [f"{name} is missing: copy the folder again"]


def test_additional_files_in_the_folder_do_not_matter(folder: Path) -> None:
    (folder / "bears-dream.png").write_text("a dream")
    (folder / ".venv").mkdir()
    assert not problems(folder)


# Hostile folders.


def to_link(path: Path) -> None:
    shutil.move(path, path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def to_huge(path: Path) -> None:
    os.truncate(path, 2**40)  # a sparse file: it takes no space on the disk, but would take long to read


def to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)  # to which nobody ever writes


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", ["tiny.onnx", "deployment.json", "SHA256SUMS"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (to_link, "not a plain file"),
        (to_pipe, "not a plain file"),
        (to_folder, "not a plain file"),
        (to_huge, "larger than any file"),
    ],
)
def test_only_plain_files_of_a_plausible_size_are_read(
    name: str, change: Callable[[Path], None], words: str, folder: Path
) -> None:
    try:
        change(folder / name)
    except OSError:
        pytest.skip("this file system does not support it")
    found = refusal(folder) if name == "SHA256SUMS" else problems(folder)[0]
    assert found.startswith(f"{name} is {words}")


HASH = "0" * 64


@pytest.mark.parametrize(
    "line",
    [
        f"{HASH}  ../../etc/passwd",
        f"{HASH}  /etc/passwd",
        f"{HASH}  sub/file",
        f"{HASH}  ..",
        f"{HASH}  .bashrc",
        f"{HASH}  -rf",
        f"{HASH}  a\\b",
        f"{HASH}  \x1b[31mred",
        f"{HASH}  {'x' * 300}",
        f"{HASH}  SHA256SUMS",
        f"{HASH}  run.sh",
        f"{HASH} run.sh",
        f"{HASH[1:]}  file",
        f"{HASH.replace('0', 'g')}  file",
        "",
        "\0",
        "é",
    ],
)
def test_a_manifest_names_files_in_its_folder_and_each_once(line: str, folder: Path) -> None:
    with (folder / "SHA256SUMS").open("ab") as file:
        file.write(line.encode() + b"\n")
    assert refusal(folder).startswith("SHA256SUMS ")


@pytest.mark.parametrize("name", ["run.sh", "requirements.txt", "deployment.json", "tiny.onnx"])
def test_a_manifest_that_leaves_out_a_required_file_is_refused(name: str, folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in lines if not line.endswith(f"  {name}\n")))
    assert refusal(folder) == f"SHA256SUMS does not list {name}: copy the folder again"


def test_an_empty_manifest_and_a_long_one_are_refused(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text("")
    assert "does not list" in refusal(folder)
    (folder / "SHA256SUMS").write_text("".join(f"{HASH}  file{number}\n" for number in range(10_000)))
    assert "larger than any" in refusal(folder)


def cut_gradient(facts: dict[str, Any]) -> None:
    facts["reference"]["gradient"] = facts["reference"]["gradient"][:-4]


@pytest.mark.parametrize(
    "change",
    [
        dict.clear,
        lambda f: f.update(format=0),
        lambda f: f.update(format="1"),
        lambda f: f.update(target="toaster"),
        lambda f: f.update(target=["cpu"]),
        lambda f: f.update(bundle="../tiny.onnx"),
        lambda f: f.update(bundle=None),
        lambda f: f.update(onnxdream="\x1b[31m"),
        lambda f: f.update(reference=None),
        lambda f: f["reference"].update(size=[2**31, 2**31]),
        lambda f: f["reference"].update(size=[-1, -1]),
        lambda f: f["reference"].update(size=[1e400, 1]),
        lambda f: f["reference"].update(size="ab"),
        lambda f: f["reference"].update(losses=[]),
        lambda f: f["reference"].update(losses=[float("nan")] * 3),
        lambda f: f["reference"].update(losses=[1e300] * 3),
        lambda f: f["reference"].update(picture="no base64 at all"),
        lambda f: f["reference"].update(picture=7),
        lambda f: f["reference"].update(gradient=base64.b64encode(bytes(3 * 64 * 96 * 4)).decode()),
        lambda f: f["reference"].update(gradient="é"),
        cut_gradient,
    ],
)
def test_damaged_facts_are_refused_in_one_line(change: Callable[[dict[str, Any]], object], folder: Path) -> None:
    change_facts(folder, change)
    assert refusal(folder) == "deployment.json is damaged: copy the folder again, or deploy it again"


@pytest.mark.parametrize("text", ["", "[" * 100_000, "1", "[1]", "{", "\udcff", '{"format": ' + "9" * 5000 + "}"])
def test_facts_that_are_not_facts_are_refused_in_one_line(text: str, folder: Path) -> None:
    (folder / "deployment.json").write_bytes(text.encode(errors="surrogateescape"))
    seal(folder)
    assert refusal(folder) == "deployment.json is damaged: copy the folder again, or deploy it again"


def test_the_folder_of_a_newer_onnxdream_is_recognised(folder: Path) -> None:
    change_facts(folder, lambda facts: facts.update(format=2))
    assert "was written by a newer onnxdream: run the one in the folder with run.sh" in refusal(folder)


# The bundle and the machine.


def replace_bundle(folder: Path, data: bytes) -> None:
    (folder / "tiny.onnx").write_bytes(data)
    seal(folder)


def test_a_bundle_that_breaks_the_contract_is_reported(folder: Path) -> None:
    replace_bundle(folder, b"no bundle")
    (problem,) = problems(folder)
    assert "it is not an ONNX file" in problem
    replace_bundle(folder, bundle_bytes([*MEAN, node("Identity", "losses", "gradient")]))
    (problem,) = problems(folder)
    assert "break the contract" in problem


def test_another_bundle_of_the_same_name_is_detected(folder: Path) -> None:
    replace_bundle(folder, (Path(__file__).parents[1] / "data" / "tiny.onnx").read_bytes())
    assert not problems(folder)
    replace_bundle(folder, bundle_bytes([*MEAN, node("Identity", "image", "gradient")]))
    (problem,) = problems(folder)
    assert "the gradient on cpu in fp32 differs from the reference in the folder" in problem


@pytest.mark.parametrize("factor", [1.001, 0.999, 0.0, -1.0])
def test_other_losses_are_detected(factor: float, folder: Path) -> None:
    def scale(facts: dict[str, Any]) -> None:
        facts["reference"]["losses"][1] *= factor

    change_facts(folder, scale)
    (problem,) = problems(folder)
    assert "(1e-04 allowed)" in problem


def test_another_gradient_is_detected(folder: Path) -> None:
    def swap(facts: dict[str, Any]) -> None:  # as if red and blue had been swapped
        gradient = np.frombuffer(base64.b64decode(facts["reference"]["gradient"]), "<f4").reshape(3, 64, 96)
        facts["reference"]["gradient"] = base64.b64encode(gradient[::-1].tobytes()).decode()

    change_facts(folder, swap)
    (problem,) = problems(folder)
    assert "loss error 0.0e+00" in problem
    assert "choose another --provider" in problem


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_a_target_with_a_gpu_needs_cuda(folder: Path) -> None:
    change_facts(folder, lambda facts: facts.update(target="workstation"))
    (problem,) = problems(folder)
    assert "provider cuda is not in this onnxruntime" in problem
    assert [check.name for check in verify(folder)][2:] == ["provider cuda", "provider cpu", "gradient on cpu in fp32"]
    assert not problems(folder, provider="cpu")


def test_a_precision_that_the_bundle_or_the_provider_lacks_is_reported(sound: Path) -> None:
    for precision in ("fp16", "bf16"):
        (problem,) = problems(sound, provider="cpu", precision=precision)
        assert precision in problem
    with pytest.raises(SettingsError, match="precision"):
        verify(sound, precision="fp8")
    with pytest.raises(SettingsError, match="provider"):
        verify(sound, provider="abacus")


# The reference on its own.


def test_a_reference_is_the_same_after_a_round_trip_through_json() -> None:
    bundle = Bundle.load(TINY_BYTES)
    reference = Reference.of(bundle)
    read = Reference.from_facts(json.loads(json.dumps(reference.to_facts())))
    assert np.array_equal(read.picture, reference.picture)
    assert np.array_equal(read.losses, reference.losses)
    assert np.array_equal(read.gradient, reference.gradient)
    found = read.agreement(bundle, Machine("cpu", 1))
    assert found.loss_error < 1e-5
    assert found.cosine > 0.999999


def test_every_precision_has_a_tolerance_and_a_lower_precision_a_larger_one() -> None:
    exact = TOLERANCES["fp32"]
    for precision, tolerance in TOLERANCES.items():
        assert precision == "fp32" or (tolerance.loss_error > exact.loss_error and tolerance.cosine < exact.cosine)


@pytest.mark.parametrize(
    ("found", "meets"),
    [
        (Agreement(0.0, 1.0), True),
        (Agreement(0.1, 0.9), True),
        (Agreement(0.11, 1.0), False),
        (Agreement(0.0, 0.89), False),
        (Agreement(float("nan"), 1.0), False),
        (Agreement(0.0, float("nan")), False),
    ],
)
def test_which_agreements_meet_a_tolerance(found: Agreement, meets: bool) -> None:
    assert found.meets(Tolerance(0.1, 0.9)) is meets
