"""Data walk one way: imports point to lower floors, outside libraries have owners, and nothing goes in circles.

Everything is parsed and nothing imported, so that an import hidden in a function or behind TYPE_CHECKING counts too.
"""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    "errors",
    "config runtime",
    "files series",
    "physics io preprocessing models",
    "datasets estimators information training",
    "analysis",
    "explain",
    "figures page",
    "commands scikit_learn",
    "cli",
    "__main__ completion",
)
FLOOR = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms.split()}
# A library -> where it may be imported. Plain colours and colour scales of matplotlib are drawing too.
OWNERS = {
    "flax": "xrd_jax/models/",
    "orbax": "xrd_jax/training/checkpoint.py",
    "tensorboardX": "xrd_jax/training/tensorboard.py",
    "matplotlib": "xrd_jax/figures/",
    "bokeh": "xrd_jax/page/",
    "gemmi": "xrd_jax/physics/cif.py",
    "sklearn": ("xrd_jax/estimators/", "xrd_jax/scikit_learn/"),
    "onnx": "xrd_jax/commands/onnx_",
}
FILES = sorted(file.relative_to(ROOT) for file in (ROOT / "xrd_jax").rglob("*.py"))
TESTS = sorted(file.relative_to(ROOT) for file in (ROOT / "tests").rglob("*.py"))
PACKAGE_FILES = [file for file in FILES if file != Path("xrd_jax/__init__.py")]


@functools.cache
def imports(file: Path) -> list[tuple[str, int]]:
    """Every module or name that a file imports, in dots, with its line."""
    return list(_imports(file))


def _imports(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{name.name}", node.lineno) for name in node.names)


def module_of(name: str) -> Path | None:
    """The file of this package that a dotted name is in; None for names of other libraries."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = Path(*parts[:end])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if (ROOT / file).is_file():
                return file
    return None


def room_of(file: Path) -> str:
    return file.with_suffix("").parts[1]


@pytest.mark.parametrize("file", PACKAGE_FILES, ids=str)
def test_imports_point_down(file):
    for name, line in imports(file):
        if not name.startswith("xrd_jax."):
            continue
        room = name.split(".")[1]
        if room != room_of(file):
            assert room in FLOOR, f"{file}:{line} imports {name} from the package's front door"
            assert FLOOR[room] < FLOOR[room_of(file)], f"{file}:{line} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_libraries_have_owners(file):
    for name, line in imports(file):
        library = name.split(".")[0]
        assert library not in ("experiments", "tests"), f"{file}:{line} imports {name}"
        assert file.as_posix().startswith(OWNERS.get(library, "")), f"{file}:{line} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_private_names_stay_in_their_file(file):
    for name, line in imports(file):
        private = name.startswith("xrd_jax.") and name.split(".")[-1].startswith("_")
        assert not private, f"{file}:{line} imports {name}"


def test_no_module_leads_back_to_itself():
    graph = {file: {module_of(name) for name, _ in imports(file)} - {None, file} for file in PACKAGE_FILES}
    # A package's own __init__ gathers its modules; they may not need it.
    graphlib.TopologicalSorter(graph).prepare()


def test_every_room_has_a_floor():
    assert {room_of(file) for file in PACKAGE_FILES} == set(FLOOR)


@pytest.mark.parametrize("file", TESTS, ids=str)
def test_tests_import_no_other_test(file):
    for name, line in imports(file):
        assert not name.startswith(("tests.test_", "tests.conftest")), f"{file}:{line} imports {name}"
        assert ".test_" not in name, f"{file}:{line} imports {name}"
