"""The nodes of a Ray cluster: whether they can dream for this machine, and how many workers fit on them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from ... import __version__
from ..errors import ClusterError

_ANSWER_SECONDS = 30.0
_RESOURCES_SECONDS = 2.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Nodes:
    """The nodes that can dream: their names by Ray's numbers, and the least memory budget of one in bytes."""

    names: Mapping[str, str]
    budget: int


def inspect_nodes(ray: Any, lock: Path | None, log: Callable[[str], None]) -> Nodes:
    """Asks all nodes with CPUs what they have; `log` is called with a line where results will differ.

    `lock` is a file in the output folder that each of them must see. Raises ClusterError that names a node.
    """
    names = {one["NodeID"]: one["NodeManagerHostname"] for one in _alive(ray) if one["Resources"].get("CPU")}
    remote = ray.remote(_inspection())
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    path = str(lock) if lock else None
    pending = {
        remote.options(num_cpus=0, max_retries=0, scheduling_strategy=strategy(number, soft=False)).remote(
            __version__, path
        ): name
        for number, name in names.items()
    }
    _, missing = ray.wait(list(pending), num_returns=len(pending), timeout=_ANSWER_SECONDS) if pending else ([], [])
    for one in missing:
        raise ClusterError(f"node {pending[one]} does not answer: restart Ray on it, or remove it from the cluster")
    budgets = []
    for one, name in pending.items():
        try:
            answer = ray.get(one)
        except ray.exceptions.TaskUnschedulableError:
            log(f"node {name} has just left the cluster")
            continue
        except ray.exceptions.RayError as error:
            raise ClusterError(f"node {name} cannot start a worker ({cause_of(error)}): check Ray on it") from error
        budgets.append(require_fit(name, answer, lock, log))
    return Nodes(names, min(budgets, default=0))


def require_fit(name: str, answer: Mapping[str, Any], lock: Path | None, log: Callable[[str], None]) -> int:
    """Returns the memory budget of a node in bytes, from its answer. Raises ClusterError where it cannot dream."""
    version = answer["onnxdream"]
    if version is None:
        raise ClusterError(
            f"node {name} has no onnxdream: install onnxdream[cluster] {__version__} in Ray's Python there"
        )
    if version != __version__:
        raise ClusterError(f"node {name} has onnxdream {version}, and this machine {__version__}: install the same")
    if lock and not answer["sees"]:
        raise ClusterError(
            f"node {name} does not see {lock.parent}: share the folder, or send pictures there with --ship"
        )
    if answer["onnxruntime"] != ort.__version__:
        log(
            f"node {name} has onnxruntime {answer['onnxruntime']}, and this machine {ort.__version__}: "
            "the same picture may differ slightly"
        )
    return int(answer["budget"])


def free_workers(ray: Any, cpus: int, gpus: int) -> int:
    """The number of workers with that many CPUs and GPUs that fit into what is free. Raises ClusterError for none."""
    largest = max((one["Resources"].get("CPU", 0) for one in _alive(ray)), default=0)
    if largest and largest < cpus:
        raise ClusterError(f"no node has {cpus} CPUs, the most is {largest:g}: choose fewer --threads")
    deadline = time.monotonic() + _RESOURCES_SECONDS
    while True:
        free = ray.available_resources()
        count = int(min(free.get("CPU", 0) // cpus, free.get("GPU", 0) // gpus if gpus else float("inf")))
        if count:
            return min(count, _most(ray, cpus, gpus))
        if time.monotonic() > deadline:  # the head learns of its nodes a moment later
            break
        time.sleep(_POLL_SECONDS)
    kind = "GPU" if free.get("CPU", 0) >= cpus else "CPU"
    have = ray.cluster_resources().get(kind, 0)
    raise ClusterError(
        f"the cluster has no free {kind} ({free.get(kind, 0):g} of {have:g}): wait for its other jobs, or add a node"
    )


def _most(ray: Any, cpus: int, gpus: int) -> int:
    """The number of workers that fit on all nodes while nothing else runs; each is on one node."""
    kinds = {"CPU": cpus, "GPU": gpus}
    return sum(
        int(min(one["Resources"].get(kind, 0) // needed for kind, needed in kinds.items() if needed))
        for one in _alive(ray)
    )


def _alive(ray: Any) -> list[Mapping[str, Any]]:
    return [one for one in ray.nodes() if one["Alive"]]


def cause_of(error: Exception) -> str:
    """Returns the last line of an error of Ray's, which is that of the error on the node."""
    return str(error).strip().splitlines()[-1]


def _inspection() -> Callable[[str, str | None], dict[str, Any]]:
    """What a node is asked. A function inside another travels as code, so that onnxdream may be missing there."""

    def inspect(version: str, lock: str | None) -> dict[str, Any]:
        try:
            import onnxdream
        except ImportError:
            return {"onnxdream": None}
        if onnxdream.__version__ != version:
            return {"onnxdream": onnxdream.__version__}
        import onnxruntime

        from onnxdream.runtime.provider.budget import default_budget

        return {
            "onnxdream": version,
            "onnxruntime": onnxruntime.__version__,
            "budget": default_budget("cpu"),
            "sees": lock is None or os.path.exists(lock),
        }

    return inspect
