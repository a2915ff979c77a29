"""The worked example of docs/networks.md, with few small pictures and a small network without ImageNet weights."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from exports import unverified
from pictures_fixture import in_this_process

pytest.importorskip("tensorflow", reason="needs the export extra")

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
# What makes the example quick, and possible without a network.
SMALLER = {
    "(224, 224)": "(64, 64)",
    "(224, 224, 3)": "(64, 64, 3)",
    "include_top=False,": "include_top=False, weights=None, alpha=0.35,",
    "epochs=10": "epochs=1, verbose=0",
    'metrics=["accuracy"]': "run_eagerly=True",
}


def block(language: str) -> str:
    """The only code block of the page in a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(text)


@pytest.mark.skipif(not PAGE.exists(), reason="needs the documentation of a checkout")
def test_a_network_fine_tuned_on_own_pictures_dreams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for species in ("jay", "owl", "wren"):
        (tmp_path / "birds" / species).mkdir(parents=True)
        for number in range(4):
            picture = rng.integers(0, 256, (70, 80, 3), np.uint8)
            assert cv2.imwrite(str(tmp_path / "birds" / species / f"{number}.png"), picture)
    assert cv2.imwrite(str(tmp_path / "photo.jpg"), picture)
    monkeypatch.chdir(tmp_path)
    example = block("py")
    for text, replacement in SMALLER.items():
        assert text in example
        example = example.replace(text, replacement)
    (tmp_path / "example.py").write_text(example)
    runpy.run_path("example.py")
    run = in_this_process(capfd)
    with unverified():
        for line in block("sh").splitlines():
            words = shlex.split(line)[1:]
            steps = ["--steps", "2", "--overwrite"] if words[0] == "dream" else []
            run(*words, *steps).succeeds()
    assert (tmp_path / "photo-dream.jpg").exists() or (tmp_path / "photo-dream.png").exists()
