"""Denoising as a work: what the network is told of the noise, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restore.errors import InputError
from restore.image.read import load_image
from restore.models.denoiser import Denoiser
from restore.pipeline.picture import denoise
from restore.tasks.noise_level import REACH
from restore.tasks.white_noise import estimate_sigma, white_noise
from restore.training.degradations.noise import spread_noise

FP32 = {"device": "cpu", "precision": "fp32"}


def test_a_model_is_told_the_noise_level(
    telling_network: Denoiser, rng: np.random.Generator, assert_same_picture: Callable[..., None]
) -> None:
    flat = np.full((64, 72, 3), 0.5, np.float32)
    picture = flat + rng.normal(0, 20 / 255, flat.shape).astype(np.float32)
    settings: dict[str, Any] = {"tile": 40, **FP32}
    told = denoise(picture.clip(0, 1), telling_network, sigma=25, **settings)
    again = denoise(picture.clip(0, 1), telling_network, sigma="25", **settings)
    blind = denoise(picture.clip(0, 1), telling_network, **settings)
    assert (told.sigma, again.sigma, blind.sigma) == (25, 25, None)
    assert_same_picture(told.image, again.image)
    assert not np.allclose(told.image, blind.image, atol=1e-3)
    guessed = denoise(picture.clip(0, 1), telling_network, sigma="auto", ensemble=True, **settings)
    assert guessed.sigma == pytest.approx(20, abs=1)
    untiled = denoise(picture.clip(0, 1), telling_network, sigma=25, **FP32)
    np.testing.assert_allclose(told.image, untiled.image, atol=1e-5)


@pytest.mark.parametrize("sigma", [0, -3, 256, "much", float("nan"), ""])
def test_a_noise_level_that_is_none_is_refused(telling_network: Denoiser, sigma: Any) -> None:
    with pytest.raises(InputError, match="above 0 and at most 255, or auto"):
        denoise(np.zeros((8, 8)), telling_network, sigma=sigma)


def flat_noise(sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Grey with white noise, (80, 96, 3)."""
    return (0.5 + rng.normal(0, sigma / 255, (80, 96, 3))).astype(np.float32)


def test_a_blind_model_sees_noise_added_up_to_the_level(
    small_network: Denoiser, rng: np.random.Generator
) -> None:
    picture = flat_noise(5, rng)
    found = estimate_sigma(picture)
    assert found == pytest.approx(5, abs=0.5)
    noise = white_noise(picture.shape, (13**2 - found**2) ** 0.5)
    assert noise.std() * 255 == pytest.approx(12, abs=0.2)
    answers = [denoise(picture + n, small_network, **FP32).image for n in (noise, -noise)]
    result = denoise(picture, small_network, sigma=13, **FP32)
    assert result.sigma == 13
    np.testing.assert_allclose(result.image, np.mean(answers, 0).clip(0, 1), atol=1e-6)
    tiled = denoise(picture, small_network, sigma=13, tile=40, **FP32)
    np.testing.assert_allclose(tiled.image, result.image, atol=1e-5)
    blind = denoise(picture, small_network, **FP32)
    assert np.abs(blind.image - result.image).max() > 1e-4


def test_what_the_model_does_to_the_added_noise_itself_cancels(
    identity: Any, rng: np.random.Generator
) -> None:
    picture = flat_noise(2, rng)
    np.testing.assert_allclose(
        denoise(picture, identity(), sigma=60, **FP32).image, picture, atol=1e-6
    )


def test_below_the_level_found_a_blind_model_leaves_noise(
    small_network: Denoiser, rng: np.random.Generator
) -> None:
    picture = flat_noise(20, rng)
    found = estimate_sigma(picture)
    away = picture - denoise(picture, small_network, **FP32).image
    part = picture - denoise(picture, small_network, sigma=12, **FP32).image
    np.testing.assert_allclose(part, away * (1 - (1 - (12 / found) ** 2) ** 0.5), atol=1e-5)
    half = picture - denoise(picture, small_network, sigma=12, strength=0.5, **FP32).image
    np.testing.assert_allclose(half, part / 2, atol=1e-5)


