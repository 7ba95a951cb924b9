"""Each fault against its closed form."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from restore.training.degradations import (
    add_gaussian_noise,
    add_shot_and_read_noise,
    compress_jpeg,
    luma,
    uniform_sigmas,
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
    sigmas = uniform_sigmas(5, 55, 10_000, generator)
    assert 5 <= sigmas.min() < 5.1
    assert 54.9 < sigmas.max() <= 55
    assert sigmas.mean().item() == pytest.approx(30, abs=0.5)


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
