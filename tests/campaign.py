"""Random damage and random command lines, for as long as one likes: `python -m tests.campaign --seconds 600`.

Every input must work or be refused in one line: no traceback, no hang, no crash, and a refused command leaves no file.
Inputs are run in batches, each in a process of its own, from a seed that is printed where something goes wrong;
`python -m tests.campaign --kind KIND --seed SEED` runs that batch again. `--kills 50` kills 50 dreams instead, at
random moments, and compares what they end with when they are resumed.
"""

# ruff: noqa: E402 - the folders of the tests' own modules must be on the path first

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "runtime")]

import cv2
import test_fuzz as fuzz
from pictures_fixture import TINY_BYTES, noise, save

from onnxdream import cli
from onnxdream.models.errors import OnnxdreamError
from onnxdream.runtime.dream.checkpoint import read_checkpoint
from onnxdream.runtime.dream.record import read_record
from onnxdream.runtime.dream.request import parse_request
from onnxdream.runtime.settings.options import OPTIONS

BATCH = {"facts": 400, "bundles": 60, "pictures": 150, "records": 400, "checkpoints": 60, "configs": 200, "dreams": 25}
BATCH_SECONDS = 120  # a batch that takes longer hangs
SMALL = ("--model", "tiny.onnx", "--provider", "cpu", "--threads", "1", "--max-size", "40")

# Values for any option: right, wrong, absurd. Paths are of files that may be there or not.
VALUES = (
    *("0", "1", "2", "7", "-1", "0.5", "-0.1", "1e9", "1e-30", "nan", "inf", "9" * 400, "1:0", "0.02:0.01", "true"),
    *("", " ", "\t", "é", "\udcff", "$HOME", "~", "--steps", "-", "/", ".", "..", "a,b", "none", "auto", "x" * 300),
    *("low", "low,mid", "mid=1", "low=1,mid=-2", "low:0,-1", "high:1", "strongest:2", "weakest:0", "own", "own:2"),
    *("std", "l2", "adam", "momentum", "paper", "caffe", "pearls", "keras", "30x40", "0x0", "1GB", "1B", "200MB"),
    *("cpu", "cuda", "fp32", "bf16", "minmax", "mask.png", "bears.png", "none.png", "out", "out/a.png", "out.jpg"),
    *("bears-dream.json", "broken.json", "run.toml", "film.mp4", "bears.png/x"),
)
# Values that fit an option, by its name.
RIGHT = {
    "jitter": "3",
    "octaves": "2",
    "octave_scale": "1.3",
    "octaves_above": "1",
    "blur": "1:0",
    "laplacian": "2",
    "tv": "0.1",
    "l2": "0.1",
    "momentum": "0.5",
    "optimizer": "adam",
    "gradient_norm": "l2",
    "step_size": "0.02:0.01",
    "colours": "own:0.5",
    "blend": "0.5",
    "mask": "mask.png",
    "feather": "2",
    "guide": "mask.png",
    "guide_by": "caricature:3",
    "direction": "bears.png,mask.png",
    "seed": "9",
    "layers": "low,mid",
    "channels": "low:0,-1",
    "classes": "0",
    "pick": "strongest:2",
    "plateau": "1",
    "max_loss": "0.5",
    "until": "low:1=0.5",
    "stay": "0.2",
    "output": "out/a.png",
    "memory": "1GB",
    "normalization": "backbone",
    "detail": "after",
    "noise": "40x30",
    "config": "run.toml",
    "tile_overlap": "8",
    "preset": "paper",
    "max_size": "0",
    "precision": "fp32",
}


def in_folder(folder: Path) -> None:
    """Fills a folder with what command lines and records name."""
    save(folder / "bears.png", noise(36, 44))
    save(folder / "mask.png", noise(36, 44, seed=1))
    (folder / "tiny.onnx").write_bytes(TINY_BYTES)
    (folder / "broken.json").write_text('{"settings": [}')
    (folder / "run.toml").write_text('steps = 2\noctaves = 2\nmodel = "tiny.onnx"\n')


