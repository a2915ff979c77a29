"""The commands of onnxdream: each parses its options, calls a stage and prints the result.

Stages are imported inside the commands, so that each command loads only what it needs.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxdream import __version__
from onnxdream.commands.bundles import bundle_facts, print_excited, print_verification, stride_in_words, write_bundle
from onnxdream.commands.dreams import DreamCommand, FeaturesCommand, FilmCommand
from onnxdream.commands.group import CommandGroup
from onnxdream.commands.messages import log_error, log_line, one_line_failures, print_table
from onnxdream.models.files import expand_user

if TYPE_CHECKING:
    from onnxdream.export.bundle import ExportRequest
    from onnxdream.models.backbones import Backbone

_MODEL_HELP = "A network (an unknown name lists all), or the .keras or .h5 file of a model of your own."
_BUNDLE_HELP = "Path or name of a bundle, or the beginning of its name."

app = typer.Typer(
    cls=CommandGroup,
    help="DeepDream on ONNX Runtime: export a Keras network once, then dream anywhere onnxruntime runs.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(is_asked_for: bool) -> None:
    if is_asked_for:
        print(f"onnxdream {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


@app.command(cls=DreamCommand)
def dream() -> None:
    """Dream pictures by gradient ascent on the layers of a bundle.

    Example: onnxdream dream photo.jpg --preset creatures

    Defaults are those of the preset `paper`. Every setting is also a key of a config file (--config).
    """


@app.command(cls=FilmCommand)
def film() -> None:
    """Dream a film, with its sound. Needs the extra `video`.

    Example: onnxdream film walk.mp4 walk-dream.mp4 --preset creatures

    Without a preset, this is the look `creatures`. The first frame of each shot gets the whole dream, which then moves
    along with the picture.
    """


@app.command(cls=FilmCommand)
def zoom() -> None:
    """Make a film of an endless zoom into a picture. Needs the extra `video`.

    Example: onnxdream zoom photo.jpg zoom.mp4 --seconds 10
    """


@app.command(cls=FilmCommand)
def travel() -> None:
    """Make a film of a slow walk between channels, layers and looks. Needs the extra `video`.

    Example: onnxdream travel photo.jpg travel.mp4 --through creatures,fur,neon --seconds 20
    """


@app.command(cls=FeaturesCommand)
def features() -> None:
    """Draw what channels, layers and classes respond to, from noise, and an atlas of them.

    Also a guide's likeness, a direction, a single neuron, or a walk from one channel to another.
    Example: onnxdream features mixed4:40,41 --model v3-mid
    """


@app.command()
def studio(
    port: Annotated[int, typer.Option(help="The port of the page.")] = 7860,
    host: Annotated[
        str,
        typer.Option(help="The address that the page is served at; any but this machine's own needs the token shown."),
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the dreams. \\[default: studio in your data folder]")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, tensorrt or openvino. \\[default: auto]")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Number of CPU threads. \\[default: one for each core]")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory that dreams may take, as in 1GB.")] = None,
) -> None:
    """Open the studio: a page on this machine on which dreams grow before your eyes. Needs the extra `studio`.

    Example: onnxdream studio
    """
    with one_line_failures():
        from onnxdream.studio.command import StudioRequest, run_studio

        given = {"provider": provider, "threads": threads, "memory": memory}
        machine = {name: value for name, value in given.items() if value is not None}
        run_studio(StudioRequest(host, port, folder and expand_user(folder), browser, machine), log_line)


@app.command()
def presets(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the presets of `dream`: looks, the paper's ascent and the classic programs."""
    with one_line_failures():
        from onnxdream.runtime.settings.presets import PRESETS

        rows = [(preset.name, preset.sentence, preset.made_for) for preset in PRESETS.values()]
        if as_json:
            names = ("name", "sentence", "made_for")
            print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))
        else:
            print_table(("preset", "", "made for"), rows)


@app.command()
def export(
    model: Annotated[str, typer.Option(help=_MODEL_HELP)] = "v3",
    layers: Annotated[
        str | None,
        typer.Option(help="Layers, separated by commas, or a layer set. \\[default: paper-low, low or middle]"),
    ] = None,
    weights: Annotated[str, typer.Option(help="auto, imagenet, builtin, random or a weight file.")] = "auto",
    objective: Annotated[str, typer.Option(help="mean or l2.")] = "mean",
    border: Annotated[
        int, typer.Option(min=0, help="Positions at the edge of each layer that its loss leaves out.")
    ] = 0,
    precision: Annotated[str, typer.Option(help="fp32, or for GPUs fp16 or mixed.")] = "fp32",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of random weights.")] = 0,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            help="What a model of your own takes: tf (-1 to 1), unit (0 to 1), raw (0 to 255), caffe, torch or lite. "
            "\\[default: raw if the model scales it]"
        ),
    ] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="Text file with the names of the classes of the layer logits, one in each line.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder or .onnx file to write to. \\[default: the data folder]")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file of --output. The data folder's are always replaced.")
    ] = False,
) -> None:
    """Export a network's layer losses and their gradient as one ONNX file, a bundle. Needs the extra `export`."""
    with one_line_failures():
        backbone = _exportable(model, preprocessing)
        request = _export_request(backbone, layers, weights, objective, border, seed, precision, class_names)
        from rich.console import Console

        from onnxdream.export.bundle import export_bundle

        with Console(stderr=True).status("") as status:

            def on_stage(stage: str) -> None:
                log_line(stage)
                status.update(stage)

            path, metadata = export_bundle(
                request, output and expand_user(output), on_stage, lambda check: status.update(check.picture), overwrite
            )
        print_verification(metadata)
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


