"""The ascent, compared with a plain loop over an onnxruntime session, on every kind of picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures_fixture import TINY_BYTES, cliff_bytes, noise
from plain_session import open_plain

from onnxdream.runtime import Bundle, Execution, Settings, Step, dream, preset
from onnxdream.runtime.bundle.means import functions_towards
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session, Sessions
from onnxdream.runtime.dream.run import prepare
from onnxdream.runtime.errors import DivergedError, DreamError, SettingsError
from onnxdream.runtime.image.resizing import resize
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.onnx_graph import message_class
from onnxdream.runtime.settings.parsing import parse_guide_by
from onnxdream.runtime.settings.settings import GradientNorm, Normalization, OptimizerName

FEW = Settings(steps=6, step_size=0.02, execution=Execution("cpu", 1))
TINY = Bundle.load(TINY_BYTES)
LAYERS = TINY.metadata.layer_names
STEP_SIZES: dict[GradientNorm, float] = {"std": 0.02, "l2": 0.02, "mean-abs": 0.02, "none": 30.0}


def reference(picture: NDArray[Any], settings: Settings) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the losses [steps + 1, layers] and the picture, by eqs. 1 and 2 of the paper in float64."""
    session = open_plain(TINY_BYTES)
    weights = np.array([(settings.layer_weights or dict.fromkeys(LAYERS, 1)).get(layer, 0) for layer in LAYERS])
    max_value = np.iinfo(picture.dtype).max
    low, high = (picture.min(), picture.max()) if settings.normalization == "minmax" else (0, max_value)
    x = (picture.astype(np.float64) - low) / (float(high) - low) * 2 - 1
    norms = {
        "std": lambda g: g.std(),
        "l2": lambda g: np.sqrt((g**2).mean()),
        "mean-abs": lambda g: np.abs(g).mean(),
        "none": lambda g: 1.0,
    }
    rows = []
    for number in range(settings.steps + 1):
        feed = {
            "image": x.transpose(2, 0, 1)[None].astype(np.float32),
            "layer_weights": weights.astype(np.float32),
        }
        losses, gradient = session.run(["losses", "gradient"], feed)
        rows.append(losses[0])
        if number < settings.steps:
            g = gradient[0].transpose(1, 2, 0).astype(np.float64)
            x = np.clip(x + settings.step_size * g / norms[settings.gradient_norm](g), -1, 1)
    pixels = (x + 1) / 2 * (float(high) - low) + low
    return np.array(rows), np.clip(np.rint(pixels), 0, max_value)


def assert_alike(picture: NDArray[Any], expected: NDArray[Any]) -> None:
    """Asserts equality up to rounding. An ascent doubles differences, so a few pixels may be some levels off."""
    difference = np.abs(picture.astype(np.float64) - expected)
    levels = np.iinfo(picture.dtype).max / 255
    assert difference.max() <= 3 * levels
    assert difference.mean() <= 0.02 * levels


@pytest.mark.parametrize("normalization", ["minmax", "backbone"])
@pytest.mark.parametrize("norm", ["std", "l2", "mean-abs", "none"])
def test_a_dream_is_the_plain_loop(norm: GradientNorm, normalization: Normalization) -> None:
    picture = noise(40, 53)
    settings = replace(FEW, normalization=normalization, gradient_norm=norm, step_size=STEP_SIZES[norm])
    losses, expected = reference(picture, settings)
    dreamed = dream(picture, TINY, settings)
    np.testing.assert_allclose(dreamed.losses, losses, rtol=1e-3)
    assert_alike(dreamed.picture, expected)
    assert np.abs(expected - picture).mean() > 1  # the loop did something


@pytest.mark.parametrize(
    "weights", [{"low": 1.0}, {"mid": -1.0}, {"low": 1.5, "high": -0.5}, {"high": 2.0, "low": 0.0}]
)
def test_layers_are_weighted_with_their_sign_and_others_left_out(weights: dict[str, float]) -> None:
    picture = noise(40, 53)
    settings = replace(FEW, layer_weights=weights)
    losses, expected = reference(picture, settings)
    dreamed = dream(picture, TINY, settings)
    np.testing.assert_allclose(dreamed.losses, losses, rtol=1e-3)
    assert_alike(dreamed.picture, expected)
    totals = dreamed.losses @ np.array([weights.get(layer, 0.0) for layer in LAYERS])
    assert totals[-1] > totals[0]
    assert dreamed.record.first_loss == pytest.approx(totals[0], rel=1e-5)
    assert dreamed.record.last_loss == pytest.approx(totals[-1], rel=1e-5)


