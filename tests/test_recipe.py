"""The recipe of the embedded weights: its drawings, its scenes, and a training too short to teach anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxdream

cv2 = pytest.importorskip("cv2")
pytest.importorskip("onnxdream.models.embedded.recipe", reason="comes with a checkout, not with the wheel")

from onnxdream.models.embedded.recipe import motifs, scenes  # noqa: E402
from onnxdream.models.embedded.recipe.drawings import (  # noqa: E402
    Drawings,
    central_crops,
    draw_set,
    in_range,
    random_batch,
)
from onnxdream.models.embedded.recipe.fields import SIZE  # noqa: E402

_ROOT = Path(onnxdream.__file__).parent


def test_there_are_48_classes() -> None:
    assert len(motifs.NAMES) == len(set(motifs.NAMES)) == 48


@pytest.mark.parametrize("name", motifs.NAMES)
def test_a_motif_is_a_picture_that_depends_on_its_seed_alone(name: str) -> None:
    first, again, other = (motifs.draw(np.random.default_rng(seed), name) for seed in (1, 1, 2))
    assert first.shape == (SIZE, SIZE, 3)
    assert first.dtype == np.uint8
    assert first.std() > 5
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_motifs_of_one_seed_differ() -> None:
    assert len({motifs.draw(np.random.default_rng(3), name).tobytes() for name in motifs.NAMES}) == 48


def test_the_motifs_draw_on_chance_as_they_did_for_the_shipped_weights() -> None:
    rng = np.random.default_rng(0)
    for name in motifs.NAMES:
        motifs.draw(rng, name)
    assert rng.random() == 0.7944981525172855


@pytest.mark.parametrize(("name", "draw"), [("bears", scenes.draw_bears), ("penguins", scenes.draw_penguins)])
def test_a_scene_is_the_example(name: str, draw: Any) -> None:
    example = cv2.imread(str(_ROOT / "examples" / f"{name}.jpg"))[..., ::-1]
    encoded = cv2.imencode(".jpg", draw()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    drawn = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
    assert drawn.shape == example.shape == (900, 1200, 3)
    # Another OpenCV than the one that drew the example rounds a few pixels differently.
    assert np.abs(drawn.astype(int) - example).mean() < 0.1


def test_a_batch_is_cropped_and_in_the_backbones_range_up_to_contrast_and_brightness() -> None:
    black_and_white = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    black_and_white[1] = 255
    drawings = Drawings(black_and_white, np.array([0, 1]))
    for seed in range(20):
        images, labels = random_batch(np.random.default_rng(seed), drawings, count=16, crop=112)
        assert images.shape == (16, 112, 112, 3)
        assert images.dtype == np.float32
        black, white = images[labels == 0], images[labels == 1]
        assert np.ptp(black) == np.ptp(white) == 0
        assert 0.6 <= (white.max() - black.max()) / 2 <= 1.2
        assert abs(white.max() + black.max()) / 2 <= 0.2


@dataclass(frozen=True)
class _Trained:
    """A network after a few steps on four drawings, with all that made it."""

    model: Any
    drawings: Any
    settings: Any
    losses: list[float]


@pytest.fixture(scope="module")
def trained() -> Iterator[_Trained]:
    tensorflow = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    from onnxdream.models.embedded.recipe import train, weights

    # So few steps do not repay TensorFlow's optimising the graph first.
    tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    keras.utils.clear_session()
    settings = train.Settings(train.Budget(steps=8), batch=4, crop=80, warm_up=2)
    model = train.compile_classifier(settings)
    four = draw_set(4, seed=1)
    steps = train.train(model, four, settings, weights.Checkpoint(0, 0.0))
    yield _Trained(model, four, settings, [loss for _, loss in steps])
    keras.utils.clear_session()
    tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def test_training_lowers_the_loss(trained: _Trained) -> None:
    assert len(trained.losses) == 8
    # Both heads guess at first: 1.5 · ln 48 = 5.8.
    assert trained.losses[0] == pytest.approx(1.5 * np.log(48), rel=0.2)
    assert np.mean(trained.losses[-4:]) < 0.8 * trained.losses[0]


def test_the_written_weights_have_the_form_of_the_shipped(trained: _Trained, tmp_path: Path) -> None:
    from onnxdream.models.embedded.recipe.weights import save_npz

    save_npz(trained.model, tmp_path / "weights.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["weights.npz"]
    with (
        np.load(tmp_path / "weights.npz") as written,
        np.load(_ROOT / "models" / "embedded" / "v3-motifs.npz") as shipped,
    ):
        assert written.files == shipped.files
        for key in shipped.files:
            assert (written[key].shape, written[key].dtype) == (shipped[key].shape, shipped[key].dtype), key
        for number in range(40):
            suffix = f"_{number}" if number else ""
            kernel = trained.model.get_layer(f"conv2d{suffix}").kernel.numpy()
            mean = trained.model.get_layer(f"batch_normalization{suffix}").moving_mean.numpy()
            assert np.array_equal(written[f"{number:02d}/kernel"], kernel.astype(np.float16))
            assert np.array_equal(written[f"{number:02d}/mean"], mean)


def test_a_training_goes_on_from_its_checkpoint(trained: _Trained, tmp_path: Path) -> None:
    from onnxdream.models.embedded.recipe.train import train
    from onnxdream.models.embedded.recipe.weights import Checkpoint

    saved = Checkpoint(step=6, seconds=9.5)
    saved.save(trained.model, tmp_path / "checkpoint.npz")
    went_on = list(train(trained.model, trained.drawings, trained.settings, saved))
    assert [at.step for at, _ in went_on] == [7, 8]

    restored = Checkpoint.restore(trained.model, tmp_path / "checkpoint.npz")
    assert restored == saved
    again = list(train(trained.model, trained.drawings, trained.settings, restored))
    assert [loss for _, loss in again] == pytest.approx([loss for _, loss in went_on], rel=1e-3)


def test_a_finished_training_leaves_the_weights_alone(
    trained: _Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onnxdream.models.embedded.recipe.train import train_to_file
    from onnxdream.models.embedded.recipe.weights import Checkpoint

    four, last = trained.drawings, Checkpoint(step=7, seconds=0.0)
    train_to_file(trained.model, four, four, trained.settings, last, tmp_path / "weights.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["weights.npz"]
    assert "step 8: loss" in capsys.readouterr().out


def test_accuracy_counts_what_the_heads_name_rightly(trained: _Trained) -> None:
    from onnxdream.models.embedded.recipe.train import accuracy

    images = in_range(central_crops(trained.drawings, trained.settings.crop))
    named = trained.model.predict_on_batch(images)[0].argmax(1)
    for right in (4, 3, 0):
        labels = np.where(np.arange(4) < right, named, (named + 1) % 48)
        found = accuracy(trained.model, Drawings(trained.drawings.pictures, labels), trained.settings)
        assert found["mixed2"] == right / 4


def test_the_learning_rate_warms_up_and_falls(trained: _Trained) -> None:
    from onnxdream.models.embedded.recipe.train import Budget, Settings, learning_rate
    from onnxdream.models.embedded.recipe.weights import Checkpoint

    settings = Settings(Budget(steps=1000, minutes=10))
    assert settings.budget.spent(Checkpoint(step=250, seconds=60)) == 0.25
    assert settings.budget.spent(Checkpoint(step=250, seconds=300)) == 0.5
    assert learning_rate(0, 0.0, settings) == pytest.approx(1e-5)
    assert learning_rate(100, 0.0, settings) == pytest.approx(1e-3 + 1e-5)
    assert learning_rate(500, 0.5, settings) == pytest.approx(1e-3 + 1e-5)
    assert learning_rate(1000, 1.0, settings) == pytest.approx(1e-5)
