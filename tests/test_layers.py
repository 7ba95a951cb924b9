"""The house keeps its shape: imports point downwards, nothing grows too large, nobody prints."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "restore"

# A room may import from itself and from rooms above it in this list.
ROOMS = [
    "restore.errors",
    "restore.image",
    "restore.models",
    "restore.tasks",
    "restore.engine",
    "restore.pipeline",
    "restore.evaluation",
    "restore.training",
    "restore.autoencoders",
    "restore.cli",
    "restore",
]
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> int:
    matches = [i for i, room in enumerate(ROOMS) if module == room or module.startswith(room + ".")]
    return max(matches, key=lambda i: len(ROOMS[i]))


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it, relative imports resolved."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import; name the module in full"
            base = node.module or ""
            names = {f"{base}.{alias.name}" for alias in node.names}
            modules = {n for n in names if is_module(n)}
            found |= modules or {base}
    return {name for name in found if name.split(".")[0] == "restore"}


def is_module(name: str) -> bool:
    base = PACKAGE.parent.joinpath(*name.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_downwards(path: Path) -> None:
    module = module_of(path)
    for imported in imports_of(path):
        assert room_of(imported) <= room_of(module), f"{module} may not import {imported}"
        assert imported != "restore", f"{module} imports the package's own front door"


def test_a_forbidden_import_would_be_found(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from restore.cli import console\n")
    assert imports_of(bad) == {"restore.cli.console"}
    assert room_of("restore.cli.console") > room_of("restore.engine.tiling")


def test_no_import_circles() -> None:
    graph = {module_of(path): imports_of(path) for path in FILES if module_of(path) != "restore"}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for imported in graph.get(module, set()):
                visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{path.name}: {node.name}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_module_says_what_belongs_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
