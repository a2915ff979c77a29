"""The rooms of the package: which exist, which are shipped, and who may enter which."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "cli.py").is_file(), reason="reads the sources of a checkout")
OUTSIDE = {"tests", "build", "dist", "benchmarks", "docs", "examples"}  # folders that are no part of the package
EXPORTING = {"tensorflow", "keras", "tf2onnx", "onnx"}
RUNNING = {"onnxruntime", "cv2"}
DREAMING = {"numpy", "onnxruntime", "cv2", "typer", "rich", "platformdirs", "google", "tomli", "tomllib"}
OPTIONAL = {"matplotlib"}  # of the extra `report`: imported only where it is used

# room -> what none of its modules may import
FORBIDDEN = {
    "models": EXPORTING | RUNNING | {"onnxdream.export", "onnxdream.runtime", "onnxdream.study", "onnxdream.cli"},
    "runtime": EXPORTING | {"onnxdream.export", "onnxdream.study", "onnxdream.cli"},
    "export": {"cv2", "onnxdream.runtime", "onnxdream.study", "onnxdream.cli"},
    "study": EXPORTING | {"onnxdream.export", "onnxdream.cli"},
}
# The wings and files of runtime/, floor by floor: each may enter itself and what lies below it, and nothing else.
FLOORS: tuple[set[str], ...] = (
    {"errors"},
    {"settings", "film"},
    {"provider", "image"},
    {"bundle"},
    {"ascent"},
    {"dream", "deploying"},
    {"footprint", "batch"},
    {"bench", "deploy", "doctor", "verify"},
    {"__init__"},
)
MOST_FILES = 10  # of a wing


def rooms() -> list[str]:
    """Folders of the checkout with an __init__.py, as dotted names below the package."""
    found = [path.parent.relative_to(ROOT) for path in ROOT.rglob("__init__.py")]
    kept = [f for f in found if not f.parts or not (f.parts[0] in OUTSIDE or f.parts[0].startswith("."))]
    return sorted(".".join(("onnxdream", *folder.parts)) for folder in kept if "site-packages" not in folder.parts)


def packages() -> list[str]:
    """The list in pyproject.toml (read as text: Python 3.10 has no tomllib)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^packages = (\[[^\]]*\])", text, re.MULTILINE)
    assert found
    listed: list[str] = ast.literal_eval(found[1])
    return listed


def modules(room: str) -> list[Path]:
    """Every module in a room and in its wings."""
    return sorted((ROOT / room).rglob("*.py"))


def imports(module: Path, everywhere: bool = True) -> Iterator[str]:
    """Full names of what a module imports, everywhere in its code or only when it is imported itself."""
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
    """The packages among them that are neither ours nor Python's own."""
    return {name.split(".")[0] for name in names} - {"onnxdream"} - set(sys.stdlib_module_names)


def entered(module: Path, names: set[str]) -> set[str]:
    return {name for name in names for found in imports(module) if found == name or found.startswith(f"{name}.")}


def test_the_wheel_holds_every_room_of_the_package() -> None:
    assert sorted(packages()) == rooms()


@pytest.mark.parametrize("room", [room for room in FORBIDDEN if (ROOT / room).is_dir()])
def test_a_room_imports_only_what_it_may(room: str) -> None:
    assert modules(room)
    trespasses = {module.name: entered(module, FORBIDDEN[room]) for module in modules(room)}
    assert not {name: found for name, found in trespasses.items() if found}


def wing(module: str) -> str:
    """The wing or file of runtime/ that a full name of the runtime lies in."""
    return (module.removeprefix("onnxdream.runtime").removeprefix(".") or "__init__").split(".")[0]


def floor(name: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if name in names)


def test_arrows_between_wings_go_down() -> None:
    wings = {path.relative_to(ROOT / "runtime").with_suffix("").parts[0] for path in modules("runtime")}
    assert wings == set().union(*FLOORS)
    for module in modules("runtime"):
        own = wing(f"onnxdream.runtime.{'.'.join(module.relative_to(ROOT / 'runtime').with_suffix('').parts)}")
        bases = {name for name in imports(module) if name.startswith("onnxdream.runtime")}
        entered_wings = {wing(name) for name in bases if wing(name) in wings} - {own}
        assert all(floor(other) < floor(own) for other in entered_wings), (module.name, entered_wings)


def test_a_wing_is_small_and_says_what_it_is() -> None:
    for folder in {path.parent for path in modules("runtime")} - {ROOT / "runtime"}:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert 2 < len(files) <= MOST_FILES, folder
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), folder


def test_no_module_enters_one_that_enters_it() -> None:
    """Not by way of others either, nor for its types alone."""
    names = {f"onnxdream.{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}": path for path in package_modules()}
    arrows = {name: {found for found in imports(path) if found in names} for name, path in names.items()}
    while arrows:
        free = {name for name, entered_ones in arrows.items() if not entered_ones & set(arrows)}
        assert free, sorted(arrows)
        for name in free:
            del arrows[name]


def package_modules() -> list[Path]:
    return [path for room in FORBIDDEN for path in modules(room) if path.name != "__init__.py"]


def test_the_runtime_needs_nothing_but_its_few_dependencies() -> None:
    for module in (*modules("runtime"), *modules("models")):
        assert others(imports(module, everywhere=False)) <= DREAMING, module.name
        assert others(imports(module)) <= DREAMING | OPTIONAL, module.name


def test_the_scan_sees_imports_that_are_there() -> None:
    """So that the tests above can fail."""
    assert "onnxdream.models" in entered(ROOT / "export" / "bundle.py", {"onnxdream.models"})
    assert "tensorflow" in entered(ROOT / "export" / "conversion.py", EXPORTING)
    assert "onnxdream.export" in entered(ROOT / "cli.py", {"onnxdream.export"})
    assert not entered(ROOT / "models" / "library.py", {"onnx"})


def test_contributing_names_the_processes_that_rooms_start_in_others() -> None:
    """Which no import shows."""
    walls = [(room, other) for room, names in FORBIDDEN.items() for other in names if other.startswith("onnxdream.")]
    found = {
        (module.relative_to(ROOT).as_posix(), name)
        for room, other in walls
        for module in modules(room)
        for name in re.findall(rf'"({re.escape(other)}[\w.]*)"', module.read_text(encoding="utf-8"))
    }
    contributing = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    assert found == set(re.findall(r"`([a-z_/]+\.py)` starts `python -m ([a-z_.]+)`", contributing))


def test_in_models_only_the_assembly_computes_and_arrays_are_named() -> None:
    assert [module.name for module in modules("models") if entered(module, {"numpy"})] == ["arrays.py", "assembly.py"]
