"""The commands of onnxdream: each parses its options, calls a stage and prints the result.

Stages are imported inside the commands, so that each command loads only what it needs.
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from onnxdream import __version__
from onnxdream.models.errors import OnnxdreamError
from onnxdream.models.files import expand_user
from onnxdream.models.interrupts import ending_signals, exit_code, received
from onnxdream.models.streams import StreamError, event_stream, filtered_import, read_input, tolerant_streams

if TYPE_CHECKING:
    from onnxdream.export.bundle import ExportRequest
    from onnxdream.models.backbones import Backbone
    from onnxdream.models.contract import Layer, Metadata
    from onnxdream.runtime.batch.terminal import Verbosity
    from onnxdream.runtime.bundle.bundle import Bundle
    from onnxdream.runtime.film.record import FilmKind
    from onnxdream.runtime.settings.options import Option

_MODEL_HELP = "A network (an unknown name lists all), or the .keras or .h5 file of a model of your own."
_BUNDLE_HELP = "Path or name of a bundle, or the beginning of its name."
# Channels of a layer that `info --picture` shows.
_SHOWN_CHANNELS = 5
_EXAMPLES = Path(__file__).parent / "examples"
_PIPE = Path("-")  # standard input
# The classes of characters that embed, override or isolate a direction of writing, up to one that ends it.
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
# Typer raises click's usage errors, or those of its own copy of click, depending on its version.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class _OneLineErrors(TyperGroup):
    """A command group that reports errors in one line, and ends with an exit code also after a signal."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        words = sys.argv[1:] if args is None else args
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reads it when it is imported
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads would wait for the cores of onnxruntime's
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # and TensorRT has no other switch for TF32
        # onnxruntime 1.23 to 1.30 warn where the first graphics card is no PCI device, as on Jetsons and in WSL2, and
        # TensorFlow where there is no card, which exports need not have.
        with (
            tolerant_streams(_asks_for_events(words)),
            filtered_import("onnxruntime", "device_discovery.cc"),
            filtered_import("tensorflow", "absl::InitializeLog", "cudart_stub.cc"),
            ending_signals(),
        ):
            code = self._run(words, *more, **extra)
            # Python remembers an interruption of a text that it executes, as dataclasses have it do on import, and ends
            # `python -m` by SIGINT, whatever the exit code; it forgets it with the next text.
            exec("")
            sys.exit(code)

    def _run(self, words: Sequence[str], *more: Any, **extra: Any) -> int:
        """Runs a command and returns its exit code."""
        try:
            code: int = super().main(words, *more, **{**extra, "standalone_mode": False}) or 0
            sys.stdout.flush()
        except _UsageError as error:
            dashed = [word for word in words if word.startswith("-") and os.path.exists(word)]
            advice = f"write the file as {os.path.join(os.curdir, dashed[0])}" if dashed else "see --help"
            _log_error(f"{error.format_message()} ({advice})")  # type: ignore[attr-defined]
            return 2
        except StreamError as error:
            _log_error(str(error))
            return 1
        except (typer.Abort, KeyboardInterrupt):
            return exit_code(received())
        except Exception:
            if received():  # a signal during an import of C code appears as another error
                return exit_code(received())
            raise
        return exit_code(received()) if received() else code  # typer turns an interruption into 130, whatever it was


def _asks_for_events(words: Sequence[str]) -> bool:
    """Whether a command line has --progress json, looked up before it is parsed: its own errors are events, too."""
    return "--progress=json" in words or ("--progress", "json") in itertools.pairwise(words)


