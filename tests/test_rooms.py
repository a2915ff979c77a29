"""The rooms of the package (its top-level folders): which exist, which are shipped, and which may import which."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "cli.py").is_file(), reason="reads the sources of a checkout")
OUTSIDE = {"tests", "build", "dist", "benchmarks", "docs", "examples"}  # folders that do not belong to the package
EXPORTING = {"tensorflow", "keras", "tf2onnx", "onnx"}
RUNNING = {"onnxruntime", "cv2"}
CLI = ("onnxdream.cli", "onnxdream.commands")
DREAMING = {"numpy", "onnxruntime", "cv2", "typer", "rich", "platformdirs", "google", "tomli", "tomllib"}
OPTIONAL = {
    "av",
    "matplotlib",
    "pillow_heif",
    "ray",
}  # in the extras `video`, `report`, `heic` and `cluster`: imported only where they are used

# room -> the packages that its modules may not import
FORBIDDEN = {
    "models": EXPORTING
    | RUNNING
    | {"onnxdream.export", "onnxdream.runtime", "onnxdream.study", "onnxdream.studio", *CLI},
    "runtime": EXPORTING | {"onnxdream.export", "onnxdream.study", "onnxdream.studio", *CLI},
    "export": {"cv2", "onnxdream.runtime", "onnxdream.study", "onnxdream.studio", *CLI},
    "study": EXPORTING | {"onnxdream.export", "onnxdream.studio", *CLI},
    "studio": EXPORTING | {"onnxdream.export", "onnxdream.study", *CLI},
    "commands": EXPORTING | {"onnxdream.export", "onnxdream.study", "onnxdream.studio", "onnxdream.cli"},
}
# The wings (folders) and files of rooms in floors: each may import only from itself and from the floors above it in
# this list.
FLOORS: dict[str, tuple[set[str], ...]] = {
    "runtime": (
        {"errors"},
        {"settings", "video"},
        {"provider", "image"},
        {"bundle", "processes"},
        {"ascent"},
        {"dream", "deploying"},
        {"film", "features", "cluster"},
        {"footprint", "batch"},
        {"bench", "deploy", "doctor", "verify"},
        {"__init__"},
    ),
    "studio": (
        {"errors"},
        {"jobs"},
        {"pictures"},
        {"workers"},
        {"keeper", "requests"},
        {"ledger"},
        {"news"},
        {"studio"},
        {"web"},
        {"command"},
        {"__init__"},
    ),
}
MAX_FILES = 10  # in a wing


def rooms() -> list[str]:
    """The folders of the checkout that have an __init__.py, as dotted names of packages."""
    found = [path.parent.relative_to(ROOT) for path in ROOT.rglob("__init__.py")]
    kept = [f for f in found if not f.parts or not (f.parts[0] in OUTSIDE or f.parts[0].startswith("."))]
    return sorted(".".join(("onnxdream", *folder.parts)) for folder in kept if "site-packages" not in folder.parts)


def packages() -> list[str]:
    """The list of packages in pyproject.toml, read as text since Python 3.10 has no tomllib."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^packages = (\[[^\]]*\])", text, re.MULTILINE)
    assert found
    listed: list[str] = ast.literal_eval(found[1])
    return listed


def modules(room: str) -> list[Path]:
    """The files of all modules in a room and in its wings."""
    return sorted((ROOT / room).rglob("*.py"))


def imports(module: Path, everywhere: bool = True) -> Iterator[str]:
    """The full names that a module imports, anywhere in its code or only at its top level."""
    here = ["onnxdream", *module.relative_to(ROOT).parts[:-1]]
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def others(names: Iterator[str]) -> set[str]:
    """The packages among full names that are neither onnxdream nor in Python's standard library."""
    return {name.split(".")[0] for name in names} - {"onnxdream"} - set(sys.stdlib_module_names)


def imported(module: Path, names: set[str]) -> set[str]:
    """Those of the packages or modules of that name that a module imports, or imports from."""
    return {name for name in names for found in imports(module) if found == name or found.startswith(f"{name}.")}


def test_the_wheel_has_every_room_of_the_package() -> None:
    assert sorted(packages()) == rooms()


