"""White Gaussian noise: how much of it is in a picture, and the same of it in every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from restore.image.picture import Pixels

PATCH = 7  # pixels, each way
MOST_PATCHES = 200_000  # of a large picture, evenly spread
FEWEST_PATCHES = 400  # in a smaller picture the smallest eigenvalues are those of chance


def estimate_sigma(pixels: Pixels) -> float:
    """The standard deviation of white Gaussian noise, on the 0-255 scale.

    pixels: float32 `(height, width, 1 or 3)` in [0, 1]

    Patches of a picture fill few of the directions they could; noise fills all of them alike. So
    the smallest eigenvalues of the patches' covariance are the noise's variance, and the largest
    set of them that looks like noise, its mean no more than its median, tells it (Chen, Zhu and
    Heng, "An efficient statistical method for image noise level estimation", ICCV 2015). Of noise
    that a camera has spread over neighbours it sees a part. A picture of less than 26 pixels each
    way is too small to tell: 0.
    """
    if pixels.shape[2] > 1 and all((pixels[..., 0] == pixels[..., c]).all() for c in (1, 2)):
        pixels = pixels[..., :1]  # grey in three channels: they have one noise
    height, width = (side - PATCH + 1 for side in pixels.shape[:2])
    if height <= 0 or width <= 0 or height * width < FEWEST_PATCHES:
        return 0.0
    values = np.linalg.eigvalsh(_covariance(pixels, height * width))
    return 255 * float(np.sqrt(_shared_variance(values.clip(min=0))))


def white_noise(shape: tuple[int, ...], sigma: float) -> Pixels:
    """Noise of that standard deviation (0-255), float32, of mean 0; negative: the same, negated."""
    noise: Pixels = np.random.default_rng(0).standard_normal(shape, np.float32)
    noise *= np.float32(sigma / 255)
    return noise


def _covariance(pixels: Pixels, count: int) -> NDArray[np.float64]:
    """Of the samples of patches evenly spread over the picture: `(D, D)`, D = 49 x channels."""
    step = int(np.ceil(np.sqrt(count / MOST_PATCHES))) if count > MOST_PATCHES else 1
    views = np.lib.stride_tricks.sliding_window_view(pixels, (PATCH, PATCH), axis=(0, 1))
    patches = views[::step, ::step].reshape(-1, pixels.shape[2] * PATCH * PATCH)
    centred = patches - patches.mean(0, dtype=np.float64).astype(np.float32)
    found: NDArray[np.float64] = (centred.T @ centred).astype(np.float64) / len(centred)
    return found


def _shared_variance(values: NDArray[np.float64]) -> float:
    """The variance that the smallest of these rising eigenvalues share."""
    means = values.cumsum() / np.arange(1, len(values) + 1)
    for count in range(len(values), 1, -1):
        if means[count - 1] <= np.median(values[:count]):
            return float(means[count - 1])
    return float(values[0])