app = typer.Typer(
    cls=_OneLineErrors,
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


class _DerivedCommand(TyperCommand):
    """A command whose options are derived from settings.

    They are looked up only when the command or its help is asked for, so that other commands do not import the runtime.
    """

    def get_params(self, context: Any) -> Any:
        if not self.params:
            with _one_line_failures():
                self.params = _parameters(self._options())
        return super().get_params(context)

    def invoke(self, context: Any) -> Any:
        options = {name: value for name, value in context.params.items() if value not in (None, [], ())}
        is_quiet, is_verbose = (options.pop(name, False) for name in ("quiet", "verbose"))
        if is_quiet and is_verbose:
            raise typer.BadParameter("--quiet and --verbose contradict each other: give one of them")
        progress = options.pop("progress", "auto")
        if progress not in ("auto", "json"):
            raise typer.BadParameter(f"--progress is auto or json, not {progress!r}")
        verbosity: Verbosity = "quiet" if is_quiet else "verbose" if is_verbose else "normal"
        with _one_line_failures():
            self._run(options, _log_nothing if is_quiet else _log, verbosity)

    def _options(self) -> list[inspect.Parameter]:
        raise NotImplementedError

    def _run(self, options: dict[str, Any], log: Callable[[str], None], verbosity: Verbosity) -> None:
        """Runs the command with the options that the user gave."""
        raise NotImplementedError


class _DreamCommand(_DerivedCommand):
    """The command `dream`."""

    def _options(self) -> list[inspect.Parameter]:
        from onnxdream.runtime.settings.options import OPTIONS

        pictures = typer.Argument(
            metavar="IMAGE",
            readable=False,
            help="Pictures or folders of pictures, or - for the bytes of a picture on standard input.",
            show_default=False,
        )
        return _derived_options({"images": Annotated[list[Path] | None, pictures]}, OPTIONS)

    def _run(self, options: dict[str, Any], log: Callable[[str], None], verbosity: Verbosity) -> None:
        from onnxdream.runtime.batch.plan import gather_pictures
        from onnxdream.runtime.batch.run import Reporter, dream_many, dream_named, dream_watched
        from onnxdream.runtime.cluster.connection import ClusterOptions
        from onnxdream.runtime.dream.request import parse_request
        from onnxdream.runtime.image.files import MAX_BYTES
        from onnxdream.runtime.image.source import Source

        images = [expand_user(image) for image in options.pop("images", ())]
        piped = images.count(_PIPE)
        _require_input(piped)
        request = parse_request(options, with_images=bool(images))
        cluster = None if request.cluster is None else ClusterOptions(request.cluster, request.ship)
        if request.job.piped_as:
            _require_no_terminal()
        for line in request.lines:
            log(line)
        if request.config:
            request.config.write()
            log(f"options saved as {request.config.path}")
        reporter = Reporter(log, _log_error, verbosity, request.hint)
        if request.watch:
            outcome = dream_watched(request.job, request.watch, reporter, request.recursive, request.workers, cluster)
            raise typer.Exit(exit_code(outcome.signal))  # it ends only by a signal
        sources, missing = list(request.sources), 0
        is_one = bool(sources or images == [_PIPE]) or (len(images) == 1 and not os.path.isdir(images[0]))
        if request.config and not sources and not images:
            return
        if not sources:
            named = [image for image in images if image != _PIPE]
            sources, missing = gather_pictures(named, _log_error, _EXAMPLES, log, request.recursive)
            if piped:
                sources.insert(0, Source.of_input(read_input(MAX_BYTES + 1)))  # one more is too large
        if not sources:
            raise typer.Exit(1)
        if is_one and not cluster:
            if request.workers:
                log("--workers has no effect on one picture")
            outcome = dream_named(request.job, sources[0], reporter, request.checkpoint)
        else:
            outcome = dream_many(request.job, sources, reporter, request.workers, cluster)
        if outcome.signal:
            raise typer.Exit(exit_code(outcome.signal))
        if request.hint and not outcome.failed:
            log(request.hint)
        if outcome.failed + missing:
            raise typer.Exit(3 if outcome.done else 1)


class _FilmCommand(_DerivedCommand):
    """The commands `film`, `zoom` and `travel`."""

    @property
    def _kind(self) -> FilmKind:
        return cast("FilmKind", self.name)

    def _options(self) -> list[inspect.Parameter]:
        from onnxdream.runtime.film.request import film_options

        read = "The film to dream." if self._kind == "film" else "The picture to start from."
        metavar = "FILM" if self._kind == "film" else "IMAGE"
        write = "The .mp4, .webm, .gif or .webp to write."
        arguments = {
            "source": Annotated[Path | None, typer.Argument(metavar=metavar, help=read, show_default=False)],
            "target": Annotated[Path | None, typer.Argument(metavar="OUTPUT", help=write, show_default=False)],
        }
        return _derived_options(arguments, film_options(self._kind))

    def _run(self, options: dict[str, Any], log: Callable[[str], None], verbosity: Verbosity) -> None:
        from onnxdream.runtime.film.command import make_at_terminal
        from onnxdream.runtime.film.request import parse_film

        source, target = (path and expand_user(path) for path in (options.pop(name, None) for name in _FILM_ARGUMENTS))
        request = parse_film(self._kind, source, target, options)
        for line in request.lines:
            log(line)
        signal = make_at_terminal(request, log, verbosity == "quiet")
        if signal:
            raise typer.Exit(exit_code(signal))


_FILM_ARGUMENTS = ("source", "target")


class _FeaturesCommand(_DerivedCommand):
    """The command `features`."""

    def _options(self) -> list[inspect.Parameter]:
        from onnxdream.runtime.features.request import feature_options

        named = typer.Argument(
            metavar="FEATURE",
            help="Layers, channels or classes: mixed4, mixed4:40,41 or logits:castle.",
            show_default=False,
        )
        return _derived_options({"named": Annotated[list[str] | None, named]}, feature_options())

    def _run(self, options: dict[str, Any], log: Callable[[str], None], verbosity: Verbosity) -> None:
        from onnxdream.runtime.features.command import draw_at_terminal
        from onnxdream.runtime.features.request import parse_feature_request

        request = parse_feature_request(list(options.pop("named", ())), options)
        signal = draw_at_terminal(request, log, verbosity == "quiet")
        if signal:
            raise typer.Exit(exit_code(signal))


def _require_input(times: int) -> None:
    """Refuses to read a picture that is typed, or two of them; `times` is how often the command line has a -."""
    if times > 1:
        raise typer.BadParameter("standard input holds one picture: give - once")
    if times and os.isatty(0):
        raise typer.BadParameter("standard input is a terminal: send a picture to it, as in dream - < bears.jpg")


def _require_no_terminal() -> None:
    if os.isatty(1):
        raise typer.BadParameter(
            "standard output is a terminal: send the picture on, as in dream bears.jpg --output - > dream.png"
        )


def _parameters(options: list[inspect.Parameter]) -> Any:
    """The click parameters that typer makes of a function's parameters."""

    def command() -> None: ...

    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    command.__annotations__ = {option.name: option.annotation for option in options}
    made = typer.Typer(add_completion=False)
    made.command()(command)
    return typer.main.get_command(made).params


def _derived_options(arguments: dict[str, Any], options: Iterable[Option]) -> list[inspect.Parameter]:
    """The parameters of a function with these arguments and options; the arguments are types by name."""
    found = dict(arguments)
    for one in options:
        shown = typer.Option(*one.flags, help=one.help, rich_help_panel=one.panel, show_default=False, readable=False)
        found[one.name] = Annotated[one.type | None, shown]
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, kind, default=None, annotation=what) for name, what in found.items()]


