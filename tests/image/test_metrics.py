"""PSNR and SSIM against closed forms, scikit-image and published values."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restore.errors import InputError
from restore.image.metrics import compare, luma, psnr, ssim
from restore.image.picture import Picture


def test_a_constant_offset_has_a_closed_form(rng: np.random.Generator) -> None:
    a = rng.integers(0, 200, (20, 30, 3)).astype(np.uint8)
    assert psnr(a + 10, a, data_range=255) == pytest.approx(20 * math.log10(255 / 10))
    assert psnr(a / 255 + 0.1, a / 255, data_range=1) == pytest.approx(20)


def test_unsigned_bytes_do_not_wrap_around() -> None:
    dark, light = np.zeros((12, 12), np.uint8), np.full((12, 12), 255, np.uint8)
    assert psnr(dark, light, data_range=255) == psnr(light, dark, data_range=255) == 0


def test_equal_pictures_are_infinitely_alike(rng: np.random.Generator) -> None:
    a = rng.random((16, 16, 3))
    assert psnr(a, a, data_range=1) == math.inf
    assert ssim(a, a, data_range=1) == pytest.approx(1)


def test_agrees_with_scikit_image(rng: np.random.Generator) -> None:
    a = rng.random((40, 50, 3))
    b = (a + rng.normal(0, 0.1, a.shape)).clip(0, 1)
    assert psnr(b, a, data_range=1) == pytest.approx(
        peak_signal_noise_ratio(a, b, data_range=1), abs=1e-9
    )
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert ssim(b, a, data_range=1) == pytest.approx(
        structural_similarity(a, b, data_range=1, channel_axis=2, **wang), abs=1e-9
    )


def test_ssim_is_the_definition_on_one_window(rng: np.random.Generator) -> None:
    """11x11 pixels have one valid window, which can be written out."""
    a, b = rng.random((2, 11, 11))
    weight = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(weight, weight) / weight.sum() ** 2
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    var_a, var_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
    cov = (window * a * b).sum() - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    expected = ((2 * mean_a * mean_b + c1) * (2 * cov + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    assert ssim(a, b, data_range=1) == pytest.approx(expected, abs=1e-6)


def test_luma_is_matlabs() -> None:
    white, black = np.full((1, 1, 3), 255.0), np.zeros((1, 1, 3))
    assert luma(white, 255)[0, 0, 0] == pytest.approx(235, abs=0.01)
    assert luma(black, 255)[0, 0, 0] == 16
    assert luma(white / 255, 1)[0, 0, 0] == pytest.approx(235 / 255, abs=1e-4)


def test_y_channel_sees_luma_only() -> None:
    a = np.full((16, 16, 3), 100.0)
    b = a + np.array([128.553, -65.481, 0])  # red up, green down: luma stays
    assert psnr(b, a, data_range=255, channel="y") > 100
    assert psnr(b, a, data_range=255) < 10


def test_the_border_is_left_out(rng: np.random.Generator) -> None:
    a = rng.random((20, 20, 3))
    b = a.copy()
    b[:3], b[:, -3:] = 0, 0
    assert psnr(b, a, data_range=1) < 20
    assert psnr(b, a, data_range=1, border=3) == math.inf


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_range": 0}, "data_range"),
        ({"data_range": None}, "above 0, not None"),
        ({"image": "a.png"}, "a str cannot be scored; .* load_image"),
        (
            {"image": Picture(np.zeros((16, 16, 3), np.float32)), "data_range": 255},
            r"is 1, not 255",
        ),
        ({"border": 8}, "leaves nothing"),
        ({"border": -1}, "from 0 on, not -1"),
        ({"border": 1.5}, "whole number of pixels"),
        ({"channel": "hue"}, "rgb or y"),
        ({"image": np.zeros((16, 15, 3))}, "shapes differ"),
        ({"image": np.full((16, 16, 3), np.nan)}, "not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(change: dict[str, object], words: str) -> None:
    values = {"image": np.zeros((16, 16, 3)), "data_range": 1.0, **change}
    with pytest.raises(InputError, match=words):
        psnr(values.pop("image"), np.zeros((16, 16, 3)), **values)  # type: ignore[arg-type]


def test_whatever_denoise_takes_and_gives_is_scored(rng: np.random.Generator) -> None:
    a, b = rng.random((2, 16, 20, 3)).astype(np.float32)
    expected = psnr(a, b, data_range=1), ssim(a, b, data_range=1)
    first = torch.from_numpy(a).permute(2, 0, 1).requires_grad_()
    clean, result = Picture(b), SimpleNamespace(picture=Picture(a))
    for image, reference in ((first, b), (first[None], clean), (Picture(a), b), (result, clean)):
        assert psnr(image, reference, data_range=1) == pytest.approx(expected[0])
        assert ssim(image, reference, data_range=1) == pytest.approx(expected[1])
    half = torch.full((16, 20), 0.5, dtype=torch.bfloat16)
    assert psnr(half, np.full((16, 20), 0.5), data_range=1) == math.inf


def test_data_range_is_never_guessed() -> None:
    with pytest.raises(TypeError):
        psnr(np.zeros((4, 4)), np.zeros((4, 4)))  # type: ignore[call-arg]


def test_ssim_of_tiny_pictures_is_refused_and_not_invented() -> None:
    with pytest.raises(InputError, match="11x11"):
        ssim(np.zeros((10, 40)), np.zeros((10, 40)), data_range=1)


def test_pictures_are_scored_as_eight_bit_ones_with_the_protocol() -> None:
    a = Picture(np.full((12, 12, 3), 0.5, np.float32))
    b = a.replace(pixels=a.pixels + np.float32(0.3 / 255))
    scores = compare(a, b)
    assert scores.psnr == math.inf  # both round to 128
    assert scores.protocol == "RGB, 8 bit, no border"
    deep = compare(a.replace(depth=16), b.replace(depth=16))
    assert deep.psnr == pytest.approx(20 * math.log10(65535 / 77))
    assert deep.protocol == "RGB, 16 bit, no border"
    floats = compare(a.replace(depth="float"), b.replace(depth=16))
    assert floats.psnr == pytest.approx(20 * math.log10(255 / 0.3), abs=0.01)
    assert floats.protocol == "RGB, float, no border"
    assert compare(a, a, channel="y", border=0).protocol.startswith("Y")


def test_a_reference_of_another_size_is_described() -> None:
    a = Picture(np.zeros((12, 13, 3), np.float32))
    b = Picture(np.zeros((13, 12, 1), np.float32))
    with pytest.raises(InputError, match="12x13 grey and the picture 13x12 RGB"):
        compare(a, b)


def test_tiny_pictures_have_psnr_and_no_ssim() -> None:
    a = Picture(np.zeros((1, 1, 3), np.float32))
    assert math.isnan(compare(a, a.replace(pixels=a.pixels + 1)).ssim)