def test_the_level_a_blind_model_finds_changes_nothing(
    small_network: Denoiser, rng: np.random.Generator, assert_same_picture: Callable[..., None]
) -> None:
    picture = flat_noise(20, rng)
    result = denoise(picture, small_network, sigma="auto", **FP32)
    assert result.sigma == estimate_sigma(picture)
    assert_same_picture(result.image, denoise(picture, small_network, **FP32).image)


def test_the_memory_of_two_views_is_planned(
    small_network: Denoiser, rng: np.random.Generator
) -> None:
    picture = np.tile(flat_noise(5, rng), (3, 3, 1))  # a view of it is some megabytes
    settings: dict[str, Any] = {"sigma": 25, **FP32}
    with pytest.raises(InputError, match="needs at least") as refused:
        denoise(picture, small_network, memory="100KB", **settings)
    least = str(refused.value).split("at least ")[1].split(",")[0]
    assert denoise(picture, small_network, memory=least.replace(" ", ""), **settings).sigma == 25
    with pytest.raises(InputError, match="needs at least") as refused:
        denoise(picture, small_network, memory="100KB", **FP32)
    assert least != str(refused.value).split("at least ")[1].split(",")[0]


def test_coarse_noise_goes_once_it_is_buried_in_white_noise(
    samples: Path, generator: torch.Generator
) -> None:
    """What a camera's processing leaves is taken for texture by a model for white noise."""
    clean = load_image(samples / "cut-out-clean.png").pixels[:256, :256]
    white = torch.randn(1, 3, 256, 256, generator=generator) * (20 / 255)
    one = torch.ones(1)
    coarse = spread_noise(white, 0.6 * one, 2 * one, 0 * one)[0].permute(1, 2, 0).numpy()
    noisy = (clean + coarse).clip(0, 1)
    asked: dict[str, Any] = {"model": "denoise-gaussian", "reference": clean, "device": "cpu"}
    blind, buried = (denoise(noisy, sigma=s, **asked).psnr or 0 for s in (None, 16))
    assert buried > blind + 2


def test_the_estimate_is_for_white_noise(telling_network: Denoiser) -> None:
    telling_network.noise = "mixed"
    with pytest.raises(InputError, match="estimates white noise"):
        denoise(np.zeros((8, 8)), telling_network, sigma="auto")
    assert denoise(np.zeros((8, 8)), telling_network, sigma=9).sigma == 9


@pytest.fixture
def listening_network() -> Denoiser:
    """A network that is told three numbers, and moves pixels far whatever they are."""
    network = Denoiser(3, (4, 8), (1, 1), seed=3, noise_inputs=3).eval()
    with torch.no_grad():
        network.level.fill_(3.0)
        network.tail.weight.mul_(20)
    return network


def test_where_no_noise_is_found_the_picture_stays(listening_network: Denoiser) -> None:
    even = np.full((40, 48, 3), 0.4, np.float32)
    result = denoise(even, listening_network, device="cpu", precision="fp32")
    assert np.array_equal(result.image, even)
    assert result.sigma is not None and result.sigma < 0.5


def test_no_sample_moves_beyond_the_noise_that_was_found(listening_network: Denoiser) -> None:
    noisy = 0.5 + 8 / 255 * np.random.default_rng(0).standard_normal((96, 96, 3))
    noisy = noisy.astype(np.float32)
    found = denoise(noisy, listening_network, device="cpu", precision="fp32")
    asked = denoise(noisy, listening_network, sigma=2, device="cpu", precision="fp32")
    moved = [np.abs(result.image - noisy).max() * 255 for result in (found, asked)]
    assert found.sigma == pytest.approx(8, rel=0.4)
    assert asked.sigma == pytest.approx(2)
    assert moved[0] <= REACH * 1.5 * found.sigma
    assert moved[1] <= REACH * 1.5 * 2
