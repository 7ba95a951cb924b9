"""Imports point downwards, and what is heavy is imported only where it is needed.

Complexity and the number of arguments are limited by ruff (C901, PLR0913).
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "restore"

# A room may import from itself and from rooms above it in this list.
ROOMS = [
    "restore.errors",
    "restore.image",
    "restore.view",
    "restore.models",
    "restore.tasks",
    "restore.engine",
    "restore.pipeline",
    "restore.evaluation",
    "restore.training",
    "restore.autoencoders",
    "restore.web",
    "restore.cli",
    "restore",
]
# Beyond that order: tasks know neither engine nor files, and the engine knows no task.
FORBIDDEN = {
    "restore.tasks": ("restore.engine", "restore.image.read", "restore.image.write"),
    "restore.engine": ("restore.tasks",),
}
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


def forbidden_imports(module: str, imported: set[str]) -> set[str]:
    found = set()
    for room, rooms in FORBIDDEN.items():
        if f"{module}.".startswith(f"{room}."):
            found |= {
                name for name in imported if f"{name}.".startswith(tuple(f"{r}." for r in rooms))
            }
    return found


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_tasks_and_engine_do_not_know_each_other(path: Path) -> None:
    assert not forbidden_imports(module_of(path), imports_of(path))


def test_a_forbidden_import_would_be_found(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from restore.cli import console\n")
    assert imports_of(bad) == {"restore.cli.console"}
    assert room_of("restore.cli.console") > room_of("restore.engine.tiling")
    bad.write_text(
        "from restore.engine.tiling import split\nfrom restore.image import read, color\n"
    )
    found = forbidden_imports("restore.tasks.denoise", imports_of(bad))
    assert found == {"restore.engine.tiling", "restore.image.read"}


def test_every_room_has_its_place() -> None:
    on_disk = {f"restore.{p.name}" for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert on_disk <= set(ROOMS), "put the new room into ROOMS, where it belongs"


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
def test_every_module_says_what_belongs_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


HEAVY = ("torch", "torchvision", "numpy", "cv2", "skimage", "PIL", "tifffile", "matplotlib")


def run_python(code: str) -> str:
    """What the code prints in a process of its own, where the package under test is imported."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import restore",
        "import restore.cli",
        "sys.argv = ['restore', '--help']; from restore.cli import main; main()",
        "sys.argv = ['restore', 'denoise', '--help']; from restore.cli import main; main()",
    ],
)
def test_nothing_heavy_is_imported_before_there_is_work(code: str) -> None:
    shown = run_python(
        "import sys\n"
        f"try:\n    {code}\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('imported', *sorted(set(sys.modules) & set({HEAVY})))"
    )
    assert shown.splitlines()[-1].split() == ["imported"]


def test_restoring_pictures_needs_no_torchvision(samples: Path, tmp_path: Path) -> None:
    """The registry's torchvision works with the CUDA build of torch alone."""
    target = tmp_path / "restored.png"
    run_python(
        "import sys, numpy as np\n"
        "sys.modules['torchvision'] = None  # importing it fails\n"
        "import restore\n"
        "picture = np.full((24, 32, 3), 90, np.uint8)\n"
        "restore.denoise(picture, 'denoise-photo-fast', device='cpu')\n"
        "restore.upscale(picture, 2, device='cpu')\n"
        f"sys.argv = ['restore', 'denoise', {str(samples / 'text.png')!r}, '-o', {str(target)!r}, "
        "'--model', 'denoise-gaussian-fast', '--device', 'cpu']\n"
        "from restore.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )
    assert target.is_file()


def test_a_damaged_file_is_told_without_torch(samples: Path, tmp_path: Path) -> None:
    """It is read while torch is imported, and nobody waits for that to be told."""
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes((samples / "text.png").read_bytes()[:2000])
    shown = run_python(
        "import contextlib, io, sys\n"
        "sys.modules['torch'] = None  # importing it fails\n"
        f"sys.argv = ['restore', 'denoise', {str(damaged)!r}, '--model', 'denoise-photo-fast']\n"
        "from restore.cli import main\n"
        "with contextlib.redirect_stderr(io.StringIO()) as told:\n"
        "    try:\n        main()\n    except SystemExit as end:\n        print('code', end.code)\n"
        "print(told.getvalue().replace('\\n', ' '))"
    )
    assert "code 2" in shown and "damaged.png is truncated" in shown
    assert sorted(tmp_path.iterdir()) == [damaged]
