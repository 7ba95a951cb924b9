"""The degradations of a recipe: what is left clean, what is degraded, and how."""

from __future__ import annotations

import pytest
import torch

from restore.models.noise_level import noise_levels
from restore.training.crops import PictureStore
from restore.training.degradations.jpeg import TO_YCC, mix
from restore.training.degradations.noise import luma, spread_noise
from restore.training.degradations.pairs import (
    DEGRADATIONS,
    ValidationSet,
    as_strong,
    draw_qualities,
    enlarge_randomly,
    enlarge_some,
    gaussian,
    mixed_noise,
    noise_inputs_of,
    photo,
    spread_randomly,
)
from restore.training.recipe import DEGRADATION_NAMES, Recipe, make_recipe


def changed(recipe: Recipe, **changes: object) -> Recipe:
    return make_recipe({**recipe.to_dict(), **changes}, "t")


def test_every_name_a_recipe_may_give_has_its_function() -> None:
    assert tuple(DEGRADATIONS) == DEGRADATION_NAMES


def test_a_share_of_the_crops_is_grey_with_one_noise(tiny: Recipe) -> None:
    recipe = changed(tiny, grey=0.5, sigma=[25, 25])
    crops = torch.rand(200, 3, 8, 8)
    clean, noisy, told = gaussian(lambda _: crops, 8, recipe, torch.Generator().manual_seed(0))
    assert told is None
    grey = torch.tensor([bool((c[0] == c[1]).all()) for c in clean])
    assert 60 < grey.sum() < 140
    noise = noisy - clean
    torch.testing.assert_close(noise[grey][:, 0], noise[grey][:, 2], atol=1e-6, rtol=0)
    assert (noise[~grey][:, 0] - noise[~grey][:, 2]).std() * 255 > 30
    assert torch.equal(clean[~grey], crops[~grey])
    assert noise[~grey].std().item() * 255 == pytest.approx(25, rel=0.02)


def test_of_a_share_of_the_crops_the_noise_level_is_told(tiny: Recipe) -> None:
    recipe = changed(tiny, conditioned=0.5, sigma=[5, 75])
    crops = torch.rand(200, 3, 24, 24)
    clean, noisy, told = gaussian(lambda _: crops, 24, recipe, torch.Generator().manual_seed(0))
    assert told is not None
    known = told > 0
    assert 70 < known.sum() < 130
    measured = (noisy - clean).std((1, 2, 3)) * 255
    torch.testing.assert_close(measured[known], told[known], rtol=0.2, atol=0.5)


@pytest.mark.parametrize("name", ["gaussian", "photo"])
def test_every_second_flat_crop_is_without_noise(
    tiny: Recipe, name: str, generator: torch.Generator
) -> None:
    recipe = changed(tiny, degradation=name, flat=1.0, grey=0.0, sigma=[20, 30])
    crops = torch.rand(300, 3, 16, 16, generator=generator)
    clean, degraded, _ = DEGRADATIONS[name](lambda _: crops, 16, recipe, generator)
    assert clean.std((2, 3)).max() < 1e-5
    untouched = ((degraded - clean).abs().amax((1, 2, 3)) < 1e-5).float().mean()
    assert 0.4 < untouched < 0.6
    moved = (degraded.mean((2, 3)) - clean.mean((2, 3))).abs().median()
    assert moved * 255 < 1


def test_photo_gives_levels_and_leaves_some_crops_clean(
    tiny: Recipe, generator: torch.Generator
) -> None:
    recipe = changed(tiny, degradation="photo", grey=0.1, clean=0.2)
    crops = (torch.rand(400, 3, 16, 16, generator=generator) * 255).round() / 255
    clean, degraded, _ = photo(lambda _: crops, 16, recipe, generator)
    assert degraded.min() >= 0 and degraded.max() <= 1
    same = (degraded - clean).abs().amax((1, 2, 3)) < 1e-4
    assert 50 < same.sum() < 130
    grey = (luma(clean) - clean).abs().amax((1, 2, 3)) < 1e-6
    assert 15 < grey.sum() < 80
    # a grey photograph stays grey, but for what JPEG's colour rounding does
    assert (degraded[grey] - luma(degraded[grey])).abs().max() * 255 <= 2


def test_photo_tells_three_levels_about_as_they_are(
    tiny: Recipe, generator: torch.Generator
) -> None:
    recipe = changed(
        tiny,
        degradation="photo",
        conditioned=1.0,
        noise_inputs=3,
        jitter=0.15,
        clean=0.3,
        patterned=0.5,
    )
    crops = torch.rand(200, 3, 1, 1, generator=generator).expand(-1, -1, 24, 24)
    clean, degraded, told = photo(lambda _: crops, 24, recipe, generator)
    assert told is not None and told.shape == (200, 3)
    truth = noise_levels((degraded - clean) * 255)
    noisy = truth[:, 0] > 3
    ratio = (told / truth.clamp(min=0.1))[noisy, 0]
    assert float(ratio.log().abs().median()) < 0.2
    assert float(told[truth.amax(1) == 0].median()) < 1


