"""Which bundle a dream uses when the user names one, or none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..models import library
from ..models.contract import BundleError, BundleNotFoundError
from .bundle import Bundle, precision_of_bundle
from .errors import RecordError
from .record import Source
from .settings import Precision

_IMAGENET = "for ImageNet weights: onnxdream export --model {backbone} (needs onnxdream[export])"


def choose_bundle(name: str | None, precision: Precision | None = None) -> Bundle:
    """The bundle of that path or name; without one the newest exported in the precision that a run in `precision`
    takes (None: fp32), with other than random weights if there is one, else the embedded default, which is fp32.

    Raises BundleError, and SettingsError where `precision` and a bundle that is named do not fit.
    """
    if name is not None:
        bundle = Bundle.load(library.find_bundle(name))
        if precision:
            bundle.require_precision(precision)
        return bundle
    wanted = precision_of_bundle(precision or "fp32")
    random: Bundle | None = None
    for path in library.list_bundles():
        try:
            bundle = Bundle.load(path)
        except BundleError:
            continue  # `info` shows what is wrong with it
        if bundle.metadata.precision != wanted:
            continue
        if bundle.metadata.weights.source != "random":
            return bundle
        random = random or bundle
    if wanted == "fp32":
        return Bundle.load(library.EMBEDDED)
    if random is None:
        raise BundleNotFoundError(f"no bundle of {wanted} is here: make one with onnxdream export --precision {wanted}")
    return random


def called(bundle: Bundle) -> str:
    """What the user knows a bundle as."""
    return "the embedded default" if bundle.path == library.EMBEDDED else bundle.name


def describe(bundle: Bundle) -> list[str]:
    """Lines for the user: which bundle it is, and what to know of weights that are not trained on photographs."""
    facts = bundle.metadata
    kind = f"{facts.weights.source} weights" + ("" if facts.precision == "fp32" else f", {facts.precision}")
    lines = [f"model: {called(bundle)} ({facts.backbone}, {', '.join(facts.layer_names)}; {kind})"]
    hint = _IMAGENET.format(backbone=facts.backbone)
    if facts.weights.source == "motifs":
        lines.append(f"its weights know drawn motifs (eyes, spirals, scales), no photographs; {hint}")
    if facts.weights.source == "random":
        lines.append(f"its weights are random: it dreams textures that mean nothing; {hint}")
    return lines


@dataclass(frozen=True)
class Shelved:
    """A line of the list of bundles; `problem` says why one cannot be used."""

    name: str
    path: str
    layers: tuple[str, ...] = ()
    weights: str = ""
    megabytes: float = 0.0
    problem: str = ""

    def cells(self) -> tuple[str, ...]:
        """The line's text, column by column."""
        return self.name, ", ".join(self.layers) or self.problem, self.weights, f"{self.megabytes:.1f} MB"


def shelf() -> list[Shelved]:
    """Every bundle at hand: the embedded default and those of the library, newest first."""
    return [_shelved(path) for path in (library.EMBEDDED, *library.list_bundles())]


def _shelved(path: Path) -> Shelved:
    try:
        bundle = Bundle.load(path)
    except BundleError as error:
        return Shelved(path.stem, str(path), problem=str(error))
    facts = bundle.metadata
    return Shelved(path.stem, str(path), facts.layer_names, facts.weights.source, round(len(bundle.data) / 1e6, 1))


def bundle_of(source: Source) -> Bundle:
    """The very bundle of a record, looked for where it was and in the library. Raises RecordError."""
    places = [Path(source.path)] if source.path else []
    for path in [*places, library.EMBEDDED, *library.list_bundles()]:
        try:
            bundle = Bundle.load(path)
        except BundleError:
            continue
        if bundle.sha256 == source.sha256:
            return bundle
    raise RecordError(
        f"the bundle {source.name} (SHA-256 {source.sha256[:12]}…) is not here: put the file into "
        f"{library.bundle_folder()}"
    )
