"""Functions of channel means: their slopes by the means and by the image, compared with finite differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxdream.models.arrays import Floats
from onnxdream.models.contract import Layer
from onnxdream.runtime.bundle.bundle import Bundle
from onnxdream.runtime.bundle.channel_weights import split_channels
from onnxdream.runtime.bundle.means import (
    Caricature,
    Cosine,
    Goals,
    LayerFunctions,
    MeansFunction,
    chosen_goals,
    functions_towards,
    parse_until,
)
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.settings.parsing import GuideBy

LAYERS = (Layer("low", 4, 2), Layer("high", 3, 4))
BOTH = np.ones(2, np.float32)


def array(*values: float) -> Floats:
    return np.array(values, np.float32)


TARGET = array(0.5, 0.0, 2.0, 0.25)
FUNCTIONS: dict[str, MeansFunction] = {
    "cosine": Cosine(TARGET),
    "caricature": Caricature(TARGET),
    "caricature of power 0": Caricature(TARGET, 0),
    "caricature of power 4.5": Caricature(TARGET, 4.5),
}
# The last two means have a cosine of 0.062 and below 0 with the target.
MEANS = (TARGET, 3 * TARGET, array(1, 2, 3, 4), array(0.02, 5, 0.1, 0.5), array(-1, 0.5, -0.25, 0))


@pytest.mark.parametrize("number", range(len(MEANS)))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_slope_is_the_difference_quotient_of_the_value(name: str, number: int) -> None:
    function, means, step = FUNCTIONS[name], MEANS[number], np.float32(2**-7)
    value, slope = function.value_and_slope(means)
    assert isinstance(value, float)
    assert (slope.dtype, slope.shape) == (np.float32, means.shape)
    for channel, unit in enumerate(np.eye(4, dtype=np.float32)):
        ahead, behind = (function.value_and_slope(means + sign * step * unit)[0] for sign in (1, -1))
        assert slope[channel] == pytest.approx((ahead - behind) / (2 * step), rel=1e-3, abs=1e-4)


def test_a_cosine_compares_the_proportions_of_means() -> None:
    cosine = Cosine(TARGET)
    for means, expected in ((TARGET, 1), (7 * TARGET, 1), (array(0, 3, 0, 0), 0), (-TARGET, -1)):
        assert cosine.value_and_slope(means)[0] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(cosine.value_and_slope(TARGET)[1], 0, atol=1e-6)  # it is at its maximum


def test_a_caricature_s_value_is_how_many_times_the_target_is_there() -> None:
    for power in (0.0, 2.0, 4.0):
        for times in (0.5, 1, 3):
            value, slope = Caricature(TARGET, power).value_and_slope(np.float32(times) * TARGET)
            assert value == pytest.approx(times, rel=1e-5)
            np.testing.assert_allclose(slope, TARGET / (TARGET @ TARGET), rtol=1e-5, atol=1e-6)


def test_a_higher_power_is_stricter_about_other_channels() -> None:
    means = TARGET + array(0, 1, 0, 0)
    values = [Caricature(TARGET, power).value_and_slope(means)[0] for power in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    slopes = [Caricature(TARGET, power).value_and_slope(means)[1][1] for power in (0, 2, 4)]
    assert slopes[0] == 0  # the dot product alone lets any other channel grow
    assert slopes[1] < slopes[0]


@pytest.mark.parametrize("function", [Cosine, Caricature])
def test_all_zeros_have_a_value_and_no_slope(function: type[Cosine] | type[Caricature]) -> None:
    zeros = np.zeros(4, np.float32)
    assert function(zeros).value_and_slope(TARGET)[0] == 0
    np.testing.assert_array_equal(function(zeros).value_and_slope(TARGET)[1], zeros)
    value, slope = function(TARGET).value_and_slope(zeros)
    assert value == 0
    assert np.isfinite(slope).all()
    if function is Caricature:  # it leaves zeros, too
        assert (slope[TARGET > 0] > 0).all()


def test_each_layer_has_a_function_of_its_own_means() -> None:
    functions = LayerFunctions(LAYERS, (Cosine(TARGET), Caricature(array(1, 0, 0))))
    means = array(1, 2, 3, 4, 2, 0, 0)
    value, slope = Cosine(TARGET).value_and_slope(means[:4])
    np.testing.assert_allclose(functions.values(means), [value, 2])
    np.testing.assert_allclose(functions.slopes(means), [*slope, 1, 0, 0])
    assert functions.values(means).dtype == functions.slopes(means).dtype == np.float32


def test_a_target_of_zeros_in_all_layers_with_a_weight_is_refused() -> None:
    target = array(1, 2, 3, 4, 0, 0, 0)
    assert isinstance(functions_towards(LAYERS, BOTH, target, GuideBy("cosine")).functions[0], Cosine)
    found = functions_towards(LAYERS, BOTH, target, GuideBy("caricature", 3)).functions
    assert [function.power for function in found if isinstance(function, Caricature)] == [3, 3]
    with pytest.raises(SettingsError, match="activates no channel of these layers"):
        functions_towards(LAYERS, array(0, 1), target, GuideBy("cosine"))


# Through networks


@pytest.fixture(scope="module")
def bundles(tiny_path: Path) -> dict[str, Bundle]:
    return {"tiny": Bundle.load(tiny_path), "lite0": Bundle.built_in("lite0"), "v3-low": Bundle.built_in("v3-low")}


@pytest.mark.parametrize("kind", ["cosine", "caricature"])
@pytest.mark.parametrize("name", ["tiny", "lite0", "v3-low"])
def test_the_gradient_is_that_of_the_function(name: str, kind: str, bundles: dict[str, Bundle]) -> None:
    """A step along the gradient changes the functions' weighted sum by the gradient times the step.

    The step is small, since the gradient changes at every ReLU on the way.
    """
    bundle = bundles[name]
    layers, random = bundle.metadata.layers, np.random.default_rng(3)
    session = Session(bundle, 64, 80, Machine("cpu", 1))
    image, guide = random.uniform(-0.8, 0.8, (2, 3, 64, 80)).astype(np.float32)
    guide[:, :, :40] = np.sin(np.arange(40, dtype=np.float32) / 2)
    weights = random.uniform(-1, 2, len(layers)).astype(np.float32)
    target = session.channel_means(guide, Objective(weights))
    function = functions_towards(layers, weights, target, GuideBy(kind))
    objective = Objective(weights, function=function)
    means = session.channel_means(image, objective)
    _, gradient, same_means = session.evaluate_with_means(image, objective.at(means))
    np.testing.assert_array_equal(same_means, means)
    step = np.float32(1e-5) * gradient / np.sqrt((gradient**2).mean())

    def total(image: Floats) -> float:
        parts = zip(function.functions, split_channels(session.channel_means(image, objective), layers), strict=True)
        return float(weights.astype(np.float64) @ [one.value_and_slope(part)[0] for one, part in parts])

    ahead, behind = total(image + step), total(image - step)
    assert (ahead - behind) / 2 == pytest.approx(float((gradient * step).sum(dtype=np.float64)), rel=0.01)


# Goals


def test_goals_are_parsed_and_reached_together() -> None:
    goals = chosen_goals(LAYERS, parse_until(["low:1=0.5", "high:2=-1e-3"]))
    assert goals == Goals((1, 6), (0.5, -0.001))
    for means, is_reached in (((0.5, 0), True), ((0.4, 0), False), ((9, -1), False), ((9, 9), True)):
        found = np.zeros(7, np.float32)
        found[[1, 6]] = means
        assert goals.are_reached(found) == is_reached
    assert chosen_goals(LAYERS, ()) is None
    assert parse_until(["stage:one=a:3=0.5"]) == (("stage:one=a", 3, 0.5),)


@pytest.mark.parametrize(
    "text", ["", "low", "low:1", "low:1=", "low:=2", ":1=2", "low:1=x", "low:1=nan", "low:1=inf", "low:-1=2", "low=2"]
)
def test_a_nonsense_goal_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"as in mixed4:40=0\.8"):
        parse_until([text])


def test_goals_that_a_bundle_does_not_have_are_refused_by_their_names() -> None:
    with pytest.raises(SettingsError, match="until names a channel twice"):
        parse_until(["low:1=0.5", "low:1=0.6"])
    with pytest.raises(SettingsError, match=r"'mid' of --until.* low, high"):
        chosen_goals(LAYERS, parse_until(["mid:1=0.5"]))
    with pytest.raises(SettingsError, match=r"channel 3 is not in high: .*0 to 2"):
        chosen_goals(LAYERS, parse_until(["high:3=0.5"]))
