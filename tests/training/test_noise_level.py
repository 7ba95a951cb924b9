"""Training of the estimator: what it is to say of a cell, and that it learns to say it."""

from __future__ import annotations

import math

import pytest
import torch

from restore.models.noise_level import FAINTEST, NoiseEstimator
from restore.training.crops import PictureStore
from restore.training.degradations.pairs import Pair
from restore.training.noise_level import (
    error_of,
    estimator_loss,
    sharp_photographs,
    train_estimator,
    true_levels,
    with_plain_noise,
    with_sharp_photographs,
    with_sharpened_noise,
)
from restore.training.recipe import Recipe, make_recipe


def test_the_truth_is_the_level_around_each_cell(generator: torch.Generator) -> None:
    noise = torch.zeros(1, 3, 32, 96)
    noise[..., 48:] = 20 * torch.randn(1, 3, 32, 48, generator=generator)
    truth = true_levels(noise)
    assert truth.shape == (1, 3, 4, 12)
    torch.testing.assert_close(truth[..., :4], torch.full((1, 3, 4, 4), math.log(FAINTEST)))
    assert float(truth[0, 0, :, 8:].mean()) == pytest.approx(math.log(20 * 0.668), abs=0.1)


def test_the_loss_is_least_at_the_truth_and_at_the_true_doubt() -> None:
    truth = torch.zeros(1, 3, 8, 8)
    sure, unsure = torch.full_like(truth, -2), torch.zeros_like(truth)
    assert estimator_loss(truth, sure, truth) < estimator_loss(truth, unsure, truth)
    wrong = truth + 1.0
    assert estimator_loss(wrong, unsure, truth) < estimator_loss(wrong, sure, truth)


def test_noise_of_any_level_takes_the_place_of_some(generator: torch.Generator) -> None:
    clean = torch.full((200, 3, 16, 16), 0.5)
    pair = with_plain_noise(Pair(clean, clean), generator)
    noise = (pair.degraded - clean).std((1, 2, 3)) * 255
    assert 90 < int((noise > 0).sum()) < 150
    assert noise.max() > 15


def test_sharp_photographs_are_clean_and_take_the_place_of_some(
    store: PictureStore, generator: torch.Generator
) -> None:
    drawn = [sharp_photographs(store, 4, 16, generator) for _ in range(20)]
    assert {tuple(crops.shape) for crops in drawn} == {(4, 3, 16, 16)}
    sharp = torch.cat(drawn)
    torch.testing.assert_close((sharp * 255).round() / 255, sharp)
    plain = store.crops(80, 16, generator)
    assert (sharp.diff(dim=3).abs().mean()) > 1.1 * plain.diff(dim=3).abs().mean()
    grey = torch.full((80, 3, 16, 16), 0.5)
    clean, degraded, _ = with_sharp_photographs(Pair(grey, grey + 0.1), sharp, generator)
    taken = (clean != grey).flatten(1).any(1)
    assert 10 < int(taken.sum()) < 40
    torch.testing.assert_close(clean[taken], degraded[taken])
    torch.testing.assert_close(degraded[~taken], grey[~taken] + 0.1)


def test_noise_is_sharpened_with_its_picture_in_some(generator: torch.Generator) -> None:
    clean = torch.full((60, 3, 24, 24), 0.5)
    noise = 0.02 * torch.randn(clean.shape, generator=generator)
    found = with_sharpened_noise(Pair(clean, clean + noise), generator)
    torch.testing.assert_close(found.clean, clean, atol=1 / 255, rtol=0)  # nothing to sharpen
    grown = (found.degraded - found.clean).flatten(1).std(1) / noise.flatten(1).std(1)
    assert 5 < int((grown > 1.2).sum()) < 25
    assert int((grown < 1.02).sum()) > 30


def test_it_learns(tiny: Recipe, store: PictureStore) -> None:
    recipe = make_recipe(
        {**tiny.to_dict(), "degradation": "photo", "patterned": 0.5, "clean": 0.3}, "t"
    )
    seen: list[int] = []
    network = train_estimator(
        store, recipe, 3, batch=2, side=32, report=lambda step, loss: seen.append(step)
    )
    assert seen == [1, 2, 3]
    further = train_estimator(store, recipe, 1, batch=2, side=32, start=network)
    assert isinstance(further, NoiseEstimator)
    clean = torch.rand(2, 3, 32, 32)
    assert error_of(further, [Pair(clean, clean)]) >= 0