@pytest.mark.parametrize("room", [room for room in FORBIDDEN if (ROOT / room).is_dir()])
def test_a_room_imports_only_what_it_may(room: str) -> None:
    assert modules(room)
    forbidden = {module.relative_to(ROOT): imported(module, FORBIDDEN[room]) for module in modules(room)}
    assert not {name: found for name, found in forbidden.items() if found}


def wing(room: str, module: str) -> str:
    """The wing or file of a room to which a full module name belongs."""
    return (module.removeprefix(f"onnxdream.{room}").removeprefix(".") or "__init__").split(".")[0]


def floor(room: str, name: str) -> int:
    return next(number for number, names in enumerate(FLOORS[room]) if name in names)


@pytest.mark.parametrize("room", FLOORS)
def test_a_wing_imports_only_from_lower_floors(room: str) -> None:
    wings = {path.relative_to(ROOT / room).with_suffix("").parts[0] for path in modules(room)}
    assert wings == set().union(*FLOORS[room])
    for module in modules(room):
        own = wing(room, f"onnxdream.{'.'.join(module.relative_to(ROOT).with_suffix('').parts)}")
        bases = {name for name in imports(module) if name.startswith(f"onnxdream.{room}")}
        imported_wings = {wing(room, name) for name in bases if wing(room, name) in wings} - {own}
        assert all(floor(room, other) < floor(room, own) for other in imported_wings), (module.name, imported_wings)


@pytest.mark.parametrize("room", FLOORS)
def test_contributing_has_a_row_for_each_floor(room: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition(f"| in `{room}/` |")[2].partition("\n\n")[0]
    rows = [set(re.findall(r"`(\w+)(?:/|\.py)`", row.split("|")[1])) for row in table.splitlines()[2:]]
    assert [*rows, {"__init__"}] == list(FLOORS[room])


@pytest.mark.parametrize("room", FLOORS)
def test_a_wing_is_small_and_has_a_docstring(room: str) -> None:
    for folder in {path.parent for path in modules(room)} - {ROOT / "runtime"}:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert 2 < len(files) <= MAX_FILES, folder
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), folder


def test_no_modules_import_each_other() -> None:
    """There is no circle of imports, not even through other modules or for types alone."""
    names = {f"onnxdream.{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}": path for path in package_modules()}
    graph = {name: {found for found in imports(path) if found in names} for name, path in names.items()}
    while graph:
        free = {name for name, targets in graph.items() if not targets & set(graph)}
        assert free, sorted(graph)
        for name in free:
            del graph[name]


def package_modules() -> list[Path]:
    return [path for room in FORBIDDEN for path in modules(room) if path.name != "__init__.py"]


def test_the_runtime_imports_only_its_few_dependencies() -> None:
    for module in (*modules("runtime"), *modules("models")):
        assert others(imports(module, everywhere=False)) <= DREAMING, module.name
        assert others(imports(module)) <= DREAMING | OPTIONAL, module.name


def test_the_scan_finds_known_imports() -> None:
    """This shows that the tests above can fail."""
    assert "onnxdream.models" in imported(ROOT / "export" / "bundle.py", {"onnxdream.models"})
    assert "tensorflow" in imported(ROOT / "export" / "conversion.py", EXPORTING)
    assert "onnxdream.export" in imported(ROOT / "cli.py", {"onnxdream.export"})
    assert not imported(ROOT / "models" / "library.py", {"onnx"})


def test_contributing_names_the_modules_that_rooms_start_as_processes() -> None:
    """These dependencies between rooms are not visible as imports."""
    walls = [(room, other) for room, names in FORBIDDEN.items() for other in names if other.startswith("onnxdream.")]
    found = {
        (module.relative_to(ROOT).as_posix(), name)
        for room, other in walls
        for module in modules(room)
        for name in re.findall(rf'"({re.escape(other)}[\w.]*)"', module.read_text(encoding="utf-8"))
    }
    contributing = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    assert found == set(re.findall(r"`([a-z_/]+\.py)` starts `python -m ([a-z_.]+)`", contributing))


def test_in_models_only_arrays_and_assembly_import_numpy() -> None:
    assert [module.name for module in modules("models") if imported(module, {"numpy"})] == ["arrays.py", "assembly.py"]
