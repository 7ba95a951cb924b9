"""The public names, and what importing them costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import restore


def test_all_names_are_importable_and_sorted() -> None:
    assert restore.__all__ == sorted(restore.__all__)
    for name in restore.__all__:
        assert getattr(restore, name).__name__ == name


def test_the_names_for_type_checkers_are_the_same() -> None:
    tree = ast.parse(Path(restore.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    names = {alias.asname for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert names == set(restore.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(restore, "enhance")


def test_importing_the_package_and_scoring_pictures_needs_no_torch(samples: Path) -> None:
    code = (
        "import sys, restore; assert 'numpy' not in sys.modules; restore.psnr; restore.load_image; "
        f"restore.load_image({str(samples / 'text.png')!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
