"""The paper's claims and losses; with ImageNet weights also a test of the claims themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from onnxdream.models.backbones import find_backbone
from onnxdream.study.inputs import colourfulness
from onnxdream.study.paper import IRV2, PAPER_LOSSES, V3, Claim, evaluate_claims, paper_losses, paper_picture
from onnxdream.study.summary import Row

EXAMPLES = Path(__file__).parents[2] / "examples"


def row(
    backbone: str, layer_set: str, picture: str, last: float, colourfulness: float = 0.0, status: str = "done"
) -> Row:
    return Row(
        cell=f"{backbone}-{layer_set}-{picture}",
        bundle="",
        backbone=backbone,
        layer_set=layer_set,
        layers=(),
        weights="imagenet",
        objective="mean",
        picture=picture,
        status=status,  # type: ignore[arg-type]
        last_loss=last,
        colourfulness=colourfulness,
    )


def paper_rows(colours: Mapping[str, float], **changes: float) -> list[Row]:
    """Returns the rows of a run with the paper's own last losses.

    `colours` are the pictures' colourfulness; `changes` replace losses, as in v3_low_bears=1.5.
    """
    rows = []
    for (backbone, layer_set, picture), (_, last) in PAPER_LOSSES.items():
        name = f"{'v3' if backbone == 'v3' else 'irv2'}_{layer_set.removeprefix('paper-')}_{picture}"
        rows.append(row(backbone, layer_set, picture, changes.get(name, last), colours[picture]))
    return rows


COLOURFULNESS = {"bears": 30.0, "penguins": 50.0}


def verdicts(claims: list[Claim]) -> list[str]:
    return [claim.verdict for claim in claims]


def test_the_papers_own_losses_support_three_claims_and_leave_colour_undecided() -> None:
    claims = evaluate_claims(paper_rows(COLOURFULNESS), imagenet=True)
    assert verdicts(claims) == ["supported", "supported", "supported", "undecided"]
    assert "ratio 1.55" in claims[0].numbers[0]
    assert "difference 9 %" in claims[1].numbers[0]
    assert "penguins (colourfulness 50.0) 6.735, bears (30.0) 5.537" in claims[3].numbers[0]


@pytest.mark.parametrize(
    ("changes", "claim", "verdict"),
    [
        ({"v3_low_bears": 1.29 * 3.567012}, 0, "not supported"),
        ({"v3_low_bears": 1.31 * 3.567012}, 0, "supported"),
        ({"irv2_low_penguins": 2.651268 / 0.74}, 1, "not supported"),
        ({"irv2_high_bears": 2.5}, 2, "not supported"),
        ({"irv2_low_penguins": 2.6}, 2, "not supported"),
        ({"v3_high_penguins": 3.6}, 3, "supported"),
        ({"v3_low_penguins": 5.5}, 3, "not supported"),
    ],
)
def test_a_verdict_depends_on_the_losses(changes: dict[str, float], claim: int, verdict: str) -> None:
    assert verdicts(evaluate_claims(paper_rows(COLOURFULNESS, **changes), imagenet=True))[claim] == verdict


def test_other_weights_leave_the_claims_undecided_but_show_their_losses() -> None:
    claims = evaluate_claims(paper_rows(COLOURFULNESS), imagenet=False)
    assert set(verdicts(claims)) == {"undecided"}
    assert all("Not all weights of this run are ImageNet's" in claim.note for claim in claims)
    assert claims[0].numbers


def test_a_missing_cell_leaves_its_claims_undecided() -> None:
    rows = [r for r in paper_rows(COLOURFULNESS) if r.cell != "v3-paper-high-bears"]
    rows.append(row("v3", "paper-high", "bears", 0.0, 30.0, status="failed"))
    claims = evaluate_claims(rows, imagenet=True)
    assert verdicts(claims) == ["undecided", "supported", "supported", "undecided"]
    assert "paper-high: bears missing" in claims[3].numbers
    assert verdicts(evaluate_claims([], imagenet=True)) == ["undecided"] * 4


def test_a_picture_without_any_finished_cell_leaves_the_claims_undecided() -> None:
    rows = paper_rows(COLOURFULNESS)
    rows += [row(r.backbone, r.layer_set, "geese", 0.0, 90.0, "open") for r in rows if r.picture == "bears"]
    assert verdicts(evaluate_claims(rows, imagenet=True)) == ["undecided", "undecided", "supported", "undecided"]


def test_other_pictures_do_not_count_as_the_papers() -> None:
    rows = [row(r.backbone, r.layer_set, f"my-{r.picture[:3]}", r.last_loss) for r in paper_rows(COLOURFULNESS)]
    assert verdicts(evaluate_claims(rows, imagenet=True))[2] == "undecided"
    assert paper_losses(rows[0]) is None
    assert paper_picture("Three_Bears-2") == "bears"
    assert paper_losses(row("v3", "paper-low", "Penguin", 0.0)) == (3.176990, 6.735488)


def test_colourfulness_of_known_pictures() -> None:
    grey = np.full((8, 8, 3), 99, np.uint8)
    assert colourfulness(grey) == 0
    red = np.zeros((8, 8, 4), np.uint8)
    red[..., 0] = 255
    # One colour has no spread: 0.3 times the length of (255, 127.5).
    assert colourfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))
    halves = red.copy()
    halves[:, 4:, :3] = (0, 0, 255)
    # rg is 255 or 0, yb is 127.5 or -255.
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, -63.75)
    assert colourfulness(halves) == pytest.approx(expected)
    assert colourfulness(halves.astype(np.uint16) * 257) == pytest.approx(expected)


@pytest.fixture(scope="module")
def imagenet_claims(tmp_path_factory: pytest.TempPathFactory) -> list[Claim]:
    """The claims after a run of the whole grid with ImageNet weights, which takes an hour or more on a CPU."""
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    for download in (find_backbone(name).imagenet for name in (V3, IRV2)):
        if not download or not (folder / download.file).is_file():
            pytest.skip(f"{download and download.file} is not in {folder}")
    output = tmp_path_factory.mktemp("paper-study")
    images = f"{EXAMPLES / 'bears.jpg'},{EXAMPLES / 'penguins.jpg'}"
    command = [sys.executable, "-m", "onnxdream.cli", "experiment", "paper", "--images", images, "--output", output]
    subprocess.run(command, check=True, env={**os.environ, "ONNXDREAM_HOME": str(output / "home")})
    summary = json.loads((output / "summary.json").read_text())
    return evaluate_claims([Row(**entry) for entry in summary["rows"]], imagenet=True)


@pytest.mark.imagenet
@pytest.mark.parametrize("number", range(4))
def test_imagenet_weights_support_the_papers_claims(imagenet_claims: list[Claim], number: int) -> None:
    claim = imagenet_claims[number]
    assert claim.verdict == "supported", claim.numbers
