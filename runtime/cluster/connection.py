"""Joins a Ray cluster, or starts one on this machine. Ray is loaded where it is needed, since it is optional."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...models.child import code_command
from ..errors import ClusterError, ClusterExtraError, SettingsError

# The cluster that is started on this machine, and the one that runs here already, wherever its head is.
LOCAL, AUTO = "local", "auto"
_CONNECT_SECONDS = 3.0
_CHECK_SECONDS = 30.0  # on a machine that is busy; else Ray's own limits below end the check after seven seconds
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")
# Joins the cluster and says in JSON what came of it.
_CHECK = """import json, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
except Exception as error:
    print(json.dumps(str(error.__cause__ or error)))
else:
    print(json.dumps(None))
"""
# Ray waits for minutes unless it is told otherwise; these are the seconds that it takes to connect, twice, to give up
# where no head answers, and to look for a node on this machine.
_CHECK_ENVIRONMENT = {
    "RAY_gcs_rpc_server_connect_timeout_s": "2",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3",
    "RAY_gcs_server_request_timeout_seconds": "4",
}
# Ray sends statistics home otherwise.
_START_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True)
class ClusterOptions:
    """Which cluster to dream on: `address` is host:port, auto or local; with `ship`, pictures travel to the nodes.

    Raises SettingsError.
    """

    address: str
    ship: bool = False

    def __post_init__(self) -> None:
        if self.address not in (LOCAL, AUTO) and not _host_and_port(self.address):
            raise SettingsError(
                f"cluster must be local, auto, or a host and a port as in 10.0.0.1:6379, not {self.address!r}"
            )


def _host_and_port(address: str) -> tuple[str, int] | None:
    """The two parts of an address such as 10.0.0.1:6379, or None for another text."""
    found = _HOST_AND_PORT.fullmatch(address)
    if not found or not 0 < int(found[2]) < 2**16:
        return None
    return found[1].strip("[]"), int(found[2])


def load_ray() -> Any:
    """The module `ray`. Raises ClusterExtraError."""
    try:
        import ray
    except ImportError as error:
        raise ClusterExtraError("--cluster needs Ray: pip install 'onnxdream[cluster]'") from error
    return ray


@contextmanager
def joined(address: str) -> Iterator[Any]:
    """Joins the cluster at an address, or starts the `local` one, until the end of the block; yields the module `ray`.

    Signals and the environment are afterwards what they were. Raises ClusterError and ClusterExtraError.
    """
    ray = load_ray()
    if address == LOCAL:
        options: Mapping[str, Any] = {"include_dashboard": False}
    else:
        _require_answer(address)
        options = {}
    with _errors_unprinted(ray):
        try:
            with _process_kept(), _environment(_START_ENVIRONMENT):
                logging.getLogger("ray").setLevel(logging.ERROR)  # which `init` does only after its first lines
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
            yield ray
        except (RuntimeError, OSError, ValueError) as error:
            if isinstance(error, ClusterError) or ray.is_initialized():
                raise
            if isinstance(error, OSError) and error.filename:
                raise ClusterError(
                    f"--cluster {address}: Ray cannot write {error.filename} ({error.strerror}): "
                    "set RAY_TMPDIR to a folder that can be written"
                ) from error
            raise ClusterError(f"--cluster {address}: Ray does not start ({_first_line(str(error))})") from error
        finally:
            ray.shutdown()


def _require_answer(address: str) -> None:
    """Raises ClusterError unless the cluster at an address answers and can be joined.

    A process of its own tries it, since Ray waits for minutes, or ends the process, where something else answers.
    """
    advice = "give the address that `ray start --head` has printed, as 10.0.0.1:6379"
    if target := _host_and_port(address):
        try:
            socket.create_connection(target, _CONNECT_SECONDS).close()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ClusterError(f"--cluster {address}: nothing answers there ({reason}): {advice}") from error
    command, environment = code_command(_CHECK, address), {**os.environ, **_CHECK_ENVIRONMENT}
    try:
        check = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_SECONDS, env=environment)
        problem = json.loads(check.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        raise ClusterError(f"--cluster {address}: what answers there is not a Ray cluster: {advice}") from None
    if problem is not None:
        raise ClusterError(f"--cluster {address}: {_describe(problem, address)}")


def _describe(problem: str, address: str) -> str:
    """Says in a line why Ray cannot join a cluster."""
    versions = _VERSIONS.findall(problem)
    if len(versions) == 2:
        (ray, python), (own_ray, own_python) = versions
        return (
            f"it runs Ray {ray} on Python {python}, and this machine has Ray {own_ray} on Python {own_python}: "
            "install the same versions"
        )
    if "No node info found" in problem or "node_ip_address" in problem:
        start = f"ray start --address={address}"
        return f"this machine is not a node of it: run `{start}` here, or give the command on one of its nodes"
    if "Could not find any running Ray" in problem:
        return "no Ray runs on this machine: start it with `ray start`, or choose --cluster local"
    return f"it cannot be joined ({_first_line(problem)})"


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0].rstrip(".")


@contextmanager
def _process_kept() -> Iterator[None]:
    """Keeps this process's handlers of signals, and keeps signals of a terminal from the processes that Ray starts.

    Ray sets a handler of SIGTERM of its own. One that came meanwhile is handled afterwards, and raises ClusterError.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    is_ended = False
    try:
        with _blocked("SIGINT", "SIGHUP"):
            yield
    except SystemExit:
        is_ended = True
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
    if is_ended:
        signal.raise_signal(signal.SIGTERM)
        raise ClusterError("stopped while Ray was starting")


@contextmanager
def _blocked(*names: str) -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.Signals[name] for name in names})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Changes the environment for the processes that are started meanwhile, and undoes all changes to it."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _errors_unprinted(ray: Any) -> Iterator[None]:
    """Keeps Ray from printing a paragraph on standard output where a worker dies, for which it has no option."""
    module = getattr(getattr(ray, "_private", None), "worker", None)
    printing = getattr(module, "print_to_stdstream", None)
    if printing is None:
        yield
        return
    module.print_to_stdstream = lambda *_, **__: None  # type: ignore[union-attr]
    try:
        yield
    finally:
        module.print_to_stdstream = printing  # type: ignore[union-attr]
