"""A dream that travels: its stations, the mix of two of them, the pace, and films that continue."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, noise

from onnxdream.models.arrays import Floats, Image, Pixels, Size
from onnxdream.runtime import Bundle, Execution, Sessions, Settings, dream
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.film.frames.stations import parse_stations
from onnxdream.runtime.film.frames.travel import TravelDream
from onnxdream.runtime.film.settings import Travel
from onnxdream.runtime.image.processor import ImageProcessor
from onnxdream.runtime.provider.selection import choose_provider
from onnxdream.runtime.settings.presets import preset

TINY, LITE0 = Bundle.load(TINY_BYTES), Bundle.built_in("lite0")
CPU = Execution("cpu", 1)
SETTINGS = Settings(steps=3, step_size=0.02, octaves=2, jitter=4, colours="own", execution=CPU)
PICTURE = noise(60, 80)
# Holds of frames 0 to 2, 6 to 8 and 12 to 14, and walks whose middles are frames 4.5 and 10.5.
TRAVEL = Travel(through="low:3,mid,low", seconds=15, hold=3, fps=1)
CHANNELS = [layer.channels for layer in TINY.metadata.layers]


def film(travel: Travel = TRAVEL, **choices: Any) -> TravelDream:
    return TravelDream(PICTURE, TINY, SETTINGS, travel, **choices)


def pictures(travel: Travel) -> list[Pixels]:
    return [frame.pixels for frame in film(travel).frames()]


def products(objective: Objective) -> Floats:
    """What counts for each channel: the weight of its layer times its own, float32 [channels of all layers]."""
    assert objective.channel_weights is not None
    return np.repeat(objective.layer_weights, CHANNELS) * objective.channel_weights


def gradient(objective: Objective) -> Image:
    """The gradient of an objective at the picture."""
    base = ImageProcessor(PICTURE, TINY.metadata, SETTINGS).base(Size(60, 80))
    return Sessions(TINY).get(60, 80, choose_provider(CPU).machine).evaluate(base, objective)[1]


def of_channels(first: int, count: int) -> Floats:
    weights = np.zeros(sum(CHANNELS), np.float32)
    weights[first : first + count] = 1 / count
    return weights


STATIONS = (of_channels(3, 1), of_channels(14, 20), of_channels(0, 14))


@pytest.mark.parametrize(("number", "station"), [(0, 0), (2, 0), (3, 0), (6, 1), (9, 1), (12, 2), (14, 2)])
def test_at_the_holds_the_objective_is_the_station_s(number: int, station: int) -> None:
    found = products(film().objective_at(number))
    np.testing.assert_allclose(found / found.sum(), STATIONS[station], rtol=1e-5)


def test_the_gradients_of_all_stations_are_equally_large() -> None:
    journey = film()
    sizes = [_size(gradient(journey.objective_at(number))) for number in (0, 6, 12)]
    np.testing.assert_allclose(sizes, sizes[0], rtol=1e-3)
    plain = gradient(Objective(np.array([1, 0, 0], np.float32), STATIONS[0]))
    np.testing.assert_allclose(gradient(journey.objective_at(0)), plain, atol=1e-3 * np.abs(plain).max())


def _size(image: Image) -> float:
    return float(np.sqrt(np.square(image).mean()))


@pytest.mark.parametrize("first", [0, 6])
def test_halfway_both_stations_count_equally(first: int) -> None:
    # A layer without weight in one station, and a layer whose channels both share.
    journey = film(replace(TRAVEL, fps=2))
    begin, middle, end = (journey.objective_at(2 * first + frames) for frames in (0, 9, 12))
    np.testing.assert_allclose(products(middle), (products(begin) + products(end)) / 2, rtol=1e-5, atol=1e-9)
    halves = (gradient(begin) + gradient(end)) / 2
    np.testing.assert_allclose(gradient(middle), halves, atol=1e-4 * np.abs(halves).max())


def test_a_walk_begins_and_ends_slowly() -> None:
    journey = film(replace(TRAVEL, fps=4))
    shares = [products(journey.objective_at(number))[14:34].sum() for number in range(12, 25)]
    steps = np.diff(shares) / shares[-1]
    assert (steps > 0).all()
    assert max(steps[0], steps[-1]) < 0.25 * steps.max()


def test_the_first_frame_is_the_dream_of_the_first_station() -> None:
    (first,) = islice(film().frames(), 1)
    assert first.begins_shot
    np.testing.assert_array_equal(first.pixels, dream(PICTURE, TINY, replace(SETTINGS, channels=("low:3",))).picture)


def test_each_frame_keeps_a_share_of_the_dream_before() -> None:
    def kept(persist: float) -> float:
        first, second = islice(film(replace(TRAVEL, persist=persist, steps_next=1)).frames(), 2)
        return float(np.corrcoef(_change(first.pixels), _change(second.pixels))[0, 1])

    assert kept(0.95) > kept(0.0) + 0.1


def _change(frame: Pixels) -> Any:
    return (frame.astype(float) - PICTURE).ravel()


def test_the_exposure_holds() -> None:
    frames = np.stack(pictures(TRAVEL)).astype(float)
    means, contrasts = frames.mean(axis=(1, 2)), frames.std(axis=(1, 2, 3))
    assert np.abs(means - means[0]).max() < 1
    np.testing.assert_allclose(contrasts, contrasts[0], rtol=0.03)


def test_a_film_continues_bit_for_bit() -> None:
    travel = replace(TRAVEL, seconds=6, hold=1)
    whole = pictures(travel)
    first = film(travel)
    begun = [frame.pixels for frame in islice(first.frames(), 3)]
    continued = [frame.pixels for frame in film(travel, state=first.state).frames()]
    np.testing.assert_array_equal([*begun, *continued], whole)
    assert len(whole) == travel.count == 6


def test_on_step_ends_the_film_before_its_frame() -> None:
    journey = film()
    frames = journey.frames(lambda step: journey.state is not None)
    assert len(list(frames)) == 1


def test_colours_of_looks_mix() -> None:
    settings = preset("creatures", max_size=64, steps=1, octaves=1, execution=CPU)
    travel = Travel(through="creatures,neon", seconds=3, hold=0, fps=1)
    journey = TravelDream(PICTURE, LITE0, settings, travel)
    matrices = [journey._aim_at(number).colours for number in range(3)]
    own = ImageProcessor(PICTURE, LITE0.metadata, settings).colour_matrix()
    np.testing.assert_allclose(matrices[0], own)  # type: ignore[arg-type]
    np.testing.assert_allclose(matrices[2], 0.26 * own + 0.74 * np.eye(3), atol=0.01)  # type: ignore[operator]
    assert len(list(journey.frames())) == 3


def test_settings_are_by_default_those_of_the_first_look() -> None:
    def steps(through: str) -> Any:
        return TravelDream(PICTURE, LITE0, None, Travel(through=through)).settings.step_size

    assert steps("block05,neon,fur") == preset("neon").step_size
    assert steps("block05,block06") == preset("creatures").step_size


def test_a_station_that_the_picture_does_not_activate_is_named() -> None:
    grey = np.full((60, 80, 3), 128, np.uint8)
    session = Sessions(TINY).get(60, 80, choose_provider(CPU).machine)
    means = session.channel_means(np.zeros((3, 60, 80), np.float32), Objective(np.ones(3, np.float32)))
    dead = int(np.flatnonzero(means[: CHANNELS[0]] == 0)[0])
    journey = TravelDream(grey, TINY, SETTINGS, replace(TRAVEL, through=f"low,low:{dead}"))
    with pytest.raises(SettingsError, match=f"does not activate station 'low:{dead}' at all: leave it out"):
        list(islice(journey.frames(), 1))


@pytest.mark.parametrize(
    ("through", "words"),
    [
        ("low", "give two stations at least, as in creatures,fur"),
        ("low,,mid", "give two stations at least"),
        ("low,mud", "station 'mud': the bundle has no layer 'mud', and no look of it has that name: did you mean mid"),
        ("low,xyz", "its layers are low, mid, high, and no look is made for it"),
        ("low,low:14", "channel 14 is not in low: it has channels 0 to 13"),
        ("low,top:1", "station 'top:1': the bundle has no layer 'top'"),
        ("low,mid:x", "write a layer and the number of one channel"),
        ("low,creatures", "'creatures' is made for photographs, on lite0, and a journey stays in one bundle"),
    ],
)
def test_stations_that_do_not_exist_are_explained(through: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        film(Travel(through=through))
    assert "\n" not in str(caught.value)


def test_looks_of_another_bundle_are_explained_by_those_of_this_one() -> None:
    with pytest.raises(SettingsError, match=r"'opals' .* its looks are creatures, fur, neon"):
        parse_stations("creatures,opals", LITE0.metadata)


def test_stations_may_be_of_every_kind_and_come_twice() -> None:
    names = [station.name for station in parse_stations("creatures, block05:-3 ,block07,creatures", LITE0.metadata)]
    assert names == ["creatures", "block05:-3", "block07", "creatures"]


def test_the_name_of_a_layer_may_have_colons() -> None:
    first, *others = TINY.metadata.layers
    bundle = replace(TINY.metadata, layers=(replace(first, name="stage:one"), *others))
    channel, layer = parse_stations("stage:one:3,stage:one", bundle)
    assert channel.settings.channels == ("stage:one:3",)
    assert layer.settings.layer_weights == {"stage:one": 1.0}


def test_holds_must_fit_into_the_film() -> None:
    with pytest.raises(SettingsError, match="3 stations of 6 seconds do not fit into 15 seconds"):
        film(replace(TRAVEL, hold=6))
    jumps = film(replace(TRAVEL, hold=5))
    found = [int(np.argmax(products(jumps.objective_at(number)) > 0)) for number in (4, 5, 9, 10, 14)]
    assert found == [3, 14, 14, 0, 0]
    assert film(replace(TRAVEL, hold=1.1, seconds=3.3)).count == 3  # although 3 * 1.1 > 3.3