@pytest.mark.parametrize("name", ["paper", "tutorial"])
def test_the_loss_rises_at_every_step(name: str) -> None:
    dreamed = dream(noise(60, 80), TINY, preset(name, steps=30, layer_weights=None, execution=FEW.execution))
    totals = dreamed.losses.sum(axis=1)
    assert np.all(np.diff(totals) > 0)
    assert totals[-1] > 1.2 * totals[0]


def test_row_n_holds_the_losses_of_the_picture_after_n_updates() -> None:
    steps: list[Step] = []
    images: list[NDArray[np.float32]] = []
    pictures: list[NDArray[Any]] = []

    def on_step(step: Step) -> None:
        steps.append(step)
        pictures.append(step.fetch_picture())
        images.append(step.fetch_state().image.copy())

    settings = replace(FEW, layer_weights={"low": 2.0, "high": -1.0})
    dreamed = dream(noise(40, 53), TINY, settings, on_step)
    assert [step.number for step in steps] == [0, 1, 2, 3, 4, 5, 6]
    assert dreamed.losses.shape == (7, 3)
    session = Session(TINY, 40, 53, Machine("cpu", 1))
    objective = Objective(np.ones(3, np.float32))
    for step, row, image in zip(steps, dreamed.losses, images, strict=True):
        np.testing.assert_array_equal(step.fetch_losses(), row)
        np.testing.assert_array_equal(session.evaluate(image, objective)[0], row)
        assert step.fetch_total() == pytest.approx(2 * row[0] - row[2], rel=1e-5)
        assert step.size == (40, 53)
    np.testing.assert_array_equal(pictures[-1], dreamed.picture)
    np.testing.assert_array_equal(pictures[0], noise(40, 53))


def test_losses_and_pictures_that_on_step_has_fetched_are_its_own_to_change() -> None:
    def on_step(step: Step) -> None:
        step.fetch_losses()[:] = 0
        step.fetch_picture()[:] = 0

    dreamed, expected = dream(noise(40, 53), TINY, FEW, on_step), dream(noise(40, 53), TINY, FEW)
    np.testing.assert_array_equal(dreamed.losses, expected.losses)
    np.testing.assert_array_equal(dreamed.picture, expected.picture)


def test_a_step_is_a_value() -> None:
    """Steps do not change after the run, and two equal runs have equal steps."""
    runs: list[list[Step]] = [[], []]
    for steps in runs:
        dream(noise(40, 53), TINY, replace(FEW, steps=2, octaves=2), steps.append)  # type: ignore[func-returns-value]
    assert runs[0] == runs[1]
    assert [(step.number, step.octave, step.octave_step) for step in runs[0]] == [
        (0, 0, 0),
        (1, 0, 1),
        (2, 1, 0),
        (3, 1, 1),
        (4, 1, 2),
    ]
    for step in runs[0]:
        assert step.size == ((28, 37), (40, 53))[step.octave]
    assert repr(runs[0][0]) == "Step(number=0, octave=0, octave_step=0, size=Size(height=28, width=37))"


@pytest.mark.parametrize(("optimizer", "arrays"), [("momentum", 1), ("adam", 2)])
def test_the_slots_of_an_optimizer_are_reset_in_each_octave(optimizer: OptimizerName, arrays: int) -> None:
    strongest: dict[tuple[int, int], list[float]] = {}

    def on_step(step: Step) -> None:
        slots = step.fetch_state().slots
        strongest[step.octave, step.octave_step] = [float(np.abs(slot).max()) for slot in slots]

    dream(noise(40, 53), TINY, replace(FEW, steps=2, octaves=3, optimizer=optimizer), on_step)
    assert list(strongest) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    for (_, octave_step), found in strongest.items():
        assert len(found) == arrays
        assert all(found) if octave_step else found == [0.0] * arrays


