"""The paper's claims and numbers, and the day its weights are here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from onnxdream.models.backbones import BACKBONES
from onnxdream.study.inputs import colourfulness
from onnxdream.study.paper import PAPER_LOSSES, Claim, evaluate_claims, paper_losses, paper_picture
from onnxdream.study.summary import Row

EXAMPLES = Path(__file__).parents[2] / "examples"


def row(backbone: str, layer_set: str, picture: str, last: float, colours: float = 0.0, status: str = "done") -> Row:
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
        colourfulness=colours,
    )


def papers_own(colours: Mapping[str, float], **changes: float) -> list[Row]:
    """The paper's own last losses as a run; `changes` name a set and a picture, as in v3_low_bears."""
    rows = []
    for (backbone, layer_set, picture), (_, last) in PAPER_LOSSES.items():
        name = f"{'v3' if backbone == 'v3' else 'irv2'}_{layer_set.removeprefix('paper-')}_{picture}"
        rows.append(row(backbone, layer_set, picture, changes.get(name, last), colours[picture]))
    return rows


COLOURS = {"bears": 30.0, "penguins": 50.0}


def verdicts(claims: list[Claim]) -> list[str]:
    return [claim.verdict for claim in claims]


def test_the_papers_own_numbers_hold_three_claims_and_leave_colour_undecided() -> None:
    claims = evaluate_claims(papers_own(COLOURS), imagenet=True)
    assert verdicts(claims) == ["held", "held", "held", "not decidable"]
    assert "ratio 1.55" in claims[0].numbers[0]
    assert "9 % apart" in claims[1].numbers[0]
    assert "penguins (colourfulness 50.0) 6.735, bears (30.0) 5.537" in claims[3].numbers[0]


@pytest.mark.parametrize(
    ("changes", "claim", "verdict"),
    [
        ({"v3_low_bears": 1.29 * 3.567012}, 0, "not held"),
        ({"v3_low_bears": 1.31 * 3.567012}, 0, "held"),
        ({"irv2_low_penguins": 2.651268 / 0.74}, 1, "not held"),
        ({"irv2_high_bears": 2.5}, 2, "not held"),
        ({"irv2_low_penguins": 2.6}, 2, "not held"),
        ({"v3_high_penguins": 3.6}, 3, "held"),
        ({"v3_low_penguins": 5.5}, 3, "not held"),
    ],
)
def test_a_claim_turns_with_its_numbers(changes: dict[str, float], claim: int, verdict: str) -> None:
    assert verdicts(evaluate_claims(papers_own(COLOURS, **changes), imagenet=True))[claim] == verdict


def test_other_weights_decide_nothing_but_show_their_numbers() -> None:
    claims = evaluate_claims(papers_own(COLOURS), imagenet=False)
    assert set(verdicts(claims)) == {"not decidable"}
    assert all("not ImageNet's" in claim.note for claim in claims)
    assert claims[0].numbers


def test_a_missing_cell_leaves_its_claims_undecided() -> None:
    rows = [r for r in papers_own(COLOURS) if r.cell != "v3-paper-high-bears"]
    rows.append(row("v3", "paper-high", "bears", 0.0, 30.0, status="failed"))
    assert verdicts(evaluate_claims(rows, imagenet=True)) == ["not decidable", "held", "held", "held"]
    assert verdicts(evaluate_claims([], imagenet=True)) == ["not decidable"] * 4


def test_pictures_that_are_not_the_papers_do_not_stand_in_for_them() -> None:
    rows = [row(r.backbone, r.layer_set, f"my-{r.picture[:3]}", r.last_loss) for r in papers_own(COLOURS)]
    assert verdicts(evaluate_claims(rows, imagenet=True))[2] == "not decidable"
    assert paper_losses(rows[0]) is None
    assert paper_picture("Three_Bears-2") == "bears"
    assert paper_losses(row("v3", "paper-low", "Penguin", 0.0)) == (3.176990, 6.735488)


def test_colourfulness_of_known_pictures() -> None:
    grey = np.full((8, 8, 3), 99, np.uint8)
    assert colourfulness(grey) == 0
    red = np.zeros((8, 8, 4), np.uint8)
    red[..., 0] = 255
    # One colour spreads nothing: 0.3 times the length of (255, 127.5).
    assert colourfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))
    halves = red.copy()
    halves[:, 4:, :3] = (0, 0, 255)
    # rg is 255 or 0, yb is 127.5 or -255.
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, -63.75)
    assert colourfulness(halves) == pytest.approx(expected)
    assert colourfulness(halves.astype(np.uint16) * 257) == pytest.approx(expected)


@pytest.fixture(scope="module")
def imagenet_claims(tmp_path_factory: pytest.TempPathFactory) -> list[Claim]:
    """The claims after the whole grid with ImageNet weights: an hour or more on a CPU."""
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    for backbone in BACKBONES:
        if not (folder / backbone.imagenet_file).is_file():
            pytest.skip(f"{backbone.imagenet_file} is not in {folder}")
    output = tmp_path_factory.mktemp("paper-study")
    images = f"{EXAMPLES / 'bears.jpg'},{EXAMPLES / 'penguins.jpg'}"
    command = [sys.executable, "-m", "onnxdream.cli", "experiment", "paper", "--images", images, "--output", output]
    subprocess.run(command, check=True, env={**os.environ, "ONNXDREAM_HOME": str(output / "home")})
    summary = json.loads((output / "summary.json").read_text())
    return evaluate_claims([Row(**entry) for entry in summary["rows"]], imagenet=True)


@pytest.mark.imagenet
@pytest.mark.parametrize("number", range(4))
def test_the_papers_claims_hold_with_imagenet_weights(imagenet_claims: list[Claim], number: int) -> None:
    claim = imagenet_claims[number]
    assert claim.verdict == "held", claim.numbers
