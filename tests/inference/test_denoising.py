"""Denoising as a work: what the network is told of the noise, and by whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from restore.errors import InputError
from restore.inference.pipeline import denoise
from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser

FP32 = {"device": "cpu", "precision": "fp32"}


def test_a_model_is_told_the_noise_level(
    telling_network: Denoiser, rng: np.random.Generator
) -> None:
    flat = np.full((64, 72, 3), 0.5, np.float32)
    picture = flat + rng.normal(0, 20 / 255, flat.shape).astype(np.float32)
    settings: dict[str, Any] = {"tile": 40, **FP32}
    told = denoise(picture.clip(0, 1), telling_network, sigma=25, **settings)
    again = denoise(picture.clip(0, 1), telling_network, sigma="25", **settings)
    blind = denoise(picture.clip(0, 1), telling_network, **settings)
    assert (told.sigma, again.sigma, blind.sigma) == (25, 25, None)
    assert np.array_equal(told.image, again.image)
    assert not np.allclose(told.image, blind.image, atol=1e-3)
    guessed = denoise(picture.clip(0, 1), telling_network, sigma="auto", ensemble=True, **settings)
    assert guessed.sigma == pytest.approx(20, abs=1)
    untiled = denoise(picture.clip(0, 1), telling_network, sigma=25, **FP32)
    np.testing.assert_allclose(told.image, untiled.image, atol=1e-5)


@pytest.mark.parametrize("sigma", [0, -3, 256, "much", float("nan"), ""])
def test_a_noise_level_that_is_none_is_refused(telling_network: Denoiser, sigma: Any) -> None:
    with pytest.raises(InputError, match="above 0 and at most 255, or auto"):
        denoise(np.zeros((8, 8)), telling_network, sigma=sigma)


def test_a_blind_model_is_told_nothing(small_network: Denoiser) -> None:
    with pytest.raises(InputError, match="finds the noise level itself"):
        denoise(np.zeros((8, 8)), small_network, sigma=10)


def test_the_estimate_is_for_white_noise(telling_network: Denoiser) -> None:
    training = {"recipe": {"fault": "photo"}}
    telling_network.card = ModelCard("mine", "denoise", "Denoiser", {}, training=training)
    with pytest.raises(InputError, match="level of white noise"):
        denoise(np.zeros((8, 8)), telling_network, sigma="auto")
    assert denoise(np.zeros((8, 8)), telling_network, sigma=9).sigma == 9
