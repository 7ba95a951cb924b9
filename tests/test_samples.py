"""The samples are what the script makes of scikit-image's pictures, each with its reference."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from restore.image.picture import quantise
from restore.image.read import load_image


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "benchmarks" / "make_samples.py"
    spec = importlib.util.spec_from_file_location("make_samples", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_samples"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_them_again(
    script: ModuleType, samples: Path, tmp_path: Path, assert_same_picture: Callable[..., None]
) -> None:
    script.main(tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    kept = {path.name for path in samples.glob("*.png") if "-restored" not in path.name}
    assert made == kept
    for name in made:
        mine, theirs = load_image(samples / name), load_image(tmp_path / name)
        assert mine.depth == theirs.depth, name
        assert_same_picture(*(quantise(picture.pixels, mine.depth) for picture in (mine, theirs)))
        assert (mine.alpha is None) == (theirs.alpha is None)


def test_each_is_listed_with_source_and_licence(samples: Path) -> None:
    rows = [r for r in (samples / "README.md").read_text().splitlines() if r.startswith("| `")]
    listed = {row.split("`")[1] for row in rows}
    noisy = {p.name for p in samples.glob("*.png") if not p.stem.endswith(("-clean", "-restored"))}
    assert listed == noisy
    assert all("public domain" in row or "CC0" in row for row in rows)


def test_each_difficulty_is_there(samples: Path) -> None:
    assert load_image(samples / "portrait-16bit.png").depth == 16
    assert load_image(samples / "cut-out.png").alpha is not None
    assert (
        load_image(samples / "grey.png").channels == load_image(samples / "text.png").channels == 1
    )
    assert load_image(samples / "night-clean.png").pixels.mean() < 0.35
    assert not (samples / "handwriting-clean.png").exists()  # real noise has no reference