@app.command(cls=_DreamCommand)
def dream() -> None:
    """Dream pictures by gradient ascent on the layers of a bundle.

    Example: onnxdream dream photo.jpg --preset creatures

    Defaults are those of the preset `paper`. Every setting is also a key of a config file (--config).
    """


@app.command(cls=_FilmCommand)
def film() -> None:
    """Dream a film, with its sound. Needs the extra `video`.

    Example: onnxdream film walk.mp4 walk-dream.mp4 --preset creatures

    Without a preset, this is the look `creatures`. The first frame of each shot gets the whole dream, which then moves
    along with the picture.
    """


@app.command(cls=_FilmCommand)
def zoom() -> None:
    """Make a film of an endless zoom into a picture. Needs the extra `video`.

    Example: onnxdream zoom photo.jpg zoom.mp4 --seconds 10
    """


@app.command(cls=_FilmCommand)
def travel() -> None:
    """Make a film of a slow walk between channels, layers and looks. Needs the extra `video`.

    Example: onnxdream travel photo.jpg travel.mp4 --through creatures,fur,neon --seconds 20
    """


@app.command(cls=_FeaturesCommand)
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
    with _one_line_failures():
        from onnxdream.studio.command import StudioRequest, run_studio

        given = {"provider": provider, "threads": threads, "memory": memory}
        machine = {name: value for name, value in given.items() if value is not None}
        run_studio(StudioRequest(host, port, folder and expand_user(folder), browser, machine), _log)