@app.command()
def layers(model: Annotated[str, typer.Option(help=_MODEL_HELP)] = "v3") -> None:
    """List the layers of a network that can be exported. Without the extra `export`, only those of its layer sets."""
    with one_line_failures():
        from onnxdream.models.backbones import SET_HINTS, find_backbone

        if _missing_for_export() and not _is_model_file(model):
            backbone = find_backbone(model)
            log_line("to list all layers of the network: pip install 'onnxdream[export,cpu]'")
        else:
            # The range of the input does not matter here.
            backbone = _exportable(model, "tf" if _is_model_file(model) else None)
            from onnxdream.export.bundle import list_layers

            rows = [
                (
                    layer_info.layer.name,
                    str(layer_info.layer.channels),
                    stride_in_words(layer_info.layer),
                    f"{layer_info.parameters:,}",
                    layer_info.hint,
                )
                for layer_info in list_layers(backbone)
            ]
            print_table(("layer", "channels", "stride", "parameters up to this layer", "good to start with"), rows)
        for name, members in backbone.layer_sets.items():
            hint = f" ({SET_HINTS[name]})" if name in SET_HINTS else ""
            print(f"layer set {name}{hint}: {','.join(members)}")


@app.command()
def info(
    bundle: Annotated[
        str | None, typer.Argument(help="Path or name of a bundle. Without it, all bundles are listed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the bundle to this folder or .onnx file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of --output.")] = False,
    classes: Annotated[
        str | None, typer.Option(metavar="TEXT", help="List the classes whose names contain this text.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="List the channels of each layer that this picture excites most.")
    ] = None,
) -> None:
    """Show what a bundle contains, or list all bundles."""
    with one_line_failures():
        from onnxdream.runtime.bundle.choice import choose_bundle, list_bundles
        from onnxdream.runtime.bundle.classes import find_classes

        options = {"--classes": classes, "--picture": picture, "--output": output}
        asked = [name for name, value in options.items() if value is not None]
        if len(asked) > 1:
            raise typer.BadParameter(f"{asked[0]} and {asked[1]} contradict each other: give one of them")
        if bundle is None:
            if asked:
                raise typer.BadParameter(f"{asked[0]} is for one bundle: name the bundle")
            rows = list_bundles()
            if as_json:
                print(json.dumps([asdict(row) for row in rows], indent=2))
            else:
                print_table(("bundle", "layers", "objective", "weights", "size"), [row.row() for row in rows])
            return
        loaded = choose_bundle(bundle)
        if classes is not None:
            found = find_classes(loaded.metadata, classes)
            if as_json:
                print(json.dumps(dict(found), indent=2))
                return
            for number, names in found:
                print(f"{number:>4}  {names}")
            if not found:
                log_line(f"no class contains {classes!r}")
            return
        if picture is not None:
            print_excited(loaded, expand_user(picture), as_json)
            return
        if output is not None:
            write_bundle(loaded, expand_user(output), overwrite)
        if as_json:
            facts = {"path": str(loaded.path), "sha256": loaded.sha256, **json.loads(loaded.metadata.to_json())}
            print(json.dumps(facts, indent=2))
            return
        for key, value in bundle_facts(loaded).items():
            print(f"{key:<15}{value}")
        print_verification(loaded.metadata)


@app.command()
def doctor(
    model: Annotated[str | None, typer.Option(help=_BUNDLE_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what this machine can run: versions, providers that really work, known problems."""
    with one_line_failures():
        from onnxdream.runtime.doctor import diagnose

        found = diagnose(model)
        if as_json:
            print(json.dumps(found.facts(), indent=2))
        else:
            for line in found.lines():
                print(line)
        raise typer.Exit(1 if found.problems else 0)


@app.command()
def bench(
    model: Annotated[str | None, typer.Option(help=_BUNDLE_HELP)] = None,
    size: Annotated[list[str], typer.Option(help="Width and height. May be given several times.")] = ["512x384"],  # noqa: B006
    provider: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, tensorrt or openvino. \\[default: each that works, but tensorrt]"),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16 or mixed. \\[default: the bundle's]")] = None,
    threads: Annotated[int | None, typer.Option(help="Number of CPU threads. \\[default: one for each core]")] = None,
    tune: Annotated[bool, typer.Option("--tune", help="With cuda, prepare longer for faster steps.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast this machine dreams and how much memory that takes. Needs no picture."""
    with one_line_failures():
        from rich.console import Console

        from onnxdream.runtime.bench import HEADER, plan_trials

        options = {"provider": provider, "precision": precision, "threads": threads, "tune": tune}
        lines, trials = plan_trials(options, model, size)
        for line in lines:
            log_line(line)
        results = []
        with Console(stderr=True).status("") as status:
            for trial in trials:
                status.update(f"measuring {trial}")
                results.append(trial.run_in_subprocess())
        if as_json:
            print(json.dumps([result.facts() for result in results], indent=2))
        else:
            print_table(HEADER, [result.row() for result in results])
        problems = [f"{result.trial}: {result.problem}" for result in results if result.problem]
        for problem in problems:
            log_error(problem)
        raise typer.Exit(1 if problems else 0)


@app.command()
def deploy(
    bundle: Annotated[str, typer.Argument(help=_BUNDLE_HELP)],
    target: Annotated[str, typer.Option(help="jetpack6, jetpack7, workstation, workstation-cuda12 or cpu.")],
    output: Annotated[Path | None, typer.Option(help="The folder to write. \\[default: <bundle>-<target>]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that was deployed before.")] = False,
) -> None:
    """Make a folder for a device with a bundle, onnxdream, an installer and a check."""
    with one_line_failures():
        from onnxdream.runtime.bundle.choice import choose_bundle
        from onnxdream.runtime.deploy import deploy as deploy_bundle

        folder = deploy_bundle(choose_bundle(bundle), target, output and expand_user(output), overwrite)
        print(f"{folder}: copy it to the device and run ./run.sh verify there")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A folder that `deploy` made.")],
    provider: Annotated[
        str, typer.Option(help="cpu, cuda, tensorrt or openvino. \\[default: the target's]", show_default=False)
    ] = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16 or mixed. \\[default: the bundle's]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that a deployed folder is complete and that this machine reproduces the stored gradient."""
    with one_line_failures():
        from onnxdream.runtime.verify import verify as verify_folder

        checks = verify_folder(expand_user(folder), provider, precision)
        if as_json:
            print(json.dumps([asdict(check) for check in checks], indent=2))
        else:
            print_table(("check", "", "found"), [check.row() for check in checks])
        for check in checks:
            if check.problem:
                log_error(check.problem)
        raise typer.Exit(1 if any(check.problem for check in checks) else 0)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
def experiment(context: typer.Context) -> None:
    """Run the paper's experiment or a grid of your own and write a report (see `experiment --help`)."""
    with one_line_failures():
        from onnxdream.study.commands import app as experiments  # here, so that no other command waits for it

        raise typer.Exit(experiments(context.args, prog_name=context.command_path, standalone_mode=False) or 0)


def _exportable(model: str, preprocessing: str | None) -> Backbone:
    """Returns the backbone of that name, or that of a file with a model of the user's own."""
    from onnxdream.models.backbones import find_backbone

    if _is_model_file(model):
        _require_export_extra()
        from onnxdream.export.keras_file import own_backbone

        return own_backbone(expand_user(model), preprocessing, log_line)
    backbone = find_backbone(model)
    if preprocessing is not None:
        raise typer.BadParameter(f"--preprocessing is for a model of your own: that of {backbone.title} is known")
    _require_export_extra()
    return backbone


def _is_model_file(model: str) -> bool:
    from onnxdream.models.backbones import is_model_file

    return is_model_file(model)


def _export_request(
    backbone: Backbone,
    layers: str | None,
    weights: str,
    objective: str,
    border: int,
    seed: int,
    precision: str,
    class_names: Path | None,
) -> ExportRequest:
    from onnxdream.export.bundle import ExportRequest

    layers = backbone.default_set if layers is None else layers
    names = backbone.layer_sets.get(layers)
    chosen = names or tuple(name.strip() for name in layers.split(",") if name.strip())
    file = class_names and expand_user(class_names)
    return ExportRequest(backbone, chosen, weights, seed, objective, border, precision, file)


def _require_export_extra() -> None:
    missing = _missing_for_export()
    if missing:
        log_error(f"exporting needs {', '.join(missing)}: pip install 'onnxdream[export,cpu]'")
        raise typer.Exit(1)


def _missing_for_export() -> list[str]:
    """The packages that the extra `export` installs and that are missing here."""
    from importlib.util import find_spec

    return [name for name in ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime") if find_spec(name) is None]


if __name__ == "__main__":
    app()
