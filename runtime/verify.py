"""The command `verify`: checks a deployed folder's files, and that this machine reproduces the reference results."""

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
    """The result of one check: its name and what was found; `problem` is an error with a remedy, None if it passed."""

    name: str
    found: str
    problem: str | None = None

    def row(self) -> tuple[str, ...]:
        """Returns the result as a row of a table: name, ok or fails, what was found."""
        return self.name, "fails" if self.problem else "ok", self.found


def verify(folder: Path, provider: str = "auto", precision: str | None = None) -> list[CheckResult]:
    """Checks a folder's files, its bundle, and each provider: whether it works, and what it computes.

    `auto` means the providers that the folder's target must have; without a `precision` it is the bundle's own.
    Checks that depend on a failed one are left out. Raises SettingsError, and DeploymentError for a folder that
    `deploy` did not make.
    """
    options: dict[str, Any] = {"provider": provider, "precision": precision or "fp32"}
    execution = Execution(**options)
    listed = read_manifest(folder)
    checks = list(_check_files(folder, listed))
    if any(check.problem for check in checks):
        return checks
    deployment = read_deployment(folder, listed)
    try:
        bundle = replace(Bundle.load(read_listed(folder, deployment.bundle, listed)), path=folder / deployment.bundle)
    except BundleError as error:
        return [*checks, CheckResult("bundle", "breaks the contract", str(error))]
    layers = ", ".join(bundle.metadata.layer_names)
    checks.append(CheckResult("bundle", f"{deployment.bundle}: {bundle.metadata.backbone}, {layers}"))
    providers = TARGETS[deployment.target].providers if execution.provider == "auto" else (execution.provider_name,)
    run_precision = execution.precision if precision else bundle.precision
    for name in providers:
        machine = Machine(name, usable_threads(), run_precision, card=execution.card)
        checks.extend(_check_machine(bundle, deployment.reference, machine))
    return checks


def _check_files(folder: Path, listed: dict[str, str]) -> Iterator[CheckResult]:
    """Yields one result for all files, or one for each file that is missing or has changed."""
    size, is_sound = 0, True
    for name in listed:
        try:
            size += len(read_listed(folder, name, listed))
        except DeploymentError as error:
            is_sound = False
            yield CheckResult("files", name, str(error))
    if is_sound:
        yield CheckResult("files", f"{len(listed)} files as deployed, {size / 1e6:.1f} MB")


def _check_machine(bundle: Bundle, reference: Reference, machine: Machine) -> Iterator[CheckResult]:
    """Yields the result of the provider's self-test and, if it passed, of the comparison with the reference."""
    title = f"provider {machine.provider_text}"
    try:
        bundle.require_precision(machine.precision)
        candidates(machine.provider, ort.get_available_providers(), machine.precision)
    except (ProviderError, SettingsError) as error:
        yield CheckResult(title, "not available", str(error))
        return
    failure = self_test(machine.provider, machine.precision, machine.card)
    if failure:
        yield CheckResult(
            title,
            "a small test model fails",
            f"{title} does not work here ({failure}): the command `doctor` shows more",
        )
        return
    yield CheckResult(title, "a small test model works")
    title, tolerance = f"gradient on {machine.provider_text} in {machine.precision}", TOLERANCES[machine.precision]
    try:
        found = reference.agreement(bundle, machine)
    except OnnxdreamError as error:
        yield CheckResult(title, "no result", str(error))
        return
    numbers = (
        f"largest relative loss error {found.loss_error:.1e} ({tolerance.loss_error:.0e} allowed), "
        f"cosine of the gradients {found.cosine:.7f} ({tolerance.cosine:g} needed)"
    )
    problem = f"the {title} differs from the reference in the folder ({numbers}): choose another --provider"
    yield CheckResult(title, numbers, None if found.meets(tolerance) else problem)
