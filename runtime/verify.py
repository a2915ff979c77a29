"""Whether a deployed folder is whole, and whether this machine computes with it what was computed where it was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnxruntime as ort

from ..models.contract import BundleError
from ..models.errors import OnnxdreamError
from .bundle.bundle import Bundle
from .deploying.folder import TARGETS, DeploymentError, read_deployment, read_listed, read_manifest
from .deploying.reference import TOLERANCES, Reference
from .errors import ProviderError, SettingsError
from .provider.machine import Machine, usable_threads
from .provider.selection import candidates, self_test
from .settings.settings import Execution


@dataclass(frozen=True)
class CheckResult:
    """One thing that was looked at, and what was found; `problem` is a line with what to do, None if all is well."""

    name: str
    found: str
    problem: str | None = None

    def row(self) -> tuple[str, ...]:
        """The check as a line of a table."""
        return self.name, "fails" if self.problem else "ok", self.found


def verify(folder: Path, provider: str = "auto", precision: str | None = None) -> list[CheckResult]:
    """Looks at a folder's files, the bundle's contract, and at each provider: whether it works, and what it computes.

    `auto` means the providers that the folder's target must have; the precision is the bundle's own if it is None.
    What rests on a failed check is left out. Raises SettingsError, and DeploymentError for a folder that `deploy` did
    not make.
    """
    wish: dict[str, Any] = {"provider": provider, "precision": precision or "fp32"}
    execution = Execution(**wish)
    listed = read_manifest(folder)
    checks = list(_files(folder, listed))
    if any(check.problem for check in checks):
        return checks
    deployed = read_deployment(folder, listed)
    try:
        bundle = replace(Bundle.load(read_listed(folder, deployed.bundle, listed)), path=folder / deployed.bundle)
    except BundleError as error:
        return [*checks, CheckResult("bundle", "against the contract", str(error))]
    layers = ", ".join(bundle.metadata.layer_names)
    checks.append(CheckResult("bundle", f"{deployed.bundle}: {bundle.metadata.backbone}, {layers}"))
    providers = TARGETS[deployed.target].providers if execution.provider == "auto" else (execution.provider,)
    chosen = execution.precision if precision else bundle.precision
    for name in providers:
        checks.extend(_machine(bundle, deployed.reference, Machine(name, usable_threads(), chosen)))
    return checks


def _files(folder: Path, listed: dict[str, str]) -> Iterator[CheckResult]:
    """One check of all files, or one for each that is amiss."""
    size, sound = 0, True
    for name in listed:
        try:
            size += len(read_listed(folder, name, listed))
        except DeploymentError as error:
            sound = False
            yield CheckResult("files", name, str(error))
    if sound:
        yield CheckResult("files", f"{len(listed)} as deployed, {size / 1e6:.1f} MB")


def _machine(bundle: Bundle, reference: Reference, machine: Machine) -> Iterator[CheckResult]:
    """The provider's self-test and, if it works, what it computes."""
    title = f"provider {machine.provider}"
    try:
        bundle.require_precision(machine.precision)
        candidates(machine.provider, ort.get_available_providers(), machine.precision)
    except (ProviderError, SettingsError) as error:
        yield CheckResult(title, "not to be had", str(error))
        return
    failure = self_test(machine.provider, machine.precision)
    if failure:
        yield CheckResult(
            title, "self-test", f"{title} does not work here ({failure}): the command `doctor` tells more"
        )
        return
    yield CheckResult(title, "self-test")
    title, tolerance = f"gradient on {machine.provider} in {machine.precision}", TOLERANCES[machine.precision]
    try:
        found = reference.agreement(bundle, machine)
    except OnnxdreamError as error:
        yield CheckResult(title, "no result", str(error))
        return
    numbers = (
        f"losses within {found.loss_error:.1e} ({tolerance.loss_error:.0e} allowed), "
        f"cosine {found.cosine:.7f} ({tolerance.cosine:g} needed)"
    )
    problem = f"the {title} is not what it was where it was deployed ({numbers}): choose another --provider"
    yield CheckResult(title, numbers, None if found.meets(tolerance) else problem)
