"""Measures onnxdream on a GPU for benchmarks/device.sh: `python benchmarks/device_steps.py SECTION FILE`.

A section appends its rows to FILE. The last line says why a section failed or, with exit code 77, why it was skipped:
because CUDA does not work here. Wrong results fail a section after all of it was measured.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gpu_utilisation
import numpy as np
import onnxruntime
from device_case import NAMES, image_of, picture_of
from device_rows import LOSS_RTOL, SIZES, STEPS, WARM_UP, size_name, times_of, write_row
from rows import WidthHeight

from onnxdream.models import contract
from onnxdream.models.arrays import Image
from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.bench import StepTimer
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.provider import cards, tensors
from onnxdream.runtime.provider.budget import Cost
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.hardware import detect_hardware
from onnxdream.runtime.provider.machine import Machine, usable_threads
from onnxdream.runtime.provider.selection import self_test

SKIPPED = 77
CUDA, CPU = Machine("cuda", 1), Machine("cpu", usable_threads())
# The memory is measured at these sizes, each in a process of its own, since onnxruntime's arena never shrinks.
_MEMORY_SIZES: tuple[WidthHeight, ...] = (*SIZES, (2048, 1536))
# Rounding errors grow during a hundred steps; a graph that reads wrong memory has losses of another size.
_TUNED_RTOL = 5e-2
Losses = Any


class WrongResultError(RuntimeError):
    """What was measured computes something else."""


def steps(file: Path) -> None:
    """Times whole steps of an ascent, and compares the losses and the gradient with the CPU's."""
    errors = []
    for name in NAMES:
        for size in SIZES:
            row = {"system": "onnxdream", "network": name, "size": size_name(size), **compare(name, size)}
            write_row(file, **row, **times_of(step_seconds(name, size)))
            errors.append(row["loss_error"])
    require_right(errors)


def tuned(file: Path) -> None:
    """Times steps of tuned dreams, and compares the losses of their first hundred steps with those of others."""
    errors = []
    for name in NAMES:
        for size in SIZES:
            plain, found = (losses_of(name, size, tune) for tune in (False, True))
            errors.append(float(np.abs(found / plain - 1).max()))
            row = {"system": "onnxdream --tune", "network": name, "size": size_name(size)}
            row |= {"loss_error": errors[-1], "loss_rtol": _TUNED_RTOL}
            write_row(file, **row, **times_of(step_seconds(name, size, tune=True)))
    if not all(error < _TUNED_RTOL for error in errors):  # written so that NaN is wrong, too
        raise WrongResultError(f"losses of tuned dreams differ by {', '.join(f'{error:.1e}' for error in errors)}")


def losses_of(name: str, size: WidthHeight, tune: bool) -> Losses:
    """Returns the losses of the steps of a dream on the GPU, enough of them that most replay a CUDA graph."""
    settings = Settings(max_size=None, steps=STEPS, execution=Execution("cuda", tune=tune))
    return dream(picture_of(size), Bundle.built_in(name), settings).losses


def require_right(errors: list[float]) -> None:
    """Raises WrongResultError unless all these relative errors of losses are small."""
    if not all(error < LOSS_RTOL for error in errors):  # written so that NaN is wrong, too
        raise WrongResultError(f"losses differ from the CPU's by {', '.join(f'{error:.1e}' for error in errors)}")


def step_seconds(name: str, size: WidthHeight, tune: bool = False) -> list[float]:
    """Returns the seconds of steps of a `dream` on the GPU."""
    timer = StepTimer(Bundle.built_in(name), Execution("cuda", tune=tune), picture_of(size))
    timer.step_seconds(WARM_UP)
    return timer.step_seconds(STEPS)


def compare(name: str, size: WidthHeight) -> dict[str, float]:
    """Returns the largest relative error of a loss on the GPU, and the cosine of the gradient with the CPU's."""
    (losses, gradient), (expected_losses, expected) = (evaluate(name, size, machine) for machine in (CUDA, CPU))
    a, b = gradient.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    cosine = float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-300))
    return {"loss_error": loss_error(losses, expected_losses), "cosine": cosine}


