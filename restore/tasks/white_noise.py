"""White Gaussian noise: its level in a picture, and noise that is the same in every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from restore.image.picture import Pixels

PATCH = 7  # side in pixels
MOST_PATCHES = 200_000  # taken from a large picture, evenly spaced
FEWEST_PATCHES = 400  # with fewer, the smallest eigenvalues are due to chance


def estimate_sigma(pixels: Pixels) -> float:
    """The standard deviation of white Gaussian noise, on the 0-255 scale.

    pixels: float32 `(height, width, 1 or 3)` in [0, 1]

    The patches of a clean picture vary in few directions; white noise varies equally in all of
    them. So the smallest eigenvalues of the patches' covariance equal the noise's variance. The
    estimate is the mean of the largest set of them whose mean is at most its median (Chen, Zhu and
    Heng, "An efficient statistical method for image noise level estimation", ICCV 2015). Noise that
    is correlated between neighbours, as from a camera, is underestimated. The result is 0 for a
    picture of fewer than 400 patches (those of 26x26 pixels), which is too small.
    """
    if pixels.shape[2] > 1 and all((pixels[..., 0] == pixels[..., c]).all() for c in (1, 2)):
        pixels = pixels[..., :1]  # grey in three channels, whose noise is the same
    height, width = (side - PATCH + 1 for side in pixels.shape[:2])
    if height <= 0 or width <= 0 or height * width < FEWEST_PATCHES:
        return 0.0
    values = np.linalg.eigvalsh(_covariance(pixels, height * width))
    return 255 * float(np.sqrt(_shared_variance(values.clip(min=0))))


def white_noise(shape: tuple[int, ...], sigma: float) -> Pixels:
    """Float32 noise of mean 0 and standard deviation `sigma` (0-255); -sigma gives it negated."""
    noise: Pixels = np.random.default_rng(0).standard_normal(shape, np.float32)
    noise *= np.float32(sigma / 255)
    return noise


def _covariance(pixels: Pixels, count: int) -> NDArray[np.float64]:
    """The covariance `(D, D)` of evenly spaced patches, D = 49 x channels."""
    step = int(np.ceil(np.sqrt(count / MOST_PATCHES))) if count > MOST_PATCHES else 1
    views = np.lib.stride_tricks.sliding_window_view(pixels, (PATCH, PATCH), axis=(0, 1))
    patches = views[::step, ::step].reshape(-1, pixels.shape[2] * PATCH * PATCH)
    centred = patches - patches.mean(0, dtype=np.float64).astype(np.float32)
    covariance: NDArray[np.float64] = (centred.T @ centred).astype(np.float64) / len(centred)
    return covariance


def _shared_variance(values: NDArray[np.float64]) -> float:
    """The mean of the most of these rising eigenvalues whose mean is at most their median."""
    means = values.cumsum() / np.arange(1, len(values) + 1)
    for count in range(len(values), 1, -1):
        if means[count - 1] <= np.median(values[:count]):
            return float(means[count - 1])
    return float(values[0])