def test_a_share_is_told_much_more_noise_than_there_is(
    tiny: Recipe, generator: torch.Generator
) -> None:
    noise = torch.zeros(400, 3, 8, 8)
    for share in (0.0, 0.5):
        recipe = changed(tiny, degradation="photo", noise_inputs=3, overstated=share)
        told = noise_inputs_of(noise, recipe, generator)[:, 0]
        assert float((told > 1).float().mean()) == pytest.approx(share * 7 / 8, abs=0.07)
        assert float(told.max()) <= 8


def test_one_generator_state_gives_one_pair(tiny: Recipe) -> None:
    crops = torch.rand(6, 3, 16, 16)
    recipe = changed(tiny, degradation="photo")
    first, second = (
        photo(lambda _: crops, 16, recipe, torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_each_kind_of_noise_takes_its_share(generator: torch.Generator) -> None:
    clean = torch.full((100, 3, 8, 8), 0.5)
    chance = (torch.arange(100) + 0.5) / 100
    noise = mixed_noise(clean, chance, generator)
    assert noise[:82].abs().amax((1, 2, 3)).gt(0).float().mean() > 0.97
    assert noise[82:].abs().max() == 0


def test_spreading_keeps_noise_free_of_bias_and_correlates_it(generator: torch.Generator) -> None:
    noise = torch.randn(200, 3, 32, 32, generator=generator)
    spread = spread_randomly(noise, generator)
    assert spread.mean().abs() < 0.02
    untouched = (spread - noise).abs().amax((1, 2, 3)) < 1e-3
    assert 0.12 < untouched.float().mean() < 0.28
    planes = mix(spread[~untouched], TO_YCC)
    neighbours = (planes[..., 1:] * planes[..., :-1]).mean((2, 3)) / planes.square().mean((2, 3))
    assert 0.1 < neighbours[:, 0].median() < neighbours[:, 1].median()
    assert neighbours[:, 1].median() > 0.6


def test_noise_that_was_smoothed_gets_its_strength_back(generator: torch.Generator) -> None:
    noise = torch.randn(2, 3, 64, 64, generator=generator)
    smooth = spread_noise(noise, torch.ones(2), torch.tensor([1.0, 3.0]), torch.zeros(2))
    gains = torch.tensor([[1.0, 0.5], [0.8, 0.4]])
    strong, before = mix(as_strong(smooth, noise, gains), TO_YCC), mix(noise, TO_YCC)
    for part, gain in ((slice(0, 1), gains[0]), (slice(1, 3), gains[1])):
        ratio = [p[:, part].square().mean((1, 2, 3)).sqrt() for p in (strong, before)]
        torch.testing.assert_close(ratio[0] / ratio[1], gain, atol=1e-3, rtol=0)


def test_three_of_four_crops_are_enlarged_about_their_middle(generator: torch.Generator) -> None:
    ramp = torch.linspace(0.1, 0.9, 33).expand(400, 3, 33, 33).contiguous()
    larger = enlarge_some(ramp, generator)
    torch.testing.assert_close(larger[..., 16], ramp[..., 16], atol=1e-5, rtol=0)
    slope = (larger[:, 0, 16, 17] - larger[:, 0, 16, 15]) / (
        ramp[0, 0, 16, 17] - ramp[0, 0, 16, 15]
    )
    assert 0.65 < (slope < 0.999).float().mean() < 0.85
    assert 0.25 <= slope.min() < 0.3 and slope.max() < 1.001
    assert torch.equal(larger[slope > 0.999], ramp[slope > 0.999])


def test_enlarging_treats_both_of_a_pair_alike() -> None:
    picture = torch.rand(2, 3, 24, 24)
    changed_batches = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        clean, degraded = enlarge_randomly(picture, picture.clone(), generator)
        assert clean.shape == picture.shape
        assert torch.equal(clean, degraded)
        changed_batches += not torch.equal(clean, picture)
    assert 2 <= changed_batches <= 16


def test_half_of_the_qualities_are_those_of_cameras(generator: torch.Generator) -> None:
    qualities = draw_qualities(10_000, generator)
    assert qualities.min() == 10
    assert qualities.max() == 100
    assert (qualities > 75).float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", DEGRADATION_NAMES)
def test_validation_is_the_same_in_every_run(tiny: Recipe, store: PictureStore, name: str) -> None:
    enlarging = {} if name in ("gaussian", "photo") else {"network": "upscaler", "scale": 2}
    pairs = ValidationSet(store, changed(tiny, degradation=name, **enlarging))
    first, second = list(pairs), list(pairs)
    assert len(first) == len(second) >= 1
    for (clean, degraded, _), (again, degraded_again, _) in zip(first, second, strict=True):
        assert torch.equal(clean, again)
        assert torch.equal(degraded, degraded_again)
        assert not torch.equal(clean, degraded)
