"""Measured noise: its strength, spectrum and curve are those that the pictures were given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from restore.training.noise_model import (
    BINS,
    PATCH,
    NoiseModel,
    autocorrelation,
    even_patches,
    measure_noise,
)
from restore.training.self_supervised import CORRELATED


def scene(rng: np.random.Generator, side: int = 512) -> np.ndarray:
    """Light that falls off over the picture, and a part of it with strong texture."""
    ramp = np.linspace(40, 200, side)[:, None, None] * np.ones((side, side, 3))
    ramp[:, : side // 3] += 40 * np.sign(rng.normal(size=(side, side // 3, 1)))
    return ramp


def white(rng: np.random.Generator, side: int = 512) -> np.ndarray:
    return rng.normal(0, 1, (side, side, 3))


def wide(rng: np.random.Generator, side: int = 512) -> np.ndarray:
    """Noise that is spread over columns more than over rows, and alike in red and green."""
    noise = gaussian_filter(white(rng, side), (0.5, 1.5, 0))
    noise[..., 1] = 0.8 * noise[..., 0] + 0.6 * noise[..., 1]
    return noise / noise.std()


@pytest.mark.parametrize("kind", [white, wide])
def test_the_noise_drawn_is_like_that_measured(
    kind: object, rng: np.random.Generator, generator: torch.Generator
) -> None:
    assert callable(kind)
    noise = 12 * kind(rng)
    model = measure_noise([scene(rng) + noise])
    assert model is not None
    assert model.sigma == pytest.approx(12, rel=0.1)
    crops = torch.full((32, 3, 64, 64), 120 / 255)
    drawn = 255 * model.draw(crops, torch.zeros(32, dtype=torch.int64), generator)
    mine, theirs = (statistics(each) for each in (drawn.double().numpy(), noise.transpose(2, 0, 1)))
    np.testing.assert_allclose(mine, theirs, atol=0.12)


def statistics(noise: np.ndarray) -> list[float]:
    """Correlations (..., C, H, W): of neighbours in a column, in a row, of red and green."""
    spread = (noise**2).mean()
    pairs = (
        (noise[..., 1:, :], noise[..., :-1, :]),
        (noise[..., 1:], noise[..., :-1]),
        (noise[..., 0, :, :], noise[..., 1, :, :]),
    )
    return [float((one * other).mean() / spread) for one, other in pairs]


def test_it_follows_brightness_and_each_picture(
    rng: np.random.Generator, generator: torch.Generator
) -> None:
    clean = scene(rng)
    shot = np.sqrt(clean.clip(1) / 120)  # as strong as one at 120, stronger where it is bright
    model = measure_noise([clean + factor * shot * white(rng) for factor in (6.0, 12.0)])
    assert model is not None
    assert model.strength[1] / model.strength[0] == pytest.approx(2, rel=0.1)
    chosen = torch.ones(32, dtype=torch.int64)
    stds = [
        float(255 * model.draw(torch.full((32, 3, 48, 48), v / 255), chosen, generator).std())
        for v in (60, 120, 180)
    ]
    np.testing.assert_allclose(stds, [12 * np.sqrt(v / 120) for v in (60, 120, 180)], rtol=0.15)


def test_the_noise_of_a_patch_has_no_say_in_whether_it_is_taken(rng: np.random.Generator) -> None:
    """Were the flattest patches taken, noise that is spread would be measured too weak."""
    noise = gaussian_filter(white(rng), (1, 1, 0))
    noise *= 10 / noise.std()
    patches, _ = even_patches(128 + noise)
    assert patches.std() == pytest.approx(10, rel=0.06)


def test_spread_noise_is_told_from_independent_noise(rng: np.random.Generator) -> None:
    ground = scene(rng, 256)
    assert abs(autocorrelation([ground + 12 * white(rng, 256)])) < CORRELATED / 2
    assert autocorrelation([ground + 12 * wide(rng, 256)]) > 2 * CORRELATED
    assert autocorrelation([ground[:, 128:]]) == 0.0  # no noise at all
    assert autocorrelation([ground[: PATCH - 1]]) == 0.0  # no room for a patch


def test_without_noise_there_is_no_model() -> None:
    assert measure_noise([np.full((64, 64, 3), 128.0), np.zeros((20, 20, 3))]) is None


def test_a_picture_without_even_places_has_the_strength_of_the_others(
    rng: np.random.Generator,
) -> None:
    model = measure_noise([scene(rng) + 12 * white(rng), np.zeros((64, 64, 3))])
    assert model is not None and float(model.strength[1]) == 1.0


def test_grey_pictures_have_one_channel(
    rng: np.random.Generator, generator: torch.Generator
) -> None:
    model = measure_noise([128 + 12 * white(rng)[..., :1]])
    assert isinstance(model, NoiseModel) and model.kernel.shape[:2] == (1, 1)
    assert model.curve.shape == (BINS,)
    drawn = model.draw(torch.full((4, 1, 16, 24), 0.5), torch.zeros(4, dtype=int), generator)
    assert drawn.shape == (4, 1, 16, 24)
    assert model.to(torch.device("cpu")).sigma == model.sigma
