"""Receipts: `manifest.jsonl` in the output folder, with a line for each picture that is begun and one for its end."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, NamedTuple

from ...models.decoding import DecodeError, decoded_json
from ...models.files import sync
from ..errors import OutputError
from ..image.folders import result_stems

MANIFEST = "manifest.jsonl"
_LOCK = ".onnxdream-run-{}.lock"
State = Literal["begun", "stopped", "failed", "done"]


class Key(NamedTuple):
    """What decides a result: it is done already where a receipt with the same key says so.

    `file` is the picture's path relative to the output folder, `size` its bytes and `changed` the time of its last
    change in nanoseconds. `settings` is a hash, `bundle` the bundle's SHA-256.
    """

    file: str
    size: int
    changed: int
    settings: str
    bundle: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A line of the manifest: what became of a picture.

    `run` is the call that wrote it. `result` is the name of the result's picture, in the manifest's folder; with
    `replaces`, files of that name may have existed before. `seconds` is how long the dream took, `error` why it failed.
    """

    run: str
    state: State
    file: str
    size: int
    changed: int
    settings: str
    bundle: str
    result: str
    replaces: bool = False
    seconds: float | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        """Raises DecodeError unless `result` is the name of a picture that `overwrite` can replace in the folder."""
        if os.path.basename(self.result) != self.result or not self.result.endswith(".png"):
            raise DecodeError("result is not the name of a .png")

    @property
    def key(self) -> Key:
        return Key(self.file, self.size, self.changed, self.settings, self.bundle)