def evaluate(name: str, size: WidthHeight, machine: Machine) -> tuple[Losses, Image]:
    """Returns the losses and the gradient of the picture of that size."""
    return Session(Bundle.built_in(name), size[1], size[0], machine).evaluate(image_of(size), objective_of(name))


def objective_of(name: str) -> Objective:
    """Returns the sum of a bundle's layers."""
    return Objective(np.ones(len(Bundle.built_in(name).metadata.layers), np.float32))


def loss_error(found: Losses, expected: Losses) -> float:
    """Returns the largest relative error of a loss."""
    return float(np.abs(found / expected - 1).max())


def busy(file: Path) -> None:
    """Measures how busy the GPU is."""
    for name in NAMES:
        path = str(Bundle.built_in(name).path)
        write_row(file, network=name, size=size_name(SIZES[0]), **gpu_utilisation.measure(path, size_name(SIZES[0])))


def memory(file: Path) -> None:
    """Measures the GPU's memory that a run takes beside CUDA's context, and writes what was planned for it."""
    failed = 0
    for name in NAMES:
        for size in _MEMORY_SIZES:
            command = [sys.executable, __file__, "memory-of", str(file), name, size_name(size)]
            failed += subprocess.run(command, check=False).returncode != 0
    if failed:
        raise WrongResultError(f"{failed} of the runs failed")


def memory_of(file: Path, name: str, size: str) -> None:
    """Measures one run's memory in this process."""
    width, height = (int(side) for side in size.split("x"))
    bundle = Bundle.built_in(name)
    Session(bundle, 96, 96, CUDA)  # makes CUDA's context, and loads its libraries
    before = free_bytes()
    StepTimer(bundle, Execution("cuda"), picture_of((width, height))).step_seconds(3)
    cost = Cost.on("cuda", CUDA.precision, bundle.metadata.memory, per_update_pixel=0.0, per_picture_pixel=0.0)
    planned = cost.fixed + cost.of_tile(width * height)
    taken = before - free_bytes()
    write_row(file, network=name, size=size, taken_bytes=taken, planned_bytes=round(planned))
    if taken <= 0:
        raise WrongResultError("the run took no memory of the GPU")


def free_bytes() -> int:
    """Returns the bytes of the GPU's memory that are free."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if code := _cuda().cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)):
        raise RuntimeError(f"cudaMemGetInfo returns {code}")
    return free.value


def options(file: Path) -> None:
    """Times steps with other options of CUDA than the program's own, and with one stream and fewer synchronisations."""
    errors = []
    variants: dict[str, Callable[[], Any]] = {
        "as it is": with_options,
        "prefer_nhwc": lambda: with_options(prefer_nhwc="1"),
        "exhaustive search": lambda: with_options(cudnn_conv_algo_search="EXHAUSTIVE"),
        "one stream": one_stream,
    }
    for title, variant in variants.items():
        for size in SIZES:
            with variant():
                row = {"variant": title, "network": "v3-low", "size": size_name(size)}
                errors.append(compare("v3-low", size)["loss_error"])
                write_row(file, **row, loss_error=errors[-1], **times_of(step_seconds("v3-low", size)))
    require_right(errors)


@contextmanager
def with_options(**changes: str) -> Iterator[None]:
    """Opens all sessions with changed options of CUDA."""
    plain = cards.cuda_options
    cards.cuda_options = lambda *given: {**plain(*given), **changes}  # type: ignore[assignment]
    try:
        yield
    finally:
        cards.cuda_options = plain


