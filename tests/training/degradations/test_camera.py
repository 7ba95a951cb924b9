"""The camera's noise against its closed forms."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from restore.training.degradations.camera import (
    SHOT,
    Cameras,
    add_camera_noise,
    bayer_sites,
    demosaic,
    draw_cameras,
    from_linear,
    sensor_noise,
    to_linear,
    tone,
)


def neutral(shot: float, read: float) -> Cameras:
    one = torch.ones(1, 1, 1, 1)
    gains = torch.ones(1, 3, 1, 1)
    return Cameras(torch.eye(3)[None], gains, shot * one, read * one, one, 0.5 * one)


def test_the_draws_keep_the_published_ranges(generator: torch.Generator) -> None:
    cameras = draw_cameras(4000, generator)
    assert SHOT[0] <= cameras.shot.min() and cameras.shot.max() <= SHOT[1]
    middle = (math.log(SHOT[0]) + math.log(SHOT[1])) / 2
    assert cameras.shot.log().mean().item() == pytest.approx(middle, abs=0.05)
    rest = cameras.read.log() - 2.18 * cameras.shot.log() - 1.20
    assert rest.std().item() == pytest.approx(0.26, rel=0.05)
    red, green, blue = cameras.gains.unbind(1)
    assert red.min() >= 1.9 and red.max() <= 2.4
    assert blue.min() >= 1.5 and blue.max() <= 1.9
    assert bool((green == 1).all())
    torch.testing.assert_close(cameras.to_camera.sum(2), torch.ones(4000, 3))


def test_linear_light_and_back_is_the_picture(generator: torch.Generator) -> None:
    pictures = torch.rand(8, 3, 16, 16, generator=generator)
    cameras = draw_cameras(8, generator)
    back = from_linear(to_linear(pictures, cameras), cameras)
    torch.testing.assert_close(back, pictures, atol=2e-4, rtol=0)


def test_the_tone_curve_has_its_slope_at_the_knee() -> None:
    slope, knee = torch.tensor(1.7), torch.tensor(0.4)
    step = 1e-3
    ends = tone(knee + torch.tensor([-step, 0.0, step]), slope, knee)
    assert ends[1].item() == pytest.approx(0.4, abs=1e-5)
    assert ((ends[2] - ends[0]) / (2 * step)).item() == pytest.approx(1.7, rel=0.01)
    assert tone(torch.tensor([0.0, 1.0]), slope, knee).tolist() == [0, 1]


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_sensor_noise_has_its_variance_on_its_sites(
    generator: torch.Generator, level: float
) -> None:
    cameras = neutral(0.01, 0.0004)
    noise = sensor_noise(torch.full((1, 3, 400, 400), level), cameras, generator)
    sites = bayer_sites(400, 400).bool()[None]
    assert noise[~sites].abs().max() == 0
    assert noise[sites].var().item() == pytest.approx(0.01 * level + 0.0004, rel=0.02)


def test_demosaicing_keeps_sites_and_even_colours() -> None:
    sites = bayer_sites(12, 10)
    assert torch.equal(sites.sum((1, 2)), torch.tensor([30.0, 60.0, 30.0]))
    colours = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 12, 10)
    torch.testing.assert_close(demosaic(colours * sites), colours)
    random = torch.rand(1, 3, 12, 10)
    torch.testing.assert_close((demosaic(random * sites) * sites), random * sites)


def test_demosaiced_noise_is_spread_as_the_filter_says(generator: torch.Generator) -> None:
    """Red at a blue site is the mean of four: a quarter of the variance, half where of two."""
    white = torch.randn(1, 3, 600, 600, generator=generator) * bayer_sites(600, 600)
    red = demosaic(white)[0, 0]
    assert red[::2, ::2].var().item() == pytest.approx(1, rel=0.03)
    assert red[::2, 1::2].var().item() == pytest.approx(0.5, rel=0.03)
    assert red[1::2, 1::2].var().item() == pytest.approx(0.25, rel=0.03)


def test_the_delivered_noise_follows_gain_and_curve(generator: torch.Generator) -> None:
    """At a green site of an even grey: sigma of the sensor times the slope of sRGB's curve."""
    level, sigma = 0.5, 0.004
    grey = torch.full((1, 3, 400, 400), level)
    noisy = add_camera_noise(grey, neutral(0.0, sigma**2), generator)
    linear = ((level + 0.055) / 1.055) ** 2.4
    slope = 1.055 / 2.4 * linear ** (1 / 2.4 - 1)
    green_sites = (noisy - grey)[0, 1][bayer_sites(400, 400)[1].bool()]
    assert green_sites.std().item() == pytest.approx(sigma * slope, rel=0.03)
    assert (noisy - grey).mean().abs() < 5e-4


def test_red_is_noisier_than_green_by_its_gain(generator: torch.Generator) -> None:
    one = neutral(0.0, 1e-5)
    gained = dataclasses.replace(one, gains=torch.tensor([2.0, 1.0, 1.5]).view(1, 3, 1, 1))
    noise = add_camera_noise(torch.full((1, 3, 400, 400), 0.5), gained, generator) - 0.5
    sites = bayer_sites(400, 400).bool()
    deviations = [noise[0, c][sites[c]].std() for c in range(3)]
    assert (deviations[0] / deviations[1]).item() == pytest.approx(2.0, rel=0.03)
    assert (deviations[2] / deviations[1]).item() == pytest.approx(1.5, rel=0.03)