class Manifest:
    """The receipts of one output folder, while one call reads and writes them; other calls may do so, too.

    As long as the call lives, it locks a hidden file, so that others can tell its unfinished pictures from those of a
    call that was killed. Raises OutputError where the folder cannot be written, or has a manifest of another program.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = secrets.token_hex(8)
        self._path = folder / MANIFEST
        self._read_bytes = 0
        self._by_key: dict[Key, Receipt] = {}
        self._by_file: dict[str, Receipt] = {}
        self._by_result: dict[str, Receipt] = {}
        self._resources = ExitStack()

    def __enter__(self) -> Manifest:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._failure(error) from error
        with self.locked():
            for lock in self.folder.glob(_LOCK.format("*")):
                _is_held(lock)  # which removes those of calls that were killed
            self.lock.touch()
            hold_lock(self.lock, self._resources)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()
        with suppress(OSError):
            self.lock.unlink()

    @property
    def lock(self) -> Path:
        """The file that this call and its workers hold a lock on."""
        return self._lock_of(self.run)

    def latest(self, key: Key) -> Receipt | None:
        """The last receipt of a key whose result was not replaced by another dream since, or None."""
        receipt = self._by_key.get(key)
        return receipt if receipt and self._by_result[_folded(receipt.result)].key == key else None

    def latest_of_file(self, file: str) -> Receipt | None:
        """The last receipt of a picture with any settings, or None."""
        return self._by_file.get(file)

    def owner(self, result: str) -> str | None:
        """The picture whose result has that name, in capital or small letters; None for a name without receipt."""
        receipt = self.latest_of_result(result)
        return receipt.file if receipt else None

    def latest_of_result(self, result: str) -> Receipt | None:
        """The last receipt of a result, by its name in capital or small letters, or None."""
        return self._by_result.get(_folded(result))

    def has_result(self, path: Path) -> bool:
        """Whether a file has the name of a picture that a dream of this folder writes, snapshots and plots included."""
        return path.parent.resolve() == self.folder.resolve() and any(
            self.owner(f"{stem}.png") is not None for stem in result_stems(path)
        )

    def is_done(self, key: Key) -> bool:
        """Whether the result of a key is there."""
        receipt = self.latest(key)
        return receipt is not None and receipt.state == "done" and (self.folder / receipt.result).exists()

    def is_being_dreamed(self, key: Key) -> bool:
        """Whether another call that is alive has begun a key."""
        receipt = self._by_key.get(key)
        return (
            receipt is not None
            and receipt.state == "begun"
            and receipt.run != self.run
            and _is_held(self._lock_of(receipt.run))
        )

    @contextmanager
    def locked(self) -> Iterator[IO[bytes]]:
        """Keeps other calls from writing to the manifest, after reading what they have written.

        Yields the file for `append`. Raises OutputError.
        """
        try:
            with self._path.open("a+b") as file:
                with suppress(ImportError, OSError):  # Windows has no flock, and some network file systems neither
                    import fcntl

                    fcntl.flock(file, fcntl.LOCK_EX)
                self._read(file)
                yield file
        except OutputError:
            raise
        except OSError as error:
            raise self._failure(error) from error

    def add(self, receipt: Receipt) -> None:
        """Writes a receipt, and returns when it is on the disk. Raises OutputError."""
        with self.locked() as file:
            self.append(file, receipt)

    def append(self, file: IO[bytes], receipt: Receipt) -> None:
        """Writes a receipt to the file of `locked`. Raises OSError."""
        facts = {name: value for name, value in asdict(receipt).items() if value not in (None, False)}
        line = f"{json.dumps(facts)}\n".encode()
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            line = line if file.read(1) == b"\n" else b"\n" + line  # after a line that a crash has torn
        file.write(line)
        file.flush()
        sync(file)
        self._take(receipt)

    def _read(self, file: IO[bytes]) -> None:
        """Takes in the whole lines that are new."""
        file.seek(self._read_bytes)
        is_first, is_ours, count = self._read_bytes == 0, False, 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            self._read_bytes += len(line)
            count += 1
            with suppress(DecodeError):  # a line that was torn, or that no call has written
                self._take(decoded_json(Receipt, line))
                is_ours = True
        if is_first and count and not is_ours and not self._begins_with_receipt(file):
            raise OutputError(f"{self._path} was not written by onnxdream: choose another --output")

    def _begins_with_receipt(self, file: IO[bytes]) -> bool:
        """Whether the file begins with a receipt, if only with a torn one."""
        file.seek(0)
        return file.read(9) == b'{"run": "'

    def _take(self, receipt: Receipt) -> None:
        self._by_key[receipt.key] = self._by_file[receipt.file] = receipt
        self._by_result[_folded(receipt.result)] = receipt

    def _lock_of(self, run: str) -> Path:
        return self.folder / _LOCK.format(run)

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write {self._path} ({error.strerror or error}): make room or choose another --output"
        )


@contextmanager
def resumed_receipt(picture: Path) -> Iterator[Callable[[State, float], None]]:
    """Notes in the manifest next to an unfinished result that it is begun again.

    Yields a function that is told the state in which it ends, and the seconds that it took; without a call it is
    stopped, as before. Where no manifest has the result as an unfinished one, nothing is noted. Raises OutputError
    while another call dreams it.
    """
    with ExitStack() as stack:
        manifest = Manifest(picture.parent) if (picture.parent / MANIFEST).is_file() else None
        earlier = None
        with suppress(OutputError):  # of another program
            earlier = stack.enter_context(manifest).latest_of_result(picture.name) if manifest else None
        if manifest is None or earlier is None or earlier.state not in ("begun", "stopped"):
            yield lambda state, seconds: None
            return
        receipt = replace(earlier, run=manifest.run, state="begun", seconds=None)
        with manifest.locked() as file:
            if manifest.is_being_dreamed(receipt.key):
                raise OutputError(f"{picture} is being dreamed by another call: wait for it, or stop it")
            manifest.append(file, receipt)
        end = replace(receipt, state="stopped")

        def note(state: State, seconds: float) -> None:
            nonlocal end
            end = replace(receipt, state=state, seconds=seconds)

        try:
            yield note
        finally:
            manifest.add(end)


def hold_lock(path: Path, resources: ExitStack) -> None:
    """Holds the lock of a call, which its processes share, until the resources are closed or the process ends.

    Raises OSError where the file cannot be written.
    """
    file = resources.enter_context(path.open("rb"))
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH)


def _is_held(lock: Path) -> bool:
    """Whether a call is alive, as its lock file shows; that of one that is not is removed."""
    try:
        with lock.open("rb") as file, suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.unlink()  # which fails on Windows while the file is open
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return False
    return False


def _folded(name: str) -> str:
    """A file's name as file systems compare it that do not tell capital letters from small ones."""
    return name.casefold()