def test_the_picture_of_a_step_that_is_over_cannot_be_fetched() -> None:
    """It would be the picture of another step."""
    steps: list[Step] = []

    def on_step(step: Step) -> None:
        for earlier in steps:
            with pytest.raises(DreamError, match=f"step {earlier.number} is over: fetch its picture"):
                earlier.fetch_picture()
        steps.append(step)
        step.fetch_picture()

    dream(noise(40, 53), TINY, replace(FEW, steps=2), on_step)
    for step in steps:
        with pytest.raises(DreamError, match=f"step {step.number} is over"):
            step.fetch_state()


@pytest.mark.parametrize("normalization", ["minmax", "backbone"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_tiny_step_does_not_change_the_picture(normalization: Normalization, dtype: type, channels: int) -> None:
    picture = noise(30, 41, channels, dtype)
    settings = replace(FEW, steps=1, step_size=1e-9, normalization=normalization)
    dreamed = dream(picture, TINY, settings).picture
    assert dreamed.dtype == picture.dtype
    np.testing.assert_array_equal(dreamed, picture)


def test_a_flat_picture_stays_within_its_one_level() -> None:
    flat = np.full((40, 50, 3), 90, np.uint8)
    dreamed = dream(flat, TINY, FEW)
    assert np.isfinite(dreamed.losses).all()
    assert set(np.unique(dreamed.picture)) <= {90, 91}


def test_a_flat_picture_dreams_where_it_is_not_stretched() -> None:
    flat = np.full((40, 50, 3), 90, np.uint8)
    dreamed = dream(flat, TINY, replace(FEW, normalization="backbone"))
    assert len(np.unique(dreamed.picture)) > 5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_kept_and_hides_pixels_from_the_dream(dtype: type) -> None:
    picture = noise(40, 53, 4, dtype)
    picture[..., 3] = np.iinfo(dtype).max
    opaque = dream(picture, TINY, FEW).picture
    np.testing.assert_array_equal(opaque[..., :3], dream(picture[..., :3], TINY, FEW).picture)
    picture[:20, :, 3] = 0
    dreamed = dream(picture, TINY, FEW).picture
    assert dreamed.dtype == dtype
    np.testing.assert_array_equal(dreamed[..., 3], picture[..., 3])
    np.testing.assert_array_equal(dreamed[:20], picture[:20])
    assert (dreamed[20:] != picture[20:]).any()


def test_alpha_shrinks_with_the_picture() -> None:
    picture = noise(60, 80, 4)
    dreamed = dream(picture, TINY, replace(FEW, max_size=40)).picture
    assert dreamed.shape == (30, 40, 4)
    np.testing.assert_array_equal(dreamed[..., 3], resize(picture, 40, 30)[..., 3])


def test_sixteen_bits_stay_sixteen_bits() -> None:
    picture = noise(40, 53, dtype=np.uint16)
    dreamed = dream(picture, TINY, FEW)
    assert dreamed.picture.dtype == np.uint16
    assert len(np.unique(dreamed.picture)) > 1000
    losses, expected = reference(picture, FEW)
    np.testing.assert_allclose(dreamed.losses, losses, rtol=1e-3)
    assert_alike(dreamed.picture, expected)


@pytest.mark.parametrize(("shape", "size"), [((60, 80), (30, 40)), ((80, 60), (40, 30)), ((41, 200), (19, 93))])
def test_a_picture_shrinks_to_max_size_unless_the_network_needs_more(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    dreamed = dream(noise(*shape), TINY, replace(FEW, max_size=40))
    assert dreamed.picture.shape == (*size, 3)
    assert dreamed.record.octaves[0].size == size


def test_a_picture_is_never_enlarged_to_max_size() -> None:
    assert dream(noise(30, 40), TINY, replace(FEW, max_size=512)).picture.shape == (30, 40, 3)
    assert dream(noise(30, 600), TINY, replace(FEW, max_size=None, steps=1)).picture.shape == (30, 600, 3)


@pytest.mark.parametrize(("shape", "size"), [((10, 14), (19, 27)), ((30, 7), (81, 19)), ((1, 1), (19, 19))])
def test_a_picture_that_is_too_small_for_the_network_is_enlarged(shape: tuple[int, int], size: tuple[int, int]) -> None:
    picture = noise(*shape)
    dreamed = dream(picture, TINY, replace(FEW, steps=2))
    assert dreamed.picture.shape == (*size, 3)
    assert dreamed.record.octaves[0].size == size
    assert dream(picture, TINY, replace(FEW, steps=2, full_size=True)).picture.shape == picture.shape


def test_a_picture_shrunk_too_far_is_made_from_the_original_not_from_its_thumbnail() -> None:
    picture = noise(60, 80)
    first: list[NDArray[Any]] = []
    dream(picture, TINY, replace(FEW, steps=1, max_size=2), lambda step: first.append(step.fetch_picture()))
    np.testing.assert_array_equal(first[0], resize(picture, first[0].shape[1], 19))


def test_a_picture_that_is_too_narrow_to_enlarge_is_refused() -> None:
    with pytest.raises(SettingsError, match="a picture of 4000x2 is too narrow: the network needs 19x19 at least"):
        dream(noise(2, 4000), TINY, FEW)


@pytest.mark.parametrize("channels", [3, 4])
def test_full_size_is_the_original_with_the_enlarged_change(channels: int) -> None:
    picture = noise(60, 84, channels)
    small = replace(FEW, max_size=40)
    dreamed = dream(picture, TINY, replace(small, full_size=True))
    change = dream(picture, TINY, small).picture[..., :3].astype(np.float32) - resize(picture, 40, 29)[..., :3]
    enlarged = cv2.resize(change, (84, 60), interpolation=cv2.INTER_CUBIC)
    expected = np.clip(picture[..., :3] + enlarged, 0, 255)
    assert dreamed.picture.shape == picture.shape
    assert np.abs(dreamed.picture[..., :3] - expected).max() < 2  # the small picture was rounded
    np.testing.assert_array_equal(dreamed.picture[..., 3:], picture[..., 3:])
    assert np.abs(enlarged).mean() > 1
    assert dreamed.record.octaves[0].size == (29, 40)


def test_full_size_keeps_sixteen_bits() -> None:
    picture = noise(60, 84, dtype=np.uint16)
    dreamed = dream(picture, TINY, replace(FEW, max_size=40, full_size=True)).picture
    assert dreamed.dtype == np.uint16
    assert len(np.unique(dreamed)) > 1000


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros(20, np.uint8),
        np.zeros((20, 20, 2), np.uint8),
        np.zeros((20, 20, 5), np.uint8),
        np.zeros((20, 20, 3), np.float32),
        np.zeros((20, 20, 3), np.int16),
        np.zeros((0, 20, 3), np.uint8),
        np.zeros((20, 0, 4), np.uint16),
    ],
)
def test_arrays_that_are_not_pictures_are_refused(picture: Any) -> None:
    with pytest.raises(SettingsError, match="a picture is uint8 or uint16"):
        dream(picture, TINY, FEW)


def test_an_unknown_layer_is_refused_before_the_first_step() -> None:
    steps: list[Step] = []
    with pytest.raises(SettingsError, match="'mixed0' is not in the bundle"):
        dream(noise(30, 40), TINY, replace(FEW, layer_weights={"mixed0": 1.0}), steps.append)  # type: ignore[func-returns-value]
    assert not steps


@pytest.mark.parametrize("last", [0, 1, 4])
def test_a_stopped_dream_returns_the_picture_so_far(last: int) -> None:
    whole = dream(noise(40, 53), TINY, replace(FEW, steps=last)) if last else None
    dreamed = dream(noise(40, 53), TINY, FEW, lambda step: step.number == last)
    assert dreamed.record.ended == "stopped"
    assert dreamed.record.steps_done == last
    assert dreamed.losses.shape == (last + 1, 3)
    np.testing.assert_array_equal(dreamed.picture, whole.picture if whole else noise(40, 53))


def test_a_stop_after_the_last_step_has_no_effect() -> None:
    dreamed = dream(noise(40, 53), TINY, FEW, lambda step: step.number == FEW.steps)
    assert (dreamed.record.ended, dreamed.record.steps_done) == ("finished", 6)


def test_a_diverged_dream_ends_with_the_last_finite_picture() -> None:
    picture = (noise(20, 24) // 2).astype(np.uint8)
    settings = replace(FEW, steps=50, step_size=0.3, gradient_norm="none", normalization="backbone")
    x, updates = picture / 127.5 - 1, 0
    while x.max() <= 0.5:
        x, updates = np.clip(x + 0.3 * np.sqrt(0.5 - x), -1, 1), updates + 1
    seen: list[NDArray[Any]] = []
    dreamed = dream(
        picture,
        Bundle.load(cliff_bytes(0.5)),
        settings,
        lambda step: seen.append(step.fetch_picture()),  # type: ignore[func-returns-value]
    )
    assert 2 < updates < 50
    assert dreamed.record.ended == "diverged"
    assert dreamed.record.steps_done == updates - 1
    assert dreamed.losses.shape == (updates, 1)
    assert np.isfinite(dreamed.losses).all()
    assert len(seen) == updates
    np.testing.assert_array_equal(dreamed.picture, seen[-1])


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_end_before_the_first_step(number: float) -> None:
    model = message_class("Model")()
    model.ParseFromString(TINY_BYTES)
    kernels = sorted((bytes(tensor.SerializeToString()) for tensor in model.graph.initializer), key=len)
    broken = TINY_BYTES
    for kernel in kernels[-3:]:  # the values of a tensor are its last bytes
        assert broken.count(kernel[-64:]) == 1
        broken = broken.replace(kernel[-64:], np.full(16, number, np.float32).tobytes())
    with pytest.raises(DivergedError, match="the first gradient is not a finite number"):
        dream(noise(40, 53), Bundle.load(broken), FEW)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_dream_twice_is_the_same_to_the_last_bit(threads: int, tiny_path: Path) -> None:
    settings = replace(FEW, steps=20, execution=Execution("cpu", threads))
    first, second = (dream(noise(40, 53), Bundle.load(tiny_path), settings) for _ in range(2))
    np.testing.assert_array_equal(first.picture, second.picture)
    np.testing.assert_array_equal(first.losses, second.losses)


def test_dreams_can_share_sessions() -> None:
    sessions, machine = Sessions(TINY), Machine("cpu", 1)
    dream(noise(40, 53), TINY, FEW, sessions=sessions)
    session = sessions.get(40, 53, machine)
    dream(noise(40, 53, seed=1), TINY, FEW, sessions=sessions)
    assert sessions.get(40, 53, machine) is session
    dream(noise(53, 40), TINY, FEW, sessions=sessions)
    assert sessions.get(53, 40, machine) is not session


def test_sizes_and_tiles_are_known_before_a_dream_starts() -> None:
    ready = prepare(noise(40, 53), TINY, replace(FEW, octaves=2))
    assert list(ready.octaves) == [(28, 37), (40, 53)]
    assert ready.ascent.processor.size == (40, 53)
    assert (ready.tile_plan.tile_size, len(ready.tile_plan.tiles)) == ((40, 53), 1)
    assert ready.execution.provider == "cpu"
    assert ready.ascend().record.steps_done == 12


def test_a_dream_without_settings_uses_those_of_the_paper() -> None:
    dreamed = dream(noise(30, 40), TINY, on_step=lambda step: step.number == 1)
    assert dreamed.record.settings == Settings()


# Functions of channel means


@pytest.mark.parametrize("kind", ["cosine", "caricature:3"])
def test_a_function_is_maximised_by_its_slope_at_the_means_before(kind: str) -> None:
    """The expected dream comes from a plain loop, whose losses are the function's values."""
    picture, guide = noise(40, 53), noise(48, 44, seed=6) // 2 + 80
    settings = replace(FEW, guide_by=kind, normalization="backbone", layer_weights={"low": 2.0, "high": -1.0})
    dreamed = dream(picture, TINY, settings, guide=guide)
    layers, weights = TINY.metadata.layers, np.array([2, 0, -1], np.float32)
    to_image = lambda pixels: (pixels.transpose(2, 0, 1) / 127.5 - 1).astype(np.float32)  # noqa: E731
    target = Session(TINY, 48, 44, Machine("cpu", 1)).channel_means(to_image(guide), Objective(weights))
    function = functions_towards(layers, weights, target, parse_guide_by(kind))
    session, image = Session(TINY, 40, 53, Machine("cpu", 1)), to_image(picture)
    before = session.channel_means(image, Objective(weights))
    rows = []
    for number in range(7):
        objective = Objective(weights, function.slopes(before))
        _, gradient, before = session.evaluate_with_means(image, objective)
        rows.append(function.values(before))
        if number < 6:
            image = np.clip(image + np.float32(0.02) * gradient / gradient.std(), -1, 1)
    np.testing.assert_allclose(dreamed.losses, rows, rtol=1e-3, atol=1e-5)
    totals = dreamed.losses @ weights
    assert totals[-1] > totals[0] + 0.01
    assert dreamed.record.last_loss == pytest.approx(float(totals[-1]))
    difference = np.abs(dreamed.picture - ((image.transpose(1, 2, 0) + 1) * 127.5))
    assert difference.max() < 3
    assert difference.mean() < 0.5


def test_a_caricature_without_a_guide_exaggerates_the_picture_itself() -> None:
    picture = noise(40, 53)
    settings = replace(FEW, guide_by="caricature", max_size=None)
    alone, guided = dream(picture, TINY, settings), dream(picture, TINY, settings, guide=picture)
    np.testing.assert_array_equal(alone.picture, guided.picture)
    np.testing.assert_allclose(alone.losses[0], 1, rtol=1e-5)  # the picture is there once
    assert (alone.losses[-1] > 1).all()


def test_a_loss_and_a_plateau_end_an_octave_by_the_function_s_value() -> None:
    settings = replace(FEW, guide_by="caricature", steps=20)
    totals = dream(noise(40, 53), TINY, settings).losses.sum(axis=1)
    assert len(totals) == 21
    limit = float(totals[6] + totals[7]) / 2
    assert len(dream(noise(40, 53), TINY, replace(settings, max_loss=limit)).losses) == 9  # seen before update 8
    assert len(dream(noise(40, 53), TINY, replace(settings, plateau=3, step_size=1e-6)).losses) == 5


@pytest.mark.parametrize("tile_pixels", [None, 1500])
def test_an_octave_ends_when_all_means_have_their_values(tile_pixels: int | None) -> None:
    """A unit weight makes a channel's mean the loss, from which the values are taken."""
    picture = noise(40, 53)
    settings = replace(FEW, steps=12, execution=Execution("cpu", 1, tile_pixels=tile_pixels))
    rows = []
    for channel in (1, 6):
        watched = replace(settings, layer_weights={"low": 1.0}, channels=(f"low:{channel}",))
        rows.append(dream(picture, TINY, watched).losses[:, 0])
    rise = replace(settings, layer_weights={"low": 1.0}, channels=("low:1",))
    value = (rows[0][4] + rows[0][5]) / 2
    ended = dream(picture, TINY, replace(rise, until=(f"low:1={value}",)))
    assert len(ended.losses) == 7  # the sixth evaluation is the first above the value, and its update the last
    both = replace(rise, until=(f"low:1={value}", "low:6=1e6"))
    assert len(dream(picture, TINY, both).losses) == 13
    octaves = dream(picture, TINY, replace(rise, octaves=2, until=("low:1=-1",)))
    assert octaves.record.steps_done == 2  # one in each octave


def test_stay_keeps_the_picture() -> None:
    picture = noise(40, 53)
    changes = []
    for stay in (0.0, 0.2, 1.0):
        settings = replace(FEW, steps=40, octaves=2, jitter=4, stay=stay)
        changes.append(np.abs(dream(picture, TINY, settings).picture.astype(int) - picture).mean())
    assert changes[0] > 1.2 * changes[1] > 2 * changes[2] > 1


def test_noise_has_nothing_to_stay_close_to() -> None:
    with pytest.raises(SettingsError, match="noise has no original picture to stay close to"):
        Settings(noise=(40, 30), stay=0.1)
