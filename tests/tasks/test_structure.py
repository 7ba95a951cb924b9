"""Structure that a denoiser removed is found and given back; noise is not."""

from __future__ import annotations

import numpy as np
import pytest

from restore.image.picture import Pixels
from restore.tasks.structure import STEP, return_structure
from restore.training.degradations.patterns import FAMILIES, one_pattern

ORDERED = [name for name in FAMILIES if name != "lettering"]


def grey(height: int = 160, width: int = 200) -> Pixels:
    return np.full((height, width, 3), 0.5, np.float32)


def noise(shape: tuple[int, ...], sigma: float) -> Pixels:
    return np.random.default_rng(0).normal(0, sigma / 255, shape).astype(np.float32)


def error(a: Pixels, b: Pixels) -> float:
    return float(np.sqrt(np.square(a - b).mean())) * 255


@pytest.mark.parametrize("family", ORDERED)
def test_a_pattern_that_was_wiped_out_comes_back_from_under_the_noise(family: str) -> None:
    clean = one_pattern(family, 160, 6.0, 15.0, 0.5)[0].permute(1, 2, 0).numpy()
    noisy = clean + noise(clean.shape, 5)
    wiped = np.broadcast_to(clean.mean((0, 1), keepdims=True), clean.shape)
    result = return_structure(noisy, wiped.copy(), 0.5)
    assert error(result, clean) < 0.5 * error(wiped, clean)


@pytest.mark.parametrize("sigma", [2.0, 20.0])
def test_of_white_noise_next_to_nothing_comes_back(sigma: float) -> None:
    noisy = grey() + noise(grey().shape, sigma)
    result = return_structure(noisy, grey(), 0.5)
    assert error(result, grey()) < 0.05 * sigma


def test_more_detail_gives_more_back() -> None:
    noisy = grey() + noise(grey().shape, 20)
    some, more = (error(return_structure(noisy, grey(), d), grey()) for d in (0.5, 1.0))
    assert 0 < some < more


def test_no_detail_gives_nothing_back() -> None:
    noisy = grey() + noise(grey().shape, 20)
    np.testing.assert_array_equal(return_structure(noisy, grey(), 0.0), grey())


@pytest.mark.parametrize("height", [1, 31, 33, 96, 131])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_part_gives_the_rows_of_the_whole(height: int, channels: int) -> None:
    pixels = noise((height, 97, channels), 20) + np.float32(0.5)
    pixels[:, ::4] += np.float32(0.1)
    smooth = np.full_like(pixels, 0.5)
    whole = return_structure(pixels, smooth.copy(), 1.0)
    assert not np.array_equal(whole, smooth)
    for first in range(0, height, STEP):
        top, bottom = max(0, first - STEP), min(height, first + 2 * STEP)
        part = return_structure(pixels[top:bottom], smooth[top:bottom].copy(), 1.0)
        rows = slice(first - top, min(height, first + STEP) - top)
        np.testing.assert_allclose(part[rows], whole[first : first + STEP], rtol=0, atol=1e-6)


def test_more_blocks_than_are_done_at_once_give_the_same() -> None:
    from restore.tasks import structure

    pixels = noise((64, 40 * STEP, 1), 20) + np.float32(0.5)
    smooth = np.full_like(pixels, 0.5)
    whole = return_structure(pixels, smooth.copy(), 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "AT_ONCE", 7)
        parts = return_structure(pixels, smooth.copy(), 1.0)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-6)