@contextmanager
def one_stream() -> Iterator[None]:
    """Puts all sessions on one stream, and waits for the GPU only after the update, the last run of a step."""
    stream = ctypes.c_void_p()
    _cuda().cudaStreamCreate(ctypes.byref(stream))
    plain, unsynchronised = tensors.BoundSession.run, onnxruntime.RunOptions()
    unsynchronised.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def run(bound: Any) -> None:
        if contract.LOSSES in bound._tensors:  # the gradient and the loss row
            bound._session.run_with_iobinding(bound._binding, unsynchronised)
        else:
            plain(bound)

    tensors.BoundSession.run = run  # type: ignore[method-assign]
    try:
        with with_options(has_user_compute_stream="1", user_compute_stream=str(stream.value)):
            yield
    finally:
        tensors.BoundSession.run = plain  # type: ignore[method-assign]


def graph(file: Path) -> None:
    """Times gradients as a CUDA graph, and checks the losses of a second image, which a graph could get wrong."""
    errors = []
    for size in SIZES:
        for title, changes in (("as it is", {}), ("CUDA graph", {"enable_cuda_graph": "1"})):
            with with_options(**changes):
                found = time_gradients("v3-low", size)
            write_row(file, variant=title, network="v3-low", size=size_name(size), **found)
            errors.append(found["loss_error"])
    require_right(errors)


def time_gradients(name: str, size: WidthHeight) -> dict[str, float]:
    """Times gradients of one size whose tensors stay bound, and compares the losses of another image at the end."""
    bundle, device, objective = Bundle.built_in(name), tensors.Device(CUDA), objective_of(name)
    image = image_of(size)
    bound_image = device.tensor(image[None])
    losses = device.empty((1, len(bundle.metadata.layers)))
    inputs = {key: device.tensor(array) for key, array in objective.inputs.items()}
    session = Session(bundle, size[1], size[0], CUDA)
    bound = session.bind(
        {contract.IMAGE: bound_image, **inputs},
        {contract.LOSSES: losses, contract.GRADIENT: device.empty((1, *image.shape))},
    )
    seconds = []
    for number in range(WARM_UP + STEPS):
        started = time.perf_counter()
        bound.run()
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - started)
    other = np.ascontiguousarray(image[:, ::-1, ::-1])
    bound_image.value.update_inplace(other[None])
    bound.run()
    expected, _ = Session(bundle, size[1], size[0], CPU).evaluate(other, objective)
    return {"loss_error": loss_error(losses.fetch()[0], expected), **times_of(seconds)}


def machine(file: Path) -> None:
    """Writes the card, its driver and the versions of the libraries."""
    hardware = detect_hardware()
    gpu = hardware.gpu
    facts: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "onnxruntime": onnxruntime.__version__}
    facts |= {"gpu": gpu.name, "driver": gpu.driver, "capability": gpu.capability} if gpu else {"gpu": None}
    facts["cuda"] = getattr(onnxruntime, "cuda_version", None)
    try:
        import torch

        facts |= {"torch": str(torch.__version__), "torch_cuda": torch.version.cuda}
        facts["cudnn"] = torch.backends.cudnn.version()
    except ImportError:
        facts["torch"] = None
    write_row(file, **facts)


def _cuda() -> Any:
    """Returns CUDA's runtime library, which onnxruntime has loaded."""
    major = str(getattr(onnxruntime, "cuda_version", "") or "12").split(".")[0]
    return ctypes.CDLL(f"libcudart.so.{major}")


SECTIONS: dict[str, Callable[[Path], None]] = {
    "machine": machine,
    "steps": steps,
    "tuned": tuned,
    "busy": busy,
    "memory": memory,
    "options": options,
    "graph": graph,
}


def main(section: str, file: str, *rest: str) -> int:
    """Measures a section; returns the exit code."""
    if section == "memory-of":
        memory_of(Path(file), *rest)
        return 0
    if PROVIDERS["cuda"].ort_name not in onnxruntime.get_available_providers():
        print("this onnxruntime has no CUDA provider")
        return SKIPPED
    if failure := self_test("cuda"):
        print(f"CUDA does not work here: {failure}")
        return SKIPPED
    SECTIONS[section](Path(file))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
