"""The noise of pictures that have no clean counterpart: measured on even ground, and more like it.

Of each picture the patches are taken whose neighbours vary least, so that the noise in a patch has
no say in whether it is taken. Less their slope they are noise: its spectrum and the correlation of
its channels are taken from all pictures together, its strength from each picture for itself and as
a curve over brightness.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

PATCH = 32  # pixels of a patch's side; what is alike over more than half of it is not seen
FLATTEST = 0.1  # the share of a picture's patches that are taken
MOST_PATCHES = 8192  # of a picture are looked at, those of the rows in its middle
MOST_TAKEN = 32  # patches of a picture in a bin of brightness: all pictures' are held at once
FAINTEST = 0.25  # variance on the 0-255 scale: below it a patch has no noise
ENDS = 12.0  # levels from black and white within which noise may be clipped
COARSEST = 2.0  # times the median variance of a picture's taken patches: more is structure
BINS = 8  # of brightness
PRIOR = 2.0  # patches: what the mean of all counts as beside those of a bin, or of a picture
NEAR = 9  # pixels, over which the brightness at a place is averaged


@dataclass(frozen=True)
class NoiseModel:
    """Gaussian noise with a spectrum, and a strength that depends on the brightness.

    kernel:   (C, C, PATCH, PATCH), which makes such noise of white noise, of mean variance 1
    curve:    (BINS,) standard deviation in [0, 1] at brightness (i + 0.5) / BINS
    strength: (pictures,) factors on the curve
    """

    kernel: Tensor
    curve: Tensor
    strength: Tensor

    @property
    def sigma(self) -> float:
        """The standard deviation in the middle of the pictures, on the 0-255 scale."""
        return 255 * float(self.curve.square().mean().sqrt() * self.strength.median())

    @property
    def correlation(self) -> float:
        """That of neighbouring pixels, the mean over both directions."""
        power = torch.fft.rfft2(self.kernel).abs().square().sum(1)
        covariance = torch.fft.irfft2(power).sum(0)
        return float((covariance[0, 1] + covariance[1, 0]) / 2 / covariance[0, 0])

    def __str__(self) -> str:
        """Its strength and how much it is spread, in words."""
        return f"sigma {self.sigma:.1f}, neighbouring pixels correlate with {self.correlation:.2f}"

    def draw(self, crops: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Noise as there is in noisy crops (N, C, H, W), of the pictures `chosen` (N,)."""
        count, channels, height, width = crops.shape
        grid = (height + PATCH, width + PATCH)
        white = torch.randn(count, channels, *grid, generator=generator, device=crops.device)
        response = torch.fft.rfft2(self.kernel, s=grid)
        spread = torch.einsum("cdhw,ndhw->nchw", response, torch.fft.rfft2(white))
        noise: Tensor = torch.fft.irfft2(spread, s=grid)[..., PATCH:, PATCH:]
        return noise * self.levels(crops) * self.strength[chosen].view(-1, 1, 1, 1)

    def levels(self, crops: Tensor) -> Tensor:
        """The curve at the brightness around each pixel, (N, 1, H, W)."""
        grey = crops.mean(1, keepdim=True)
        around = F.avg_pool2d(grey, NEAR, 1, NEAR // 2, count_include_pad=False)
        place = (around * BINS - 0.5).clamp(0, BINS - 1.001)
        below = place.long()
        low: Tensor = self.curve[below]
        return low + (self.curve[below + 1] - low) * (place - below)

    def to(self, device: torch.device) -> NoiseModel:
        """The same on another device."""
        return replace(
            self,
            kernel=self.kernel.to(device),
            curve=self.curve.to(device),
            strength=self.strength.to(device),
        )


def measure_noise(pictures: Iterable[NDArray[np.generic]]) -> NoiseModel | None:
    """The noise of pictures (height, width, channels), 0-255; None where they have none.

    All that varies irregularly in the evenest places counts as noise: fine texture, where no
    place is even.
    """
    found = [even_patches(np.asarray(pixels, np.float64)) for pixels in pictures]
    if not any(len(patches) for patches, _ in found):
        return None
    variances = [patches.var((2, 3)).mean(1) for patches, _ in found]
    brightness = np.concatenate([each for _, each in found])
    curve = _curve(brightness, np.log(np.concatenate(variances)))  # of the variance's logarithm
    strength = [
        math.exp(_drawn_to_zero(np.log(own) - _at(curve, each)) / 2)
        for own, (_, each) in zip(variances, found, strict=True)
    ]
    even = [
        patches / (factor * np.exp(_at(curve, each) / 2))[:, None, None, None].astype(np.float32)
        for (patches, each), factor in zip(found, strength, strict=True)
    ]
    return NoiseModel(
        torch.from_numpy(_kernel(np.concatenate(even))).float(),
        torch.from_numpy(np.exp(curve / 2) / 255).float(),
        torch.tensor(strength),
    )


def autocorrelation(pictures: Iterable[NDArray[np.generic]]) -> float:
    """How alike the noise of neighbouring pixels is, 0 (independent) to 1, in even places.

    pictures: (height, width, channels), 0-255
    The mean over both directions, the median over the patches; 0 where there is no noise.
    """
    found: list[float] = []
    for pixels in pictures:
        grey = even_patches(np.asarray(pixels, np.float64).mean(2, keepdims=True))[0][:, 0]
        spread = grey.var((1, 2))
        down = (grey[:, 1:] * grey[:, :-1]).mean((1, 2)) / spread
        across = (grey[:, :, 1:] * grey[:, :, :-1]).mean((1, 2)) / spread
        found.extend(((down + across) / 2).tolist())
    return float(np.median(found)) if found else 0.0


def even_patches(pixels: Floats) -> tuple[NDArray[np.float32], Floats]:
    """The patches that are noise, (n, C, PATCH, PATCH), and the brightness of each, (n,), 0-255."""
    rows, columns = (side // PATCH for side in pixels.shape[:2])
    channels = pixels.shape[2]
    if not rows or not columns:
        return np.empty((0, channels, PATCH, PATCH), np.float32), np.empty(0)
    most = max(1, min(rows, MOST_PATCHES // columns))
    top = (rows - most) // 2 * PATCH
    cut = pixels[top : top + most * PATCH, : columns * PATCH]
    cut = cut.reshape(most, PATCH, columns, PATCH, channels).transpose(0, 2, 4, 1, 3)
    patches = cut.reshape(-1, channels, PATCH, PATCH)
    means = patches.mean((2, 3))
    patches = _without_slope(patches)
    variance = patches.var((2, 3)).mean(1)
    around = np.pad(variance.reshape(-1, columns), 1, mode="edge")
    near = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    clipped = ((means < ENDS) | (means > 255 - ENDS)).any(1)
    taken = _evenest(near.ravel(), means.mean(1), ~clipped & (variance > FAINTEST))
    if len(taken):
        taken = taken[variance[taken] <= COARSEST * np.median(variance[taken])]
    return patches[taken].astype(np.float32), means[taken].mean(1)


def _evenest(near: Floats, brightness: Floats, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which patches are taken: of each bin of brightness those with the evenest neighbours.

    Of all together, they would be those where the noise is weak, such as dark ones.
    """
    bins = _bins(brightness)
    taken = []
    for index in range(BINS):
        inside = np.flatnonzero(usable & (bins == index))
        count = min(MOST_TAKEN, math.ceil(FLATTEST * len(inside)))
        taken.append(inside[np.argsort(near[inside], kind="stable")][:count])
    return np.concatenate(taken)


def _bins(brightness: Floats) -> NDArray[np.int64]:
    return (brightness * BINS / 256).astype(np.int64)


def _without_slope(patches: Floats) -> Floats:
    """Patches less the quadratic surface that fits each best: what is left is noise or texture."""
    ramp = np.linspace(-1, 1, PATCH)
    down, across = (each.ravel() for each in np.meshgrid(ramp, ramp, indexing="ij"))
    surface = np.stack([np.ones_like(down), down, across, down * across, down**2, across**2], 1)
    basis, _ = np.linalg.qr(surface)
    flat = patches.reshape(-1, PATCH * PATCH)
    left: Floats = flat - (flat @ basis) @ basis.T
    return left.reshape(patches.shape)


def _curve(brightness: Floats, logs: Floats) -> Floats:
    """The median of logarithms in each bin of brightness, (BINS,), drawn to that of all.

    A median, for some of the patches are fine texture.
    """
    bins, everywhere = _bins(brightness), np.median(logs)
    found = [logs[bins == index] for index in range(BINS)]
    curve: Floats = np.array([everywhere + _drawn_to_zero(each - everywhere) for each in found])
    return curve


def _drawn_to_zero(values: Floats) -> float:
    """Their median, the nearer to zero the fewer they are."""
    return len(values) * float(np.median(values)) / (len(values) + PRIOR) if len(values) else 0.0


def _at(curve: Floats, brightness: Floats) -> Floats:
    found: Floats = np.interp(brightness / 255, (np.arange(BINS) + 0.5) / BINS, curve)
    return found


def _kernel(patches: NDArray[np.float32]) -> Floats:
    """What makes noise of the patches' spectrum of white noise: (C, C, PATCH, PATCH).

    At each frequency it is the square root of the matrix of the channels' mean cross spectra.
    """
    window = np.outer(np.hanning(PATCH + 2)[1:-1], np.hanning(PATCH + 2)[1:-1])
    crossed: NDArray[np.complex128] = sum(
        np.einsum("nchw,ndhw->hwcd", spectra, spectra.conj())
        for first in range(0, len(patches), 1024)
        for spectra in [np.fft.fft2(patches[first : first + 1024] * window)]
    )
    values, vectors = np.linalg.eigh(crossed)
    root = (vectors * np.sqrt(values.clip(min=0))[..., None, :]) @ vectors.conj().swapaxes(-1, -2)
    kernel = np.fft.fftshift(np.fft.ifft2(root.transpose(2, 3, 0, 1)).real, axes=(2, 3))
    scaled: Floats = kernel / np.sqrt(np.square(kernel).sum() / len(kernel))
    return scaled
