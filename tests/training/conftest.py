"""A recipe that trains in a second, and pictures to train it on."""

from __future__ import annotations

from pathlib import Path

import pytest

from restore.training.crops import PictureStore, load_store
from restore.training.recipe import Recipe, make_recipe

TINY = {
    "name": "tiny",
    "widths": [4, 8],
    "blocks": [1, 1],
    "sigma": [10, 40],
    "grey": 0.3,
    "steps": 8,
    "batch": [2, 1],
    "patch": [16, 24],
    "stages": [0.0, 0.5],
    "warmup": 2,
    "validate_every": 4,
    "validate_side": 32,
    "validate_sigma": [25],
}


@pytest.fixture
def tiny() -> Recipe:
    return make_recipe(TINY, "tiny")


@pytest.fixture
def tiny_toml(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    lines = [f"{k} = {v!r}".replace("'", '"') for k, v in TINY.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def store(samples: Path) -> PictureStore:
    return load_store(samples, 3, 32)