@app.command()
def presets(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the presets of `dream`: looks, the paper's ascent and the classic programs."""
    with _one_line_failures():
        from onnxdream.runtime.settings.presets import PRESETS

        rows = [(preset.name, preset.sentence, preset.made_for) for preset in PRESETS.values()]
        if as_json:
            names = ("name", "sentence", "made_for")
            print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))
        else:
            _print_table(("preset", "", "made for"), rows)


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
    with _one_line_failures():
        backbone = _exportable(model, preprocessing)
        request = _export_request(backbone, layers, weights, objective, border, seed, precision, class_names)
        from rich.console import Console

        from onnxdream.export.bundle import export_bundle

        with Console(stderr=True).status("") as status:

            def on_stage(stage: str) -> None:
                _log(stage)
                status.update(stage)

            path, metadata = export_bundle(
                request, output and expand_user(output), on_stage, lambda check: status.update(check.picture), overwrite
            )
        _print_verification(metadata)
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


@app.command()
def layers(model: Annotated[str, typer.Option(help=_MODEL_HELP)] = "v3") -> None:
    """List the layers of a network that can be exported. Without the extra `export`, only those of its layer sets."""
    with _one_line_failures():
        from onnxdream.models.backbones import SET_HINTS, find_backbone

        if _missing_for_export() and not _is_model_file(model):
            backbone = find_backbone(model)
            _log("to list all layers of the network: pip install 'onnxdream[export,cpu]'")
        else:
            # The range of the input does not matter here.
            backbone = _exportable(model, "tf" if _is_model_file(model) else None)
            from onnxdream.export.bundle import list_layers

            rows = [
                (
                    layer_info.layer.name,
                    str(layer_info.layer.channels),
                    _stride_in_words(layer_info.layer),
                    f"{layer_info.parameters:,}",
                    layer_info.hint,
                )
                for layer_info in list_layers(backbone)
            ]
            _print_table(("layer", "channels", "stride", "parameters up to this layer", "good to start with"), rows)
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
    with _one_line_failures():
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
                _print_table(("bundle", "layers", "objective", "weights", "size"), [row.row() for row in rows])
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
                _log(f"no class contains {classes!r}")
            return
        if picture is not None:
            _print_excited(loaded, expand_user(picture), as_json)
            return
        if output is not None:
            _write_bundle(loaded, expand_user(output), overwrite)
        if as_json:
            facts = {"path": str(loaded.path), "sha256": loaded.sha256, **json.loads(loaded.metadata.to_json())}
            print(json.dumps(facts, indent=2))
            return
        for key, value in _facts(loaded).items():
            print(f"{key:<15}{value}")
        _print_verification(loaded.metadata)


