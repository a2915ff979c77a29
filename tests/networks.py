"""Exports every network of the table and dreams with it: `python -m tests.networks [NAME…] [--write]`.

Each layer set is exported with random weights, which compares it with TensorFlow, and dreams a picture in a process
that cannot import TensorFlow, Keras or onnx. `--write` puts the table of all networks into `docs/networks.md`. That
takes about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from onnxdream.export.bundle import ExportRequest, export_bundle, list_layers
from onnxdream.models.backbones import BACKBONES, Backbone, find_backbone
from onnxdream.models.contract import Metadata
from onnxdream.models.preprocessing import PREPROCESSINGS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "networks.md"
BEGIN, END = "<!-- networks: begin -->\n", "<!-- networks: end -->\n"
_HEADER = (
    *("`--model`", "network", "layers", "layer sets (million parameters)", "input", "smallest picture, pixels"),
    *("memory, bytes per pixel", "tiles", "worst cosine", "licence of the weights"),
)
_LIGHT_DREAM = """
import sys
sys.modules.update(dict.fromkeys(["tensorflow", "keras", "onnx", "tf2onnx"]))
from onnxdream.cli import app
app()
"""


@dataclass(frozen=True)
class Exported:
    """A layer set that was exported: its number of parameters and the metadata of its bundle."""

    parameters: int
    metadata: Metadata


def main() -> None:
    """Exports the networks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="networks; all without")
    parser.add_argument("--write", action="store_true", help="write the table into docs/networks.md")
    arguments = parser.parse_args()
    if arguments.write and arguments.names:
        parser.error("--write takes all networks")
    rows = []
    for backbone in map(find_backbone, arguments.names or [backbone.name for backbone in BACKBONES]):
        print(f"{backbone.name} …", file=sys.stderr, flush=True)
        parameters = {info.layer.name: info.parameters for info in list_layers(backbone)}
        with tempfile.TemporaryDirectory() as folder:
            exported = {
                name: Exported(max(parameters[layer] for layer in layers), _export(backbone, layers, Path(folder)))
                for name, layers in backbone.layer_sets.items()
            }
        rows.append(_row(backbone, len(parameters), exported))
    table = "\n".join([_line(_HEADER), _line(["---"] * len(_HEADER)), *map(_line, rows)]) + "\n"
    print(table)
    if arguments.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{rest.split(END)[1]}", encoding="utf-8")


def _export(backbone: Backbone, layers: tuple[str, ...], folder: Path) -> Metadata:
    """Exports layers, which raises an error if they do not agree with TensorFlow, and dreams with them."""
    path, metadata = export_bundle(ExportRequest(backbone, layers, weights="random"), folder)
    command = [sys.executable, "-c", _LIGHT_DREAM, "dream", str(ROOT / "examples" / "bears.jpg"), "--model", str(path)]
    command += ["--steps", "3", "--max-size", "160", "--output", str(folder / path.stem), "--quiet"]
    subprocess.run(command, check=True)
    assert (folder / path.stem / "bears-dream.png").is_file()
    return metadata


def _row(backbone: Backbone, layers: int, exported: dict[str, Exported]) -> list[str]:
    checks = [check for one in exported.values() for check in one.metadata.verification]
    error = max(1 - check.cosine for check in checks)
    sizes = ", ".join(str(one.metadata.smallest_size.height) for one in exported.values())
    memory = ", ".join(f"{one.metadata.memory.per_pixel:.0f}" for one in exported.values())
    sets = ", ".join(f"`{name}` ({one.parameters / 1e6:.2f})" for name, one in exported.items())
    is_global = any(layer.is_global for one in exported.values() for layer in one.metadata.layers if layer.stride)
    source = backbone.imagenet or backbone.built_in
    preprocessing = next(name for name, known in PREPROCESSINGS.items() if known == backbone.preprocessing)
    licence = source.licence.partition(", trained")[0] if source else ""
    return [
        *(f"`{backbone.name}`", backbone.title, str(layers), sets, f"`{preprocessing}`", sizes, memory),
        *("`--global-tiles`" if is_global else "yes", f"1 − {error:.0e}", licence),
    ]


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
