"""Recipes are flat, complete, and refuse what they do not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from restore.errors import TrainingError
from restore.models.weights import read_card
from restore.training.recipe import Recipe, load_recipe, make_recipe, shipped_recipes


def test_shipped_recipes_load() -> None:
    assert "denoise-gaussian" in shipped_recipes()
    for name in shipped_recipes():
        assert load_recipe(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("denoise-gaussian", "denoise-gaussian-fast", "denoise-photo"),
        *("upscale-x2", "upscale-x3", "upscale-x4"),
        *("upscale-x2-fast", "upscale-x3-fast", "upscale-x4-fast"),
    ],
)
def test_the_shipped_weights_were_made_by_the_shipped_recipe(name: str) -> None:
    """Or finished by another one, at low rates, which began with what it gave."""
    training, recipe = read_card(name).training, load_recipe(name)
    while make_recipe(training["recipe"], "card") != recipe:  # older cards lack the newest keys
        assert training["recipe"]["kernel_rate"] < recipe.kernel_rate
        training = training["started_from"]
    assert training["steps"] == recipe.steps


def test_a_recipe_survives_the_card() -> None:
    recipe = load_recipe("denoise-gaussian")
    assert make_recipe(recipe.to_dict(), "card") == recipe


def test_overrides_replace_values() -> None:
    assert load_recipe("denoise-gaussian", steps=7, seed=3).steps == 7


def test_files_are_recipes_too(tiny_toml: Path, tiny: Recipe) -> None:
    assert load_recipe(str(tiny_toml)) == tiny


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_speed": 1}, "unknown keys: learning_speed; known are name"),
        ({"steps": "many"}, "steps must be int, not 'many'"),
        ({"steps": True}, "steps must be int"),
        ({"steps": 0}, "at least 1"),
        ({"blocks": [1]}, "one count of blocks"),
        ({"loss": "psnr"}, "l1, charbonnier"),
        ({"loss": ["l1", "mse", "l1"]}, "one of them for each stage"),
        ({"sigma": [50, 10]}, "low <= high"),
        ({"patch": [16, 24, 32]}, "one entry a stage"),
        ({"patch": [15, 24]}, "multiples of"),
        ({"stages": [0.5, 0.7]}, "rise from 0"),
        ({"grey": 2}, "shares between 0 and 1"),
        ({"ema": 1}, "below 1"),
        ({"channels": 4}, "1 or 3"),
    ],
)
def test_impossible_values_are_refused_in_words(
    tiny: Recipe, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        make_recipe({**tiny.to_dict(), **change}, "tiny")


def test_unknown_names_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="denoise-gaussian"):
        load_recipe("denoise-all")
    broken = tmp_path / "broken.toml"
    broken.write_text("steps = = 3")
    with pytest.raises(TrainingError, match="not TOML"):
        load_recipe(str(broken))
    broken.write_text("steps = 3")
    with pytest.raises(TrainingError, match="no name"):
        load_recipe(str(broken))


def test_rates_rise_and_fall(tiny: Recipe) -> None:
    recipe = make_recipe({**tiny.to_dict(), "steps": 100, "warmup": 10, "decay": 0.5}, "t")
    rates = [recipe.rate(step, step / 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:50] == [1.0] * 40
    assert rates[75] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.03


def test_stages_begin_at_their_share(tiny: Recipe) -> None:
    stages = [tiny.stage(step / 8)[:2] for step in (0, 3, 4, 7)]
    assert stages == [(2, 16), (2, 16), (1, 24), (1, 24)]


def test_a_loss_is_that_of_all_stages_or_there_is_one_for_each(tiny: Recipe) -> None:
    other = make_recipe({**tiny.to_dict(), "loss": ["l1", "log_mse"]}, "t")
    assert [tiny.stage(passed).loss for passed in (0, 0.9)] == ["l1", "l1"]
    assert [other.stage(passed).loss for passed in (0, 0.49, 0.5)] == ["l1", "l1", "log_mse"]


@pytest.mark.parametrize(
    "content",
    [b"a = " + b"[" * 50_000, b"steps = " + b"9" * 6000, b"\xff\xfe", b"steps = \0"],
    ids=["deep", "digits", "utf-16", "zero"],
)
def test_a_hostile_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"r\.toml is"):
        load_recipe(str(path))


def test_absurd_networks_are_refused() -> None:
    for changes in ({"widths": [10**9, 64, 64, 64]}, {"blocks": [10**6, 1, 1, 1]}):
        with pytest.raises(TrainingError, match="widths are 1 to 4096"):
            load_recipe("denoise-gaussian", **changes)