def run_command(*words: str) -> tuple[int, str]:
    """Runs a command line in this process; returns its exit code and what it wrote."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            cli.app(list(words), prog_name="onnxdream")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        else:
            code = -1
    out.flush()
    return code, out.buffer.getvalue().decode(errors="replace")  # type: ignore[attr-defined]


def odd_record(record: dict[str, Any], dice: random.Random) -> str:
    """A record of which one or two values are replaced, lost or renamed, or whose text is damaged."""
    record = json.loads(json.dumps(record))
    for _ in range(dice.randint(1, 2)):
        *above, last = dice.choice([path for path in fuzz.paths_in(record) if path])
        holder: Any = record
        for key in above:
            holder = holder[key]
        if dice.random() < 0.3:
            del holder[last]
        else:
            holder[last] = copy.deepcopy(dice.choice(fuzz._ODD_VALUES))
    text = json.dumps(record)
    if dice.random() < 0.2:
        at = dice.randrange(len(text))
        text = text[:at] + dice.choice(["", "[" * 5000, "\0", "}", "9" * 5000, "\ufeff"]) + text[at + 1 :]
    return text


def read_changed_record(text: str) -> None:
    record = read_record(text, "record.json")
    record.settings_to_repeat()
    record.to_json(with_paths=False)


def read_changed_checkpoint(data: bytes) -> None:
    path = Path("changed.checkpoint")
    path.write_bytes(data)
    read_checkpoint(path)


def odd_config(dice: random.Random) -> str:
    """A config file of a few keys with values of any kind."""
    lines = []
    for option in dice.sample(OPTIONS, dice.randint(1, 4)):
        odd = [dice.choice(VALUES), dice.choice(VALUES), dice.randint(-3, 10**6), dice.random(), True, []]
        value = RIGHT.get(option.name) if dice.random() < 0.6 else dice.choice(odd)
        if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
            value = json.loads(value)
        text = json.dumps(value).encode("utf-8", "replace").decode()
        lines.append(f"{dice.choice([option.name, option.name.replace('_', '-')])} = {text}")
    text = "\n".join(lines)
    return fuzz.damaged(text.encode(), dice, 200).decode(errors="replace") if dice.random() < 0.3 else text


def read_config(text: str) -> None:
    Path("odd.toml").write_text(text, encoding="utf-8", errors="replace")
    parse_request({"config": "odd.toml", "model": "tiny.onnx"}, with_images=True)


def odd_words(dice: random.Random) -> list[str]:
    """The options of a `dream` of few steps."""
    words = ["dream", *SMALL, "--steps", str(dice.randint(1, 3)), "--snapshots", dice.choice(["", "1", "2,1"])]
    words += dice.choice([["bears.png"], ["bears.png"], ["bears.png"], ["none.png"], [], ["."]])
    for option in dice.sample(OPTIONS, dice.randint(0, 3)):
        if option.name not in ("steps", "model", "provider", "threads"):
            flag = f"--{option.name.replace('_', '-')}"
            right = RIGHT.get(option.name) if dice.random() < 0.8 else None
            words += [flag] if option.type is bool else [flag, right or dice.choice(VALUES)]
    return words


def dream(words: list[str], folder: Path) -> str:
    """Runs a command line in a copy of a folder; returns what is wrong with how it ended."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(shutil.copytree(folder, Path(name) / "here"))
        os.chdir(copy)
        before = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
        try:
            code, text = run_command(*words)
            after = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
        finally:
            os.chdir(folder)
    errors = [line for line in text.splitlines() if line.startswith("error:")]
    hidden = [str(path) for path in after if path.name.startswith(".")]
    if code not in (0, 1, 2) or "Traceback" in text or hidden:
        return f"code {code}, hidden files {hidden}, {text[-300:]!r}"
    if code == 2 and (after != before or len(errors) != 1):
        return f"refused, but files {sorted(map(str, set(after) ^ set(before)))} or lines {errors}"
    if any(after.get(path) != data for path, data in before.items()):
        return f"it changed {[str(path) for path, data in before.items() if after.get(path) != data]}"
    return "" if code == 0 else "refused"


