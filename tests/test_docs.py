"""The documentation cannot lie: its commands fit the real command line, and those that are quick are run.

The commands of a page run in order and in one folder, as a reader would run them. The folder holds small copies of the
example pictures, so that a dream of 1000 steps takes seconds.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import typer
from pictures_fixture import Command, in_this_process

from onnxdream import cli
from onnxdream.commands.group import UsageError
from onnxdream.runtime.dream.request import parse_request
from onnxdream.runtime.errors import DreamError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/*.md", "benchmarks/README.md", "models/builtin/README.md")
    for page in sorted(ROOT.glob(pattern))
]
RUN = {"dream", "presets", "info", "doctor", "deploy"}
# Its commands made the pictures on it (docs/make_gallery.py); running all of them again takes minutes.
GALLERY = "gallery.md"
# Programs that a page may use and that are not part of onnxdream.
OTHERS = {".", "cp", "docker", "python3", "ruff", "scp", "ssh"}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python cli\.py|onnxdream|dream|export|experiment) [^`<…|]*)`")
SIDE = 100  # pixels of the longer side of an example picture

each_page = pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
of_a_checkout = pytest.mark.skipif(len(PAGES) < 5, reason="needs the documentation of a checkout")


@pytest.fixture(scope="module")
def small_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example pictures, shrunk."""
    folder = tmp_path_factory.mktemp("pictures") / "examples"
    folder.mkdir()
    for file in (ROOT / "examples").glob("*.jpg"):
        picture = cv2.imread(str(file))
        scale = SIDE / max(picture.shape[:2])
        cv2.imwrite(
            str(folder / file.name), cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        )
    return folder


@pytest.fixture
def run(
    tmp_path: Path, small_examples: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """A command line in a folder that holds the example pictures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(small_examples)
    return in_this_process(capfd)


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and text of each code block of a page."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(text: str) -> Iterator[list[str]]:
    """The commands in lines of a shell, without the environment that is set for them."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            while re.fullmatch(r"[A-Z_]+=.*", command[0]):
                del command[0]
            yield command


def own_command(words: list[str]) -> list[str] | None:
    """The words behind `python cli.py` or `onnxdream`; None for another program."""
    if words[0].endswith("python") and words[1:2] == ["cli.py"]:
        return words[2:]
    return words[1:] if words[0] == "onnxdream" else None


def parsed(words: list[str]) -> dict[str, Any]:
    """The options of a command line of onnxdream, which is not run. Raises the usage error of the real command line."""
    app: Any = typer.main.get_command(cli.app)
    if words[0] == "experiment":
        pytest.importorskip("matplotlib")
        from onnxdream.study.commands import app as experiments

        app, words = typer.main.get_command(experiments), words[1:]
    with app.make_context("onnxdream", list(words)) as context:
        name, command, rest = app.resolve_command(context, list(words))
        options: dict[str, Any] = command.make_context(name, rest, parent=context).params
        return options


def require_known(options: dict[str, Any]) -> None:
    """Looks up what the options of a `dream` name: its settings, preset, layers and bundle. Raises DreamError."""
    given = {name: value for name, value in options.items() if value not in (None, [], ())}
    images = given.pop("images", [])
    if not {"config", "repeat", "resume"} & set(given):
        parse_request(given, with_images=bool(images))


def require_there(words: list[str], extras: set[str]) -> None:
    """What a command of another program names: a script, a module, an extra, a file of the checkout."""
    program = words[0].rpartition("/")[2]
    if program == "pip" or words[1:3] == ["-m", "pip"]:
        named = re.findall(r"\[([\w,]+)\]", " ".join(words))
        assert {extra for group in named for extra in group.split(",")} <= extras, words
    elif program == "python" and words[1] == "-m":
        assert importlib.util.find_spec(words[2]), words
    elif program == "python":
        assert (ROOT / words[1]).is_file(), words
    else:
        assert program in OTHERS, f"{program} is not known: {words}"
    for option, file in itertools.pairwise(words):
        assert option != "--file" or (ROOT / file).is_file(), words


@of_a_checkout
@each_page
def test_the_commands_of_a_page_run_in_order(page: Path, run: Command, tmp_path: Path) -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for language, text in blocks(page):
        if language == "toml" and (name := re.match(r"# ([\w.]+)\n", text)):
            (tmp_path / name[1]).write_text(text)
        if language == "python":
            (tmp_path / "example.py").write_text(text)
            runpy.run_path("example.py")
        for words in commands(text) if language == "bash" else ():
            own = own_command(words)
            if own is None:
                require_there(words, extras)
            else:
                options = parsed(own)
                if own[0] == "dream" and "--provider" not in own:  # which may not be here
                    require_known(options)
                if own[0] in RUN and page.name != GALLERY and "--provider" not in own:
                    run(*own).succeeds()


@of_a_checkout
@each_page
def test_commands_within_sentences_fit(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for text in INLINE.findall(prose):
        (words,) = commands(" ".join(text.split()))
        try:
            parsed(own_command(words) or words)
        except UsageError as error:
            # A sentence may leave out the picture, or the value of an option.
            if type(error).__name__ not in ("MissingParameter", "BadOptionUsage"):
                raise


def test_a_command_that_does_not_fit_is_found() -> None:
    for wrong in ("dream x.jpg --step 3", "export --modle v3", "dreams x.jpg"):
        with pytest.raises(UsageError):
            parsed(wrong.split())
    with pytest.raises(DreamError):
        require_known(parsed(["dream", "x.jpg", "--preset", "feather"]))
    with pytest.raises(AssertionError):
        require_there(["pip", "install", "-e", ".[gpus]"], {"gpu"})