@app.command()
def doctor(
    model: Annotated[str | None, typer.Option(help=_BUNDLE_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what this machine can run: versions, providers that really work, known problems."""
    with _one_line_failures():
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
    with _one_line_failures():
        from rich.console import Console

        from onnxdream.runtime.bench import HEADER, plan_trials

        options = {"provider": provider, "precision": precision, "threads": threads, "tune": tune}
        lines, trials = plan_trials(options, model, size)
        for line in lines:
            _log(line)
        results = []
        with Console(stderr=True).status("") as status:
            for trial in trials:
                status.update(f"measuring {trial}")
                results.append(trial.run_in_subprocess())
        if as_json:
            print(json.dumps([result.facts() for result in results], indent=2))
        else:
            _print_table(HEADER, [result.row() for result in results])
        problems = [f"{result.trial}: {result.problem}" for result in results if result.problem]
        for problem in problems:
            _log_error(problem)
        raise typer.Exit(1 if problems else 0)


@app.command()
def deploy(
    bundle: Annotated[str, typer.Argument(help=_BUNDLE_HELP)],
    target: Annotated[str, typer.Option(help="jetpack6, jetpack7, workstation, workstation-cuda12 or cpu.")],
    output: Annotated[Path | None, typer.Option(help="The folder to write. \\[default: <bundle>-<target>]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that was deployed before.")] = False,
) -> None:
    """Make a folder for a device with a bundle, onnxdream, an installer and a check."""
    with _one_line_failures():
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
    with _one_line_failures():
        from onnxdream.runtime.verify import verify as verify_folder

        checks = verify_folder(expand_user(folder), provider, precision)
        if as_json:
            print(json.dumps([asdict(check) for check in checks], indent=2))
        else:
            _print_table(("check", "", "found"), [check.row() for check in checks])
        for check in checks:
            if check.problem:
                _log_error(check.problem)
        raise typer.Exit(1 if any(check.problem for check in checks) else 0)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
def experiment(context: typer.Context) -> None:
    """Run the paper's experiment or a grid of your own and write a report (see `experiment --help`)."""
    with _one_line_failures():
        from onnxdream.study.commands import app as experiments  # here, so that no other command waits for it

        raise typer.Exit(experiments(context.args, prog_name=context.command_path, standalone_mode=False) or 0)


def _exportable(model: str, preprocessing: str | None) -> Backbone:
    """Returns the backbone of that name, or that of a file with a model of the user's own."""
    from onnxdream.models.backbones import find_backbone

    if _is_model_file(model):
        _require_export_extra()
        from onnxdream.export.keras_file import own_backbone

        return own_backbone(expand_user(model), preprocessing, _log)
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
        _log_error(f"exporting needs {', '.join(missing)}: pip install 'onnxdream[export,cpu]'")
        raise typer.Exit(1)


def _missing_for_export() -> list[str]:
    """The packages that the extra `export` installs and that are missing here."""
    from importlib.util import find_spec

    return [name for name in ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime") if find_spec(name) is None]


@contextmanager
def _one_line_failures() -> Iterator[None]:
    """Turns the errors of a stage into one line and an exit code."""
    try:
        yield
    except (OnnxdreamError, ImportError) as error:
        if received():
            raise KeyboardInterrupt from error
        _log_error(str(error))
        raise typer.Exit(getattr(error, "exit_code", 1)) from None


def _print_verification(metadata: Metadata) -> None:
    rows = [
        (check.picture, check.climbed, f"{check.loss_error:.1e}", f"{check.cosine:.7f}", f"{check.norm_ratio:.6f}")
        for check in metadata.verification
    ]
    _print_table(("compared with TensorFlow", "maximised", "loss error", "cosine", "norm ratio"), rows)


def _print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # Without a terminal, a row still takes one line.
    Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(table)


def _print_excited(bundle: Bundle, picture: Path, as_json: bool) -> None:
    from onnxdream.runtime.bundle.sessions import Sessions
    from onnxdream.runtime.features.built_in import built_in_atlas
    from onnxdream.runtime.features.excitation import most_excited
    from onnxdream.runtime.image.files import read_picture
    from onnxdream.runtime.provider.selection import choose_provider
    from onnxdream.runtime.settings.settings import Execution

    seen = read_picture(picture)
    for warning in seen.warnings:
        _log(warning)
    machine = choose_provider(Execution(precision=bundle.precision)).machine
    atlas = built_in_atlas(bundle.sha256)
    layers = most_excited(seen.pixels, Sessions(bundle), machine, _SHOWN_CHANNELS, atlas)
    if as_json:
        print(json.dumps({layer: [asdict(one) for one in excited] for layer, excited in layers.items()}, indent=2))
        return
    times = " (times those on photographs in general)" if atlas else ""
    rows = [(layer, ", ".join(map(str, excited))) for layer, excited in layers.items()]
    _print_table(("layer", f"channels with their means{times}"), rows)


def _facts(bundle: Bundle) -> dict[str, str]:
    """The facts of a bundle as `info` prints them, by their labels."""
    facts = bundle.metadata
    height, width = facts.smallest_size
    return {
        "path": str(bundle.path),
        "SHA-256": bundle.sha256,
        "backbone": facts.backbone,
        "layers": ", ".join(_layer_in_words(layer) for layer in facts.layers),
        "objective": facts.objective,
        "input": f"RGB from -1 to 1, at least {width}x{height} pixels",
        "weights": f"{facts.weights.title}, SHA-256 {facts.weights.sha256}",
        "licence": facts.weights.licence,
        **({"classes": f"{len(facts.class_names)} with names"} if facts.class_names else {}),
        "precision": f"{facts.precision}, opset {facts.opset}",
        "exporter": ", ".join(f"{package} {version}" for package, version in facts.exporter.items()),
    }


def _layer_in_words(layer: Layer) -> str:
    """A layer's name, channels and stride; a global layer sees the whole picture at once."""
    stride = "stride " * bool(layer.stride) + _stride_in_words(layer)
    return f"{layer.name} ({layer.channels} channels, {stride})"


def _stride_in_words(layer: Layer) -> str:
    """A layer's stride, or that it has one value for the picture; a global layer sees the whole picture at once."""
    if not layer.stride:
        return "global"
    return f"{layer.stride}, global" if layer.is_global else str(layer.stride)


def _write_bundle(bundle: Bundle, output: Path, overwrite: bool) -> None:
    from onnxdream.models.files import atomic_write
    from onnxdream.models.library import bundle_output

    path = bundle_output(output, f"{Path(bundle.name).stem}.onnx", overwrite)
    try:
        atomic_write(path, bundle.data)
    except OSError as error:
        _log_error(f"cannot write {path} ({error.strerror}): make room or choose another --output")
        raise typer.Exit(1) from None
    _log(f"{path} ({len(bundle.data) / 1e6:.1f} MB)")


def _log(line: str) -> None:
    print(_one_line(line), file=sys.stderr)


def _log_nothing(line: str) -> None:
    """Stands in for `_log` where only errors are shown."""


def _log_error(line: str) -> None:
    events = event_stream()
    if events:
        events.send("error", text=line)
    else:
        print(f"error: {_one_line(line)}", file=sys.stderr)


def _one_line(text: str) -> str:
    """A message with escapes for what breaks a line or turns its direction, since the name of a file may have some.

    What joins the parts of an emoji, or marks a direction in one place only, stays: names are to be read as written.
    """
    return "".join(repr(one)[1:-1] if _breaks_line(one) else one for one in text)


def _breaks_line(character: str) -> bool:
    """Whether it is a control character, a separator of lines, or turns the direction of the text behind it."""
    is_turning = unicodedata.bidirectional(character) in _TURNING
    return is_turning or unicodedata.category(character) in ("Cc", "Zl", "Zp")


if __name__ == "__main__":
    app()