def cases(kind: str, seed: int, folder: Path) -> Iterator[tuple[str, Callable[[], str | None]]]:
    """The cases of a batch by name; each returns or raises how it ended."""
    dice = random.Random(f"{kind} {seed}")
    if kind in ("facts", "bundles", "pictures"):
        yield from fuzz.cases(kind, BATCH[kind], dice)
        return
    if kind in ("records", "checkpoints"):
        code, text = run_command(
            *("dream", "bears.png", *SMALL, "--steps", "3", "--octaves", "2", "--mask", "mask.png", "--output", "made")
        )
        assert code == 0, text
        record = json.loads((folder / "made" / "bears-dream.json").read_text())
    for number in range(BATCH[kind]):
        if kind == "records":
            text = odd_record(record, dice)
            yield f"record {number}", lambda text=text: read_changed_record(text)  # type: ignore[misc]
        elif kind == "checkpoints":
            data = fuzz.damaged(checkpoint_bytes(), dice, 2000)
            yield f"checkpoint {number}", lambda data=data: read_changed_checkpoint(data)  # type: ignore[misc]
        elif kind == "configs":
            config = odd_config(dice)
            yield f"config {number}", lambda config=config: read_config(config)  # type: ignore[misc]
        else:
            words = odd_words(dice)
            yield f"dream {number} {words!r}", lambda words=words: dream(words, folder)  # type: ignore[misc]


def checkpoint_bytes() -> bytes:
    """A checkpoint of a dream that was stopped after its first step."""
    path = Path("kept.checkpoint")
    if not path.exists():
        from onnxdream.runtime.dream import writer
        from onnxdream.runtime.dream.job import dream_and_save
        from onnxdream.runtime.image.source import Source

        request = parse_request(
            {"model": "tiny.onnx", "steps": 50, "provider": "cpu", "threads": 1, "output": Path("kept.png")}, True
        )
        writer._CHECKPOINT_SECONDS, writer._CHECKPOINT_SHARE = 0.0, 0
        callbacks = writer.Callbacks(lambda line: None, lambda step: step.number == 3)
        dream_and_save(request.job, Source(Path("bears.png")), callbacks)
        read_checkpoint(path)
    return path.read_bytes()


def run_batch(kind: str, seed: int) -> None:
    """Runs a batch and prints for each case how it ended; to be called in a process of its own."""
    fuzz.resource.setrlimit(fuzz.resource.RLIMIT_AS, (fuzz._MAX_MEMORY, fuzz._MAX_MEMORY))
    with tempfile.TemporaryDirectory() as name:
        os.environ["ONNXDREAM_HOME"] = str(Path(name) / "home")
        folder = Path(name) / "here"
        folder.mkdir()
        os.chdir(folder)
        in_folder(folder)
        for case, act in cases(kind, seed, folder):
            print(f"case {case}:".replace("\n", " "), end=" ", flush=True)
            try:
                ended = act() or "works"
            except OnnxdreamError as error:
                clean = str(error) and "\n" not in str(error) and not re.search(r"[\x00-\x1f]", str(error))
                ended = "refused" if clean else f"unclean {str(error)!r}"
            except Exception as error:
                ended = f"unclean {type(error).__name__}: {error!s:.300}"
            print((ended if ended in ("works", "refused") else f"unclean {ended}").replace("\n", " "), flush=True)
        os.chdir(name)


def campaign(seconds: float, first_seed: int) -> int:
    """Runs batches of all kinds in turn; returns the number of inputs that ended in none of the two right ways."""
    totals: dict[str, Counter[str]] = {kind: Counter() for kind in BATCH}
    end = time.monotonic() + seconds
    for seed, kind in ((seed, kind) for seed in itertools.count(first_seed) for kind in BATCH):
        if time.monotonic() > end:
            break
        command = [sys.executable, __file__, "--kind", kind, "--seed", str(seed)]
        try:
            child = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=BATCH_SECONDS, check=False
            )
            lines, crashed = child.stdout.splitlines(), child.returncode != 0
        except subprocess.TimeoutExpired as hung:
            lines, crashed = (hung.stdout or b"").decode(errors="replace").splitlines(), True
        for line in lines:
            ended = "works" if line.endswith(": works") else "refused" if line.endswith(": refused") else "unclean"
            totals[kind][ended] += 1
            if ended == "unclean":
                print(f"{kind} {seed}: {line}")
        if crashed:
            totals[kind]["crashed or hung"] += 1
            print(f"{kind} {seed}: the batch crashed or hung after {lines[-1:]}: {child.stderr[-500:]}")
    for kind, total in totals.items():
        print(f"{kind:<12}" + ", ".join(f"{count} {ended}" for ended, count in sorted(total.items())))
    print(f"{sum(sum(total.values()) for total in totals.values())} inputs")
    return sum(total["unclean"] + total["crashed or hung"] for total in totals.values())


