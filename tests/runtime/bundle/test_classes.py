"""Classes by number or name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from make_tiny_bundle import TINY_LITE_PATH
from pictures_fixture import TINY_BYTES, noise

from onnxdream.models.contract import Metadata
from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.bundle.classes import class_channels, find_classes
from onnxdream.runtime.errors import SettingsError

LITE = Bundle.load(TINY_LITE_PATH)
FACTS = LITE.metadata
CASTLE = FACTS.class_names.index("castle")
CPU = Execution("cpu", threads=1)


def test_classes_are_chosen_by_number_by_name_and_with_a_sign() -> None:
    assert class_channels(FACTS, "castle") == {"logits": ((CASTLE, 1.0),)}
    assert class_channels(FACTS, f" {CASTLE} ,-0") == {"logits": ((CASTLE, 1.0), (0, -1.0))}
    assert class_channels(FACTS, "-King of Beasts, tabby cat") == {"logits": ((2, -1.0), (0, 1.0))}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("7", "class 7 does not exist: the bundle has classes 0 to 6"),
        ("castel", "class 'castel' does not exist: the nearest are castle (4)"),
        ("cat", "class 'cat' does not exist: the nearest are tabby cat (0), tiger cat (1)"),
        ("§", "class '§' does not exist: `onnxdream info BUNDLE --classes TEXT` finds names"),
        ("Crane", "class 'Crane' may be several: give its number, 3 (crane) or 6 (crane)"),
        ("castle,4", "class 4 is chosen twice: write each class once"),
        ("castle,", "a class is empty: write numbers or names, as in --classes 207,castle"),
    ],
)
def test_a_class_that_does_not_exist_is_refused_with_advice(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        class_channels(FACTS, text)
    assert str(error.value) == said


def test_names_that_have_a_word_come_before_names_that_have_its_letters() -> None:
    names = ("bullfrog, Rana catesbeiana", "sulphur-crested cockatoo, Cacatua galerita", "oystercatcher", "tiger cat")
    with pytest.raises(SettingsError) as error:
        class_channels(replace(FACTS, class_names=(*names, *FACTS.class_names[len(names) :])), "Cat")
    assert str(error.value) == (
        "class 'Cat' does not exist: the nearest are tiger cat (3), rana catesbeiana (0), cacatua galerita (1); "
        "`onnxdream info BUNDLE --classes Cat` finds names"
    )


def test_a_bundle_of_ones_own_model_says_how_to_get_its_classes() -> None:
    own = replace(_lite0(), backbone="birds.keras")
    with pytest.raises(SettingsError) as error:
        class_channels(own, "owl")
    assert str(error.value) == (
        "the bundle has no layer logits, so it has no classes: export it with the layer logits "
        "(`onnxdream layers --model FILE` says whether its model has one)"
    )


def test_a_bundle_without_names_takes_numbers_only() -> None:
    nameless = replace(FACTS, class_names=())
    assert class_channels(nameless, "4") == {"logits": ((4, 1.0),)}
    for call in (class_channels, find_classes):
        with pytest.raises(SettingsError, match="the bundle has no names of classes: give their numbers"):
            call(nameless, "castle")


def test_a_bundle_without_logits_names_the_export_command() -> None:
    command = "onnxdream export --model lite0 --layers logits"
    v3 = Bundle.built_in("v3-low").metadata
    for facts, reason in ((v3, "Inception-v3 is exported without its classifier"), (_lite0(), "no layer logits")):
        for call in (class_channels, find_classes):
            with pytest.raises(SettingsError, match=f"{reason}.*`{command}`"):
                call(facts, "castle")


def _lite0() -> Metadata:
    return Bundle.built_in("lite0").metadata


def test_classes_are_found_by_a_part_of_their_names() -> None:
    assert find_classes(FACTS, "CAT") == [(0, "tabby, tabby cat"), (1, "tiger cat")]
    assert len(find_classes(FACTS, "")) == len(FACTS.class_names)
    assert find_classes(FACTS, "§") == []


def test_a_dream_raises_the_score_of_a_class_alone() -> None:
    picture = noise(80, 96)
    settings = Settings(steps=8, step_size=0.02, classes="castle,-tiger cat", execution=CPU)
    dreamed = dream(picture, LITE, settings)
    logits = FACTS.layer_names.index("logits")
    assert dreamed.losses[-1, logits] > dreamed.losses[0, logits]
    # The same as the channels of the layer logits.
    same = replace(settings, classes=None, channels=(f"logits:{CASTLE},-1",))
    np.testing.assert_array_equal(dream(picture, LITE, same).picture, dreamed.picture)
    assert dreamed.record.settings.classes == "castle,-tiger cat"


def test_layers_may_be_given_beside_classes() -> None:
    names = FACTS.layer_names
    settings = Settings(classes="castle")
    assert settings.weights_of(names) == [0.0, 0.0, 0.0, 1.0]
    both = replace(settings, layer_weights={"low": 0.5, "logits": 1.0})
    assert both.weights_of(names) == [0.5, 0.0, 0.0, 1.0]
    with pytest.raises(SettingsError, match="channels of logits are chosen"):
        replace(settings, layer_weights={"low": 1.0}).weights_of(names)


@pytest.mark.parametrize(
    ("changes", "guide", "said"),
    [
        ({"channels": ("low:1",)}, False, "channels and classes contradict each other"),
        ({"pick": "strongest:2"}, False, "classes and pick contradict each other"),
        ({}, True, "classes and a guide contradict each other"),
    ],
)
def test_classes_contradict_other_ways_to_choose_channels(changes: dict[str, object], guide: bool, said: str) -> None:
    def dreamed() -> None:
        settings = Settings(steps=1, classes="castle", execution=CPU, **changes)  # type: ignore[arg-type]
        dream(noise(40, 40), LITE, settings, guide=noise(40, 40) if guide else None)

    with pytest.raises(SettingsError, match=said):
        dreamed()


def test_a_dream_of_a_class_with_a_bundle_without_logits_is_refused() -> None:
    with pytest.raises(SettingsError, match="has no classes"):
        dream(noise(40, 40), Bundle.load(TINY_BYTES), Settings(steps=1, classes="0", execution=CPU))
