"""The noise of a picture: where it is looked for, how it is fitted, what it allows to go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from restore.models.folders import weights_folder
from restore.models.noise_level import FAINTEST
from restore.tasks.noise_level import (
    BINS,
    SIDE,
    Crop,
    Noise,
    bounded,
    choose_crops,
    estimate_from,
    estimate_noise,
    fit,
    noise_floor,
    quiet_floor,
    raised,
    white,
)
from restore.training.degradations.patterns import FAMILIES, one_pattern

SHIPPED = (weights_folder() / "noise-level.safetensors").is_file()
SHARP = ("screen", "brick", "lettering", "checkerboard")  # whose edges are counted in part
needs_weights = pytest.mark.skipif(not SHIPPED, reason="the estimator's weights are not here")


def flat_noise(luma: float, chroma: float) -> Noise:
    return Noise(luma, chroma, luma, np.tile([luma, chroma], (BINS, 1)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("reach", [1.0, 4.0])
def test_no_sample_moves_by_more_than_the_noise_allows(
    rng: np.random.Generator, channels: int, reach: float
) -> None:
    original, restored = rng.random((2, 24, 32, channels), np.float32)
    noise = flat_noise(6.0, 0.0)
    found = bounded(original, restored.copy(), noise, reach)
    assert np.abs(found - original).max() <= reach * 6.0 / 255 + 1e-6
    assert np.abs(found - original).max() > reach * 5.9 / 255


def test_what_moves_less_than_the_bound_is_left_alone(rng: np.random.Generator) -> None:
    original = rng.random((16, 16, 3), np.float32)
    restored = original + rng.uniform(-0.01, 0.01, original.shape).astype(np.float32)
    found = bounded(original, restored.copy(), flat_noise(5.0, 5.0))
    np.testing.assert_array_equal(found, restored)


def test_the_bound_follows_the_brightness() -> None:
    curve = np.zeros((BINS, 2))
    curve[:, 0] = np.linspace(8, 1, BINS)  # strong in the dark
    noise = Noise(4.0, 0.0, 4.0, curve)
    dark, bright = np.full((2, 8, 8, 1), 0.0, np.float32)
    bright += 1
    moved = [
        np.abs(bounded(x, (x + 0.5 * s).astype(np.float32), noise, 2.0) - x).max() * 255
        for x, s in ((dark, 0.2), (bright, -0.2))
    ]
    assert moved[0] > 2 * moved[1]


def test_each_part_is_bounded_as_in_the_whole(rng: np.random.Generator) -> None:
    original, restored = rng.random((2, 20, 20, 3), np.float32)
    noise = flat_noise(10.0, 3.0)
    whole = bounded(original, restored.copy(), noise)
    part = bounded(original[5:12], restored[5:12].copy(), noise)
    np.testing.assert_allclose(part, whole[5:12], atol=1e-7)


def test_the_fit_believes_sure_cells(rng: np.random.Generator) -> None:
    brightness = rng.random(400)
    levels = np.log(np.full((400, 3), np.hypot(5.0, FAINTEST)))
    doubts = np.full((400, 3), -2.0)
    levels[:200] = np.log(60.0)  # half of the picture looks like strong noise, but nobody is sure
    doubts[:200] = 1.5
    found = fit(brightness, levels, doubts)
    assert found.luma == pytest.approx(5.0, rel=0.1)
    assert found.curve.shape == (BINS, 2)


def test_the_fit_finds_noise_that_depends_on_brightness(rng: np.random.Generator) -> None:
    brightness = rng.random(4000)
    levels = np.repeat(np.log(2 + 10 * brightness)[:, None], 3, 1)
    found = fit(brightness, levels, np.full((4000, 3), -1.0))
    middles = (np.arange(BINS) + 0.5) / BINS
    np.testing.assert_allclose(found.curve[:, 0], 2 + 10 * middles, rtol=0.25)
    assert np.all(np.diff(found.curve[:, 0]) > 0)


def test_a_level_that_is_asked_for_takes_the_place_of_the_estimate() -> None:
    noise = replace(flat_noise(4.0, 3.0), fine=2.0)
    scaled = noise.scaled_to(2 * noise.level)
    assert scaled.conditions == pytest.approx((9.6, 7.2, 4.8))
    np.testing.assert_allclose(scaled.curve, 2 * noise.curve)
    assert flat_noise(0, 0).scaled_to(10).luma == pytest.approx(white(10).luma)
    assert flat_noise(0.1, 0.1).negligible and not noise.negligible


@pytest.mark.parametrize("size", [(40, 50), (96, 2000), (3000, 4000)])
def test_crops_lie_inside_and_are_few(size: tuple[int, int]) -> None:
    asked: list[Crop] = []

    def cut(crop: Crop) -> np.ndarray:
        asked.append(crop)
        return np.zeros((crop[2], crop[3], 3), np.float32)

    crops = choose_crops(cut, *size)
    assert 1 <= len(crops) <= 64
    for top, left, height, width in [*crops, *asked]:
        assert top >= 0 and top + height <= size[0] and height <= SIDE
        assert left >= 0 and left + width <= size[1] and width <= SIDE


@pytest.mark.parametrize("size", [(40, 50), (128, 128), (190, 500), (700, 760)])
def test_all_of_a_small_picture_is_seen(size: tuple[int, int]) -> None:
    seen = np.zeros(size, bool)
    pixels = np.zeros((*size, 3), np.float32)
    for top, left, height, width in choose_crops(lambda c: pixels[: c[2], : c[3]], *size):
        seen[top : top + height, left : left + width] = True
    assert seen.all()


def test_one_crop_of_many_does_not_decide_how_far_the_estimate_is_raised() -> None:
    noise = flat_noise(2, 2)
    floors = np.full((20, 3), 4.0)
    floors[7] = 0.5  # an even corner, where the camera has smoothed the noise away
    assert raised(noise, quiet_floor(floors)).luma == pytest.approx(4)


@needs_weights
@pytest.mark.parametrize("size", [(5, 3, 3), (40, 9, 1), (100, 300, 1)])
def test_pictures_of_any_size_have_an_estimate(size: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).random(size, np.float32)
    found = estimate_noise(pixels)
    assert np.isfinite(found.conditions).all() and np.isfinite(found.curve).all()


@needs_weights
@pytest.mark.parametrize("sigma", [12.0, 30.0])
def test_white_noise_over_a_pattern_is_found(sigma: float) -> None:
    picture = one_pattern("weave", 192, 8, 20, 0.3)[0].permute(1, 2, 0).numpy()
    noise = np.random.default_rng(0).standard_normal(picture.shape).astype(np.float32)
    found = estimate_noise(picture + noise * (sigma / 255))
    assert found.luma == pytest.approx(white(sigma).luma, rel=0.3)
    assert found.chroma == pytest.approx(white(sigma).chroma, rel=0.4)


@needs_weights
@pytest.mark.parametrize("family", FAMILIES)
def test_a_clean_pattern_has_next_to_no_noise(family: str) -> None:
    picture = one_pattern(family, 192, 7, 20, 0.6)[0].permute(1, 2, 0).numpy()
    assert estimate_noise(picture).level < (6 if family in SHARP else 2)


@needs_weights
def test_a_picture_read_in_parts_has_the_same_noise() -> None:
    pixels = np.random.default_rng(1).random((200, 230, 3), np.float32)

    def cut(crop: Crop) -> np.ndarray:
        top, left, height, width = crop
        return pixels[top : top + height, left : left + width]

    assert estimate_from(cut, 200, 230).conditions == pytest.approx(
        estimate_noise(pixels).conditions
    )


@pytest.mark.parametrize("sigma", [2.0, 20.0])
def test_the_floor_of_white_noise_is_its_level(rng: np.random.Generator, sigma: float) -> None:
    pixels = 0.5 + sigma / 255 * rng.standard_normal((96, 96, 3)).astype(np.float32)
    expected = white(sigma)
    numbers = (expected.luma, expected.chroma, expected.fine)
    np.testing.assert_allclose(noise_floor(pixels), numbers, rtol=0.06)


@pytest.mark.parametrize("family", ["mesh", "weave", "halftone", "grating", "dots"])
def test_what_repeats_does_not_raise_the_floor(rng: np.random.Generator, family: str) -> None:
    pattern = one_pattern(family, 96, 5, 20, 0.8)[0].permute(1, 2, 0).numpy()
    assert pattern.std() * 255 > 20
    assert noise_floor(pattern)[0] < 2
    noisy = pattern + 5 / 255 * rng.standard_normal((96, 96, 3)).astype(np.float32)
    assert noise_floor(noisy)[0] == pytest.approx(white(5).luma, rel=0.35)


def test_a_small_crop_has_no_floor() -> None:
    assert np.isinf(noise_floor(np.zeros((16, 96, 3), np.float32))).all()
