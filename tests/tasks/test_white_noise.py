"""The noise level is found from the picture alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restore.image.read import load_image
from restore.tasks.white_noise import estimate_sigma


def noisy(clean: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, sigma / 255, clean.shape)
    return (clean + noise).astype(np.float32)


@pytest.mark.parametrize("sigma", [5, 15, 25, 50])
def test_it_is_right_to_a_few_tenths(samples: Path, sigma: float) -> None:
    for name in ("fur-clean.png", "portrait-16bit-clean.png"):
        clean = load_image(samples / name).pixels
        assert estimate_sigma(noisy(clean, sigma)) == pytest.approx(sigma, abs=0.5)


def test_grey_in_one_channel_and_in_three_is_the_same(samples: Path) -> None:
    grey = noisy(load_image(samples / "fur-clean.png").pixels[..., :1], 20)
    assert estimate_sigma(grey) == pytest.approx(20, abs=1)
    assert estimate_sigma(np.repeat(grey, 3, axis=2)) == estimate_sigma(grey)


def test_large_pictures_are_sampled_and_cost_little(rng: np.random.Generator) -> None:
    large = np.full((1500, 1400, 3), 0.5, np.float32)
    large += rng.normal(0, 10 / 255, large.shape).astype(np.float32)
    assert estimate_sigma(large) == pytest.approx(10, abs=0.1)


def test_without_noise_there_is_none() -> None:
    assert estimate_sigma(np.full((60, 60, 3), 0.3, np.float32)) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 90, 3), (20, 20, 3)])
def test_too_small_to_tell(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    assert estimate_sigma(rng.random(shape, np.float32)) == 0
