"""Each degradation against its closed form."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from restore.training.degradations.jpeg import TO_YCC, mix
from restore.training.degradations.noise import (
    add_common_noise,
    add_gaussian_noise,
    add_poisson_noise,
    add_shot_and_read_noise,
    add_speckle_noise,
    blur,
    compress_jpeg,
    draw_sigmas,
    luma,
    spread_noise,
)


def test_gaussian_noise_has_its_sigma_in_each_picture(generator: torch.Generator) -> None:
    sigmas = torch.tensor([0.0, 10.0, 50.0])
    noise = add_gaussian_noise(torch.zeros(3, 3, 200, 200), sigmas, generator) * 255
    assert noise[0].abs().max() == 0
    assert noise[1].std().item() == pytest.approx(10, rel=0.01)
    assert noise[2].std().item() == pytest.approx(50, rel=0.01)
    assert noise.mean().abs() < 0.3


def test_gaussian_noise_is_white_and_independent_between_channels(
    generator: torch.Generator,
) -> None:
    noise = add_gaussian_noise(torch.zeros(1, 3, 256, 256), 25.0, generator)[0]
    shifted = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert abs(shifted) < 0.01
    across = torch.corrcoef(noise.flatten(1)) - torch.eye(3)
    assert across.abs().max() < 0.02


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_sensor_noise_variance_is_shot_times_signal_plus_read(
    generator: torch.Generator, level: float
) -> None:
    shot, read = 0.01, 0.0004
    noisy = add_shot_and_read_noise(torch.full((1, 1, 400, 400), level), shot, read, generator)
    assert noisy.var().item() == pytest.approx(shot * level + read, rel=0.02)
    assert noisy.mean().item() == pytest.approx(level, abs=0.002)


def test_sigmas_fill_their_range(generator: torch.Generator) -> None:
    sigmas = draw_sigmas(5, 55, 10_000, generator)
    assert 5 <= sigmas.min() < 5.1
    assert 54.9 < sigmas.max() <= 55
    assert sigmas.mean().item() == pytest.approx(30, abs=0.5)


def test_a_power_draws_more_of_the_light_noise(generator: torch.Generator) -> None:
    sigmas = draw_sigmas(0, 75, 20_000, generator, power=1.5)
    assert (sigmas < 75 * 0.5**1.5).float().mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("peak", "level"), [(100, 0.2), (10_000, 0.9)])
def test_poisson_variance_is_signal_over_peak(
    generator: torch.Generator, peak: float, level: float
) -> None:
    noisy = add_poisson_noise(torch.full((1, 3, 300, 300), level), torch.tensor([peak]), generator)
    assert noisy.mean().item() == pytest.approx(level, rel=0.01)
    assert noisy.var().item() == pytest.approx(level / peak, rel=0.02)


@pytest.mark.parametrize("level", [0.0, 0.4])
def test_speckle_scales_with_the_signal(generator: torch.Generator, level: float) -> None:
    clean = torch.full((1, 3, 300, 300), level)
    noise = add_speckle_noise(clean, torch.tensor([20.0]), generator) - clean
    assert noise.std().item() == pytest.approx(level * 20 / 255, rel=0.02)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_common_noise_correlates_the_channels(generator: torch.Generator, share: float) -> None:
    clean = torch.zeros(1, 3, 300, 300)
    noise = add_common_noise(clean, torch.tensor([10.0]), torch.tensor([share]), generator)[0]
    assert noise.std().item() * 255 == pytest.approx(10, rel=0.02)
    across = torch.corrcoef(noise.flatten(1))[0, 1].item()
    assert across == pytest.approx(share, abs=0.02)


def test_blur_is_a_gaussian_of_its_sigma() -> None:
    point = torch.zeros(3, 1, 41, 41)
    point[:, :, 20, 20] = 1
    spread = blur(point, torch.tensor([0.0, 1.0, 2.0]))
    assert torch.equal(spread[0], point[0])
    offsets = torch.arange(-20.0, 21)
    for picture, sigma in zip(spread[1:, 0], (1.0, 2.0), strict=True):
        assert picture.sum().item() == pytest.approx(1, abs=1e-5)
        assert (picture.sum(0) * offsets**2).sum().item() == pytest.approx(sigma**2, rel=0.02)
    flat = torch.full((1, 3, 9, 9), 0.3)
    torch.testing.assert_close(blur(flat, torch.tensor([3.0])), flat)


def test_spread_noise_has_the_spectrum_of_its_filters(generator: torch.Generator) -> None:
    noise = torch.randn(4, 3, 256, 256, generator=generator)
    one = torch.ones(4)
    same = spread_noise(noise, 0 * one, 0 * one, 0 * one)
    torch.testing.assert_close(same, noise, atol=1e-4, rtol=0)
    spread = mix(spread_noise(noise, 1.0 * one, 2.0 * one, 0 * one), TO_YCC)
    before = mix(noise, TO_YCC)
    frequency = torch.fft.fftfreq(256)[:40].square() * 2 * torch.pi**2
    for channel, sigma in ((0, 1.0), (1, 2.0)):
        power = [
            torch.fft.fft(p[:, channel], dim=2).abs().square().mean((0, 1))[:40]
            for p in (spread, before)
        ]
        across = 1 / (2 * sigma * torch.pi**0.5)  # variance left by the blur of the other axis
        expected = (-2 * sigma**2 * frequency).exp() * across
        wide = expected > 0.02
        ratio = (power[0] / power[1])[wide] / expected[wide]
        assert ratio.mean().item() == pytest.approx(1, abs=0.05)


def test_jpeg_is_pillows(generator: torch.Generator) -> None:
    clean = torch.rand(2, 3, 24, 40, generator=generator)
    ours = compress_jpeg(clean, 40)
    for picture, result in zip(clean, ours, strict=True):
        samples = np.rint(picture.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(samples).save(buffer, "JPEG", quality=40)
        expected = np.asarray(Image.open(buffer), np.float32) / 255
        assert np.array_equal(result.permute(1, 2, 0).numpy(), expected)


def test_luma_of_grey_is_grey() -> None:
    grey = torch.rand(2, 1, 4, 4)
    assert torch.equal(luma(grey), grey)
    torch.testing.assert_close(luma(grey.expand(2, 3, 4, 4)), grey)


def test_one_generator_state_gives_one_result() -> None:
    clean = torch.rand(2, 3, 8, 8)
    results = [
        add_shot_and_read_noise(
            add_gaussian_noise(clean, 20.0, g := torch.Generator().manual_seed(3)), 0.1, 0.1, g
        )
        for _ in range(2)
    ]
    assert torch.equal(*results)
