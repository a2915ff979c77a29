"""Classes by number or name: the channels of the layer `logits`, the scores of a network's classifier."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from ...models.backbones import BACKBONES, find_backbone
from ...models.contract import LOGITS, Metadata
from ..errors import SettingsError
from .channel_weights import Channels

_EXPORT = f"export one with the command `onnxdream export --model lite0 --layers {LOGITS}`"
_FINDS = "`onnxdream info BUNDLE --classes {}` finds names"
_SHOWN = 3  # of the names that are near


def class_channels(metadata: Metadata, text: str) -> Channels:
    """Returns the channels of `logits` that a text such as `207,castle,-281` chooses, with their signs.

    Classes are given by number, or by any of their names, whatever the case. A minus sign lowers a class. Raises
    SettingsError for a bundle without `logits`, and for classes that do not exist or whose name fits several.
    """
    layer = next((layer for layer in metadata.layers if layer.name == LOGITS), None)
    if layer is None:
        raise SettingsError(_no_logits(metadata))
    chosen: dict[int, float] = {}
    for part in text.split(","):
        name = part.strip()
        sign = -1.0 if name.startswith("-") else 1.0
        number = _number(metadata, layer.channels, name.lstrip("+-").strip())
        if number in chosen:
            raise SettingsError(f"class {name.lstrip('+-')} is chosen twice: write each class once")
        chosen[number] = sign
    return {LOGITS: tuple(chosen.items())}


def find_classes(metadata: Metadata, text: str) -> list[tuple[int, str]]:
    """Returns the numbers and names of the classes whose names contain a text, whatever the case.

    Raises SettingsError for a bundle without names of classes.
    """
    if not metadata.class_names:
        has_logits = LOGITS in metadata.layer_names
        raise SettingsError(_NO_NAMES if has_logits else _no_logits(metadata))
    wanted = text.casefold()
    return [(number, names) for number, names in enumerate(metadata.class_names) if wanted in names.casefold()]


_NO_NAMES = "the bundle has no names of classes: give their numbers"


def _number(metadata: Metadata, count: int, name: str) -> int:
    """Returns the number of a class, given by its number or by one of its names. Raises SettingsError."""
    if re.fullmatch(r"\d{1,9}", name):
        if int(name) >= count:
            raise SettingsError(f"class {int(name)} does not exist: the bundle has classes 0 to {count - 1}")
        return int(name)
    if not name:
        raise SettingsError("a class is empty: write numbers or names, as in --classes 207,castle")
    if not metadata.class_names:
        raise SettingsError(_NO_NAMES)
    found = [number for number, synonym in _synonyms(metadata) if synonym.casefold() == name.casefold()]
    if not found:
        raise SettingsError(f"class {name!r} does not exist: {_nearest(metadata, name)}")
    if len(found) > 1:
        choices = " or ".join(f"{number} ({metadata.class_names[number]})" for number in found)
        raise SettingsError(f"class {name!r} may be several: give its number, {choices}")
    return found[0]


def _nearest(metadata: Metadata, name: str) -> str:
    """Returns advice that names the classes whose names contain a name, as a word first, or are similar to it."""
    numbers = {synonym.casefold(): number for number, synonym in _synonyms(metadata)}
    wanted = name.casefold()
    within = sorted(
        (synonym for synonym in numbers if wanted in synonym), key=lambda synonym: not _has(synonym, wanted)
    )
    near = within or difflib.get_close_matches(wanted, numbers, n=_SHOWN)
    if not near:
        return _FINDS.format("TEXT")
    shown = f"the nearest are {', '.join(f'{synonym} ({numbers[synonym]})' for synonym in near[:_SHOWN])}"
    return f"{shown}; {_FINDS.format(name)}" if len(near) > _SHOWN else shown


def _has(synonym: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", synonym) is not None


def _synonyms(metadata: Metadata) -> Iterator[tuple[int, str]]:
    """Yields each name of each class, with the class's number."""
    for number, names in enumerate(metadata.class_names):
        for synonym in dict.fromkeys(name.strip() for name in names.split(",")):
            yield number, synonym


def _no_logits(metadata: Metadata) -> str:
    """Returns why a bundle has no classes, and what to do."""
    reason = f"the bundle has no layer {LOGITS}, so it has no classes"
    if metadata.backbone not in {backbone.name for backbone in BACKBONES}:
        listing = "`onnxdream layers --model FILE` says whether its model has one"
        return f"{reason}: export it with the layer {LOGITS} ({listing})"
    backbone = find_backbone(metadata.backbone)
    if not backbone.include_top:
        return f"{backbone.title} is exported without its classifier, so the bundle has no classes: {_EXPORT}"
    return f"{reason}: {_EXPORT}"