# Dreams that are killed: every optimizer, octaves, tiles, a mask, schedules and a film.
KILLED = {
    "plain": ("bears.png", "--steps", "200"),
    "octaves and adam": ("bears.png", "--octaves", "3", "--jitter", "9", "--optimizer", "adam", "--steps", "60"),
    "tiles and momentum": (
        "wide.png",
        "--max-size",
        "0",
        "--memory",
        "175MB",
        "--optimizer",
        "momentum",
        "--steps",
        "15",
    ),
    "mask and schedules": (
        "bears.png",
        "--mask",
        "mask.png",
        "--step-size",
        "0.02:0.005",
        "--blur",
        "1.5:0",
        "--steps",
        "150",
    ),
    "film": ("bears.png", "--every", "5", "--steps", "100", "--colours", "own:0.8"),
}
_EAGER = """
import sys
from onnxdream.runtime.dream import writer
writer._CHECKPOINT_SECONDS, writer._CHECKPOINT_SHARE = 0.0, 0
from onnxdream.cli import app
app(sys.argv[1:], prog_name="onnxdream")
"""


def kill_dreams(count: int, seed: int) -> int:
    """Kills dreams at random moments, resumes them, and returns how many did not end with the same bytes."""
    dice, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_folder(folder)
        save(folder / "wide.png", noise(260, 330))
        expected, seconds = {}, {}
        for run in KILLED:
            started = time.monotonic()
            assert eager_dream(folder, [*KILLED[run], "--output", f"{run}/whole.png"]) == 0
            seconds[run], expected[run] = time.monotonic() - started, results_in(folder / run, "whole")
        for number in range(count):
            run = dice.choice(list(KILLED))
            place = folder / f"{number}"
            first = [*KILLED[run], "--output", f"{number}/killed.png"]
            first += ["--film", f"{number}/film.mp4"] if run == "film" else []
            words, kills = first, 0
            while eager_dream(folder, words, dice.uniform(0.2, seconds[run]) if kills < dice.randint(1, 3) else None):
                kills += 1
                checkpoint = place / "killed.checkpoint"
                resumable = checkpoint.exists() and checkpoint.stat().st_size
                words = ["--resume", str(checkpoint)] if resumable else [*first, "--overwrite"]
            same = results_in(place, "killed") == expected[run]
            left = [path.name for path in place.iterdir() if path.name.startswith(".") or path.suffix == ".checkpoint"]
            wrong += not same or bool(left)
            print(
                f"{number} {run}: killed {kills} times, {'the same' if same else 'OTHER'} bytes, left {left}",
                flush=True,
            )
    return wrong


def eager_dream(folder: Path, words: list[str], kill_after: float | None = None) -> int:
    """Runs a dream that writes a checkpoint after every step; returns its exit code, negative if it was killed."""
    small = () if words[0] == "--resume" else SMALL if "--max-size" not in words else SMALL[:-2]
    command = [sys.executable, "-c", _EAGER, "dream", *small, *words]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode


def results_in(folder: Path, stem: str) -> tuple[bytes, bytes]:
    """The bytes of a dream's pixels and losses; its record has other times and names."""
    pixels = cv2.imread(str(folder / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
    return pixels.tobytes(), (folder / f"{stem}-losses.csv").read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=BATCH)
    parser.add_argument("--kills", type=int)
    arguments = parser.parse_args()
    if arguments.kills:
        return 1 if kill_dreams(arguments.kills, arguments.seed) else 0
    if arguments.kind:
        run_batch(arguments.kind, arguments.seed)
        return 0
    return 1 if campaign(arguments.seconds, arguments.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
