"""The numbers that describe noise, and the network that estimates them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from restore.errors import WeightsError
from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser
from restore.models.folders import available_models
from restore.models.noise_level import LEVELS, NoiseEstimator, noise_levels
from restore.models.weights import load_estimator, load_model, save_weights
from restore.training.degradations.noise import spread_noise


def test_white_noise_is_as_fine_as_it_is_strong(generator: torch.Generator) -> None:
    noise = 10 * torch.randn(2, 3, 128, 128, generator=generator)
    luma, chroma, fine = noise_levels(noise).mean(0)
    assert float(luma) == pytest.approx(6.68, rel=0.03)
    assert float(chroma) == pytest.approx(6.41, rel=0.03)
    assert float(fine) == pytest.approx(float(luma), rel=0.03)


def test_coarse_noise_is_less_fine_and_grey_noise_has_no_colour(generator: torch.Generator) -> None:
    noise = 10 * torch.randn(1, 3, 128, 128, generator=generator)
    one = torch.ones(1)
    luma, _, fine = noise_levels(spread_noise(noise, one, one, 0 * one))[0]
    assert fine < 0.6 * luma
    assert noise_levels(noise[:, :1].expand(-1, 3, -1, -1))[0, 1] < 1e-4


def test_levels_scale_with_the_noise(generator: torch.Generator) -> None:
    noise = torch.randn(3, 3, 16, 16, generator=generator)
    torch.testing.assert_close(noise_levels(7 * noise), 7 * noise_levels(noise))


def test_the_estimator_is_small_and_answers_for_each_cell() -> None:
    network = NoiseEstimator().eval()
    assert sum(p.numel() for p in network.parameters()) <= 150_000
    level, doubt = network(torch.rand(2, 3, 32, 48))
    assert level.shape == doubt.shape == (2, len(LEVELS), 4, 6)


def test_the_estimator_is_saved_and_loaded_and_is_no_restorer(tmp_path: Path) -> None:
    network = NoiseEstimator(width=8, blocks=1, seed=1).eval()
    card = ModelCard("level", "noise-level", "NoiseEstimator", network.arguments)
    path = tmp_path / "level.safetensors"
    save_weights(network, card, path, torch.float32)
    loaded = load_estimator(path)
    picture = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(loaded(picture)[0], network(picture)[0])
    with pytest.raises(WeightsError, match="NoiseEstimator"):
        load_model(path)
    assert "noise-level" not in available_models()


def test_a_network_is_told_three_numbers_which_scale_with_the_picture(
    generator: torch.Generator,
) -> None:
    network = Denoiser(3, (4, 8), (1, 1), noise_inputs=3).double().eval()
    with torch.no_grad():
        network.level.normal_(generator=generator)
    x = torch.rand(1, 3, 16, 16, generator=generator, dtype=torch.double)
    numbers = torch.tensor([[3.0, 5.0, 2.0]], dtype=torch.double)
    answer = network(x, numbers)
    torch.testing.assert_close(network.conditioned_on(3, 5, 2)(x), answer)
    torch.testing.assert_close(network(7 * x, 7 * numbers), 7 * answer)
    assert not torch.allclose(network(x, torch.zeros_like(numbers)), answer)
    with pytest.raises(ValueError, match="conditioned on 3 numbers"):
        network.conditioned_on(3)
