"""The commands of onnxdream: they parse, call a stage and print. Stages are imported inside the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from onnxdream.models.errors import OnnxdreamError

if TYPE_CHECKING:
    from onnxdream.export.bundle import Request
    from onnxdream.models.contract import Metadata
    from onnxdream.runtime.bundle import Bundle

_EXAMPLES = Path(__file__).parent / "examples"
# Typer raises click's usage errors, or those of its own copy of click, depending on its version.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class _OneLineErrors(TyperGroup):
    """Says what is wrong with a command line in one line, not in a box."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            sys.exit(super().main(*args, **{**extra, "standalone_mode": False}) or 0)
        except _UsageError as error:
            _say_error(f"{error.format_message()} (see --help)")  # type: ignore[attr-defined]
            sys.exit(2)
        except (typer.Abort, KeyboardInterrupt):
            sys.exit(130)


app = typer.Typer(
    cls=_OneLineErrors,
    help="DeepDream whose gradient is plain ONNX: export once from Keras, dream anywhere onnxruntime runs.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


_HOW, _WHAT, _WHERE = "How to dream", "What to write", "Where to compute"


@app.command()
def dream(
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE...", readable=False, help="Pictures, or folders of them.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A bundle's path, name, or the beginning of its name.")] = None,
    preset: Annotated[str, typer.Option(help="paper or tutorial.", rich_help_panel=_HOW)] = "paper",
    steps: Annotated[int | None, typer.Option(help="Number of updates.", rich_help_panel=_HOW)] = None,
    step_size: Annotated[
        float | None, typer.Option(help="In units of the backbone's range.", rich_help_panel=_HOW)
    ] = None,
    max_size: Annotated[int | None, typer.Option(help="Longer side in pixels, at most.", rich_help_panel=_HOW)] = None,
    layer_weights: Annotated[
        str | None, typer.Option(help="As in mixed0=1,mixed2=-0.5; the others get 0.", rich_help_panel=_HOW)
    ] = None,
    normalization: Annotated[str | None, typer.Option(help="minmax or backbone.", rich_help_panel=_HOW)] = None,
    gradient_norm: Annotated[str | None, typer.Option(help="std, l2, mean-abs or none.", rich_help_panel=_HOW)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all that is random.", rich_help_panel=_HOW)] = None,
    repeat: Annotated[
        Path | None, typer.Option(help="Run a dream's .json or .png again.", readable=False, rich_help_panel=_HOW)
    ] = None,
    output: Annotated[Path | None, typer.Option(help="A folder, or a picture's path.", rich_help_panel=_WHAT)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results.", rich_help_panel=_WHAT)] = False,
    snapshots: Annotated[str | None, typer.Option(help="Steps to keep, as in 100,500.", rich_help_panel=_WHAT)] = None,
    full_size: Annotated[
        bool | None, typer.Option("--full-size", help="Apply the change to the original.", rich_help_panel=_WHAT)
    ] = None,
    film: Annotated[Path | None, typer.Option(help="Write an .mp4 of the steps.", rich_help_panel=_WHAT)] = None,
    every: Annotated[int, typer.Option(min=1, help="Steps between frames of the film.", rich_help_panel=_WHAT)] = 10,
    provider: Annotated[
        str, typer.Option(help="auto, cpu, cuda, tensorrt or openvino.", rich_help_panel=_WHERE)
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", rich_help_panel=_WHERE)] = None,
) -> None:
    """Dream pictures: climb the gradient of a bundle's layers."""
    with _one_line_failures():
        from onnxdream.runtime.batch import dream_all, gather_pictures
        from onnxdream.runtime.choice import bundle_of, choose_bundle, describe
        from onnxdream.runtime.errors import SettingsError
        from onnxdream.runtime.job import Job
        from onnxdream.runtime.providers import choose
        from onnxdream.runtime.repeat import load_record, picture_of
        from onnxdream.runtime.settings import Execution, parse_layer_weights, parse_snapshots
        from onnxdream.runtime.settings import preset as settings_of

        changes = {
            "steps": steps,
            "step_size": step_size,
            "max_size": max_size,
            "layer_weights": None if layer_weights is None else parse_layer_weights(layer_weights),
            "normalization": normalization,
            "gradient_norm": gradient_norm,
            "seed": seed,
            "snapshots": None if snapshots is None else parse_snapshots(snapshots),
            "full_size": full_size,
        }
        changes = {name: value for name, value in changes.items() if value is not None}
        paths = list(images or [])
        if repeat is None:
            bundle = choose_bundle(model)
            settings = settings_of(preset, execution=Execution(provider, threads), **changes)  # type: ignore[arg-type]
        elif changes or model or threads is not None or preset != "paper" or provider != "auto":
            raise SettingsError(
                "--repeat takes every setting from the record: give only pictures, --output, --overwrite and --film"
            )
        else:
            record = load_record(repeat)
            bundle, settings = bundle_of(record), record.settings_to_repeat()
            paths = paths or [picture_of(record, repeat)]
        if not paths:
            raise SettingsError("no picture given: name one, as in onnxdream dream bears.jpg")
        settings.vector(bundle.metadata.layer_names)
        notice = choose(settings.execution.provider).notice
        for line in describe(bundle) + ([notice] if notice else []):
            _say(line)
        pictures, missing = gather_pictures(paths, _say_error, _EXAMPLES)
        job = Job(bundle, settings, output, overwrite, film, every)
        failed, interrupted = dream_all(job, pictures, _say, _say_error)
        if interrupted:
            raise typer.Exit(130)
        raise typer.Exit(1 if failed + missing else 0)


@app.command()
def export(
    model: Annotated[str, typer.Option(help="v3 or inception-resnet-v2.")] = "v3",
    layers: Annotated[str | None, typer.Option(help="A comma list of layers, or a layer set's name.")] = None,
    weights: Annotated[str, typer.Option(help="imagenet, random, motifs, or a weight file.")] = "imagenet",
    objective: Annotated[str, typer.Option(help="mean or l2.")] = "mean",
    seed: Annotated[int, typer.Option(min=0, help="Seed of random weights.")] = 0,
    output: Annotated[Path | None, typer.Option(help="The bundle's path. [default: in the data folder]")] = None,
) -> None:
    """Export a backbone's layers and their gradient as one ONNX bundle. Needs the extra `export`."""
    with _one_line_failures():
        request = _request(model, layers, weights, objective, seed)
        from rich.console import Console

        from onnxdream.export.bundle import export_bundle

        with Console(stderr=True).status("") as status:

            def on_stage(stage: str) -> None:
                _say(stage)
                status.update(stage)

            path, metadata = export_bundle(request, output, on_stage, lambda check: status.update(check.picture))
        _print_verification(metadata)
        typer.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


@app.command()
def layers(model: Annotated[str, typer.Option(help="v3 or inception-resnet-v2.")] = "v3") -> None:
    """List the layers that can be exported. Needs the extra `export`."""
    with _one_line_failures():
        from onnxdream.models.backbones import find_backbone

        backbone = find_backbone(model)
        _require_export_extra()
        from onnxdream.export.bundle import offers

        rows = [
            (offer.layer.name, str(offer.layer.channels), str(offer.layer.stride), f"{offer.parameters:,}")
            for offer in offers(backbone)
        ]
        _print_table(("layer", "channels", "stride", "parameters up to there"), rows)
        for name, members in backbone.layer_sets.items():
            typer.echo(f"layer set {name}: {','.join(members)}")


@app.command()
def info(
    bundle: Annotated[str | None, typer.Argument(help="A bundle's path or name; without it, all are listed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a bundle holds, or list all bundles."""
    with _one_line_failures():
        from onnxdream.runtime.choice import choose_bundle, shelf

        if bundle is None:
            rows = shelf()
            if as_json:
                typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
            else:
                _print_table(("bundle", "layers", "weights", "size"), [row.cells() for row in rows])
            return
        loaded = choose_bundle(bundle)
        if as_json:
            facts = {"path": str(loaded.path), "sha256": loaded.sha256, **asdict(loaded.metadata)}
            typer.echo(json.dumps(facts, indent=2))
            return
        for key, value in _facts(loaded).items():
            typer.echo(f"{key:<15}{value}")
        _print_verification(loaded.metadata)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Tell what this machine can run: versions, providers that really work, clashing installations."""
    with _one_line_failures():
        from onnxdream.runtime.doctor import diagnose

        found = diagnose()
        if as_json:
            typer.echo(json.dumps(asdict(found), indent=2))
        else:
            for line in found.lines():
                typer.echo(line)
        raise typer.Exit(1 if found.problems else 0)


def _request(model: str, layers: str | None, weights: str, objective: str, seed: int) -> Request:
    from onnxdream.models.backbones import find_backbone

    backbone = find_backbone(model)
    _require_export_extra()
    from onnxdream.export.bundle import Request

    names = backbone.layer_sets.get(layers or backbone.default_set)
    chosen = names or tuple(name.strip() for name in str(layers).split(",") if name.strip())
    return Request(backbone, chosen, weights, seed, objective)


def _require_export_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        _say_error(f"exporting needs {', '.join(missing)}: pip install 'onnxdream[export,cpu]'")
        raise typer.Exit(1)


@contextmanager
def _one_line_failures() -> Iterator[None]:
    """Turns what a stage refuses into one line and exit code 1."""
    try:
        yield
    except (OnnxdreamError, ImportError) as error:
        _say_error(str(error))
        raise typer.Exit(1) from None


def _print_verification(metadata: Metadata) -> None:
    rows = [
        (check.picture, check.climbed, f"{check.loss_error:.1e}", f"{check.cosine:.7f}", f"{check.norm_ratio:.6f}")
        for check in metadata.verification
    ]
    _print_table(("against TensorFlow", "climbed", "loss error", "cosine", "norm ratio"), rows)


def _print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # Where nobody sees a terminal's width, a row is a line all the same.
    Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(table)


def _facts(bundle: Bundle) -> dict[str, str]:
    """What `info` tells of a bundle, in words."""
    facts = bundle.metadata
    low, high = facts.input_range
    height, width = facts.smallest_size
    return {
        "path": str(bundle.path),
        "SHA-256": bundle.sha256,
        "backbone": facts.backbone,
        "layers": ", ".join(f"{n.name} ({n.channels} channels, stride {n.stride})" for n in facts.layers),
        "objective": facts.objective,
        "input": f"{facts.channel_order} from {low:g} to {high:g}, {width}x{height} pixels at least",
        "weights": f"{facts.weights.source}, SHA-256 {facts.weights.sha256}",
        "licence": facts.weights.licence,
        "precision": f"{facts.precision}, opset {facts.opset}",
        "exporter": ", ".join(f"{package} {version}" for package, version in facts.exporter.items()),
    }


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _say_error(line: str) -> None:
    typer.echo(f"error: {line}", err=True)


if __name__ == "__main__":
    app()
