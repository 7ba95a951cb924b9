"""The resizer is MATLAB's: closed forms, Pillow's float resizer away from the border, mirroring."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from restore.errors import InputError
from restore.image.resize import axis_matrix, imresize, resize


def definition(samples: np.ndarray, size: int, scale: float) -> np.ndarray:
    """`imresize` of one row, written down sample by sample."""
    narrow, result = min(scale, 1.0), []
    for index in range(size):
        centre = (index + 0.5) / scale - 0.5
        total = weight_sum = 0.0
        for tap in range(int(centre - 4 / narrow) - 3, int(centre + 4 / narrow) + 4):
            d = abs(narrow * (centre - tap))
            if d >= 2:
                continue
            weight = 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
            mirrored = tap % (2 * len(samples))
            mirrored = mirrored if mirrored < len(samples) else 2 * len(samples) - 1 - mirrored
            total, weight_sum = total + weight * samples[mirrored], weight_sum + weight
        result.append(total / weight_sum)
    return np.array(result)


@pytest.mark.parametrize("length", [1, 2, 5, 70])
@pytest.mark.parametrize("scale", [4, 3, 2, 1.37, 1, 0.9, 0.5, 1 / 3, 0.21])
def test_each_axis_is_the_definition(rng: np.random.Generator, length: int, scale: float) -> None:
    row = rng.random(length)
    size = -int(-(length * scale - 1e-9) // 1)
    wanted = definition(row, size, scale)
    np.testing.assert_allclose(axis_matrix(length, size, scale) @ row, wanted, atol=1e-12)
    for pixels in (row[:, None, None], row[None, :, None]):
        both = imresize(np.broadcast_to(pixels, (length, length, 1)), scale)
        line = both[:, 0, 0] if pixels.shape[0] > 1 or length == 1 else both[0, :, 0]
        assert both.shape == (size, size, 1)
        np.testing.assert_allclose(line, wanted, atol=1e-12)


@pytest.mark.parametrize("size", [(130, 170), (33, 171), (64, 40), (21, 28)])
def test_away_from_the_border_it_is_pillows_antialiased_bicubic(
    rng: np.random.Generator, size: tuple[int, int]
) -> None:
    pixels = rng.random((84, 85, 1)).astype(np.float32)
    ours = resize(pixels, *size)[:, :, 0]
    theirs = np.asarray(
        Image.fromarray(pixels[:, :, 0]).resize(size[::-1], Image.Resampling.BICUBIC)
    )
    edge = [2 + int(np.ceil(2 * max(1, n / o))) for n, o in zip(size, (84, 85), strict=True)]
    inner = slice(edge[0], -edge[0]), slice(edge[1], -edge[1])
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=2e-6)


def test_parabolas_are_interpolated_exactly() -> None:
    """The kernel's order (Keys 1981): with a = -0.5 second-degree polynomials come out exact."""
    x = np.arange(30.0)
    row = (0.02 * x**2 - 0.3 * x + 1)[None, :, None].repeat(4, 0)
    fine = imresize(row, 3)[0, :, 0]
    at = (np.arange(90) + 0.5) / 3 - 0.5
    np.testing.assert_allclose(fine[6:-6], (0.02 * at**2 - 0.3 * at + 1)[6:-6], atol=1e-12)


@pytest.mark.parametrize("scale", [3, 0.3, 1.9])
def test_even_colours_stay_and_channels_do_not_mix(scale: float) -> None:
    pixels = np.full((13, 50, 3), (0.1, 0.5, 0.9), np.float32)
    result = imresize(pixels, scale)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.broadcast_to(pixels[0, 0], result.shape), atol=1e-6)


def test_sizes_are_matlabs_and_exact_ones_are_met() -> None:
    pixels = np.zeros((30, 7, 1), np.float32)
    assert imresize(pixels, 0.1).shape[:2] == (3, 1)
    assert imresize(pixels, 1.5).shape[:2] == (45, 11)
    assert resize(pixels, 1000, 1).shape[:2] == (1000, 1)
    assert resize(pixels, 30, 7) is pixels


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_impossible_sizes_are_refused(scale: float) -> None:
    pixels = np.zeros((4, 4, 1), np.float32)
    with pytest.raises(InputError, match="above 0"):
        imresize(pixels, scale)
    with pytest.raises(InputError, match="at least one pixel"):
        resize(pixels, 0, 3)
