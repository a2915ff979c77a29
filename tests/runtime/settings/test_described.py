"""Options, help texts and documentation follow from the one description of each setting."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from onnxdream.cli import app
from onnxdream.runtime.settings import settings as module
from onnxdream.runtime.settings.kinds import Choice
from onnxdream.runtime.settings.options import OPTIONS
from onnxdream.runtime.settings.settings import Execution, Settings, descriptions

DOCS = Path(__file__).parents[3] / "docs"


COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def parameters(name: str) -> list[Any]:
    command = COMMANDS[name]
    return list(command.get_params(command.make_context(name, [], resilient_parsing=True)))


def dream_parameters() -> dict[str, Any]:
    return {one.name: one for one in parameters("dream")}


def test_the_command_line_has_every_option_with_its_help() -> None:
    found = dream_parameters()
    of_typer = {name for name in found if name.endswith("help")}
    assert set(found) - of_typer == {one.name for one in OPTIONS} | {"images"}
    for one in OPTIONS:
        assert found[one.name].help == one.help
        assert found[one.name].rich_help_panel == one.panel


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_names_options_of_its_own_command_and_one_default_each(name: str) -> None:
    found = parameters(name)
    options = {option for one in found for option in (*one.opts, *one.secondary_opts)}
    for text in (one.help or "" for one in found if one.param_type_name == "option"):
        assert set(re.findall(r"--[a-z][a-z-]*", text)) <= options
        assert "Default: ." not in text
    for one in found:
        assert not (one.default is not None and one.show_default and "[default: " in (one.help or ""))


def test_the_help_of_a_choice_names_every_word() -> None:
    choices = {
        name: one
        for settings in (Settings, Execution)
        for name, one in descriptions(settings).items()
        if isinstance(one.kind, Choice)
    }
    assert {"gradient_norm", "optimizer", "detail", "normalization", "provider", "precision"} <= set(choices)
    for one in choices.values():
        for word in get_args(one.kind.words):  # type: ignore[attr-defined]
            assert re.search(rf"\b{re.escape(word)}\b", one.sentence)


def test_every_help_text_ends_with_one_full_stop() -> None:
    for one in OPTIONS:
        assert one.help.endswith(".")
        assert not one.help.endswith("..")


def test_the_help_shows_every_default() -> None:
    helps = {one.name: one.help for one in OPTIONS}
    for settings in (Settings, Execution):
        for name, one in descriptions(settings).items():
            value = getattr(settings(), name)
            assert one.default == value
            assert value in (None, ()) or one.shown_default not in ("", "None", "()")
            assert not one.has_option or helps[name].endswith(f" Default: {one.shown_default}.")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("steps", "1000"),
        ("step_size", "0.0005"),
        ("blur", "0"),
        ("clip", "true"),
        ("snapshots", "100,500,1000"),
        ("max_size", "512"),
        ("colours", "free"),
        ("max_loss", "no limit"),
    ],
)
def test_defaults_are_shown_as_they_would_be_written(name: str, shown: str) -> None:
    assert descriptions(Settings)[name].shown_default == shown


@pytest.mark.parametrize("words", [["experiment", "paper", "--help"]])
def test_the_experiment_s_help_lists_the_same_choices(words: list[str]) -> None:
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", CliRunner().invoke(app, words).output).split())
    for choices in (module.GradientNorm, module.Normalization, module.ProviderName):
        for word in get_args(choices):
            assert word in shown


@pytest.mark.skipif(not DOCS.is_dir(), reason="reads the documentation of a checkout")
def test_the_page_of_settings_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("make_settings", DOCS / "make_settings.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == made.page()
