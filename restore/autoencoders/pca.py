"""Principal component analysis (PCA): the best linear autoencoder, computed without training.

Pearson (1901), Hotelling (1933). Computed from the eigenvectors of the covariance in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from restore.errors import InputError
from restore.image.picture import Pixels

COMPONENTS = (1, 5, 9, 13, 17, 21, 25, 29)  # shown in the figures


@dataclass(frozen=True)
class Pca:
    """A fitted PCA: mean (size,), orthonormal components (components, size), float32.

    The components are sorted by variance, largest first; `shape` is that of one picture.
    """

    mean: Tensor
    components: Tensor
    shape: tuple[int, ...]

    def encode(self, x: Tensor) -> Tensor:
        """(N, *shape) -> (N, components)."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        """(N, components) -> (N, *shape), not clipped."""
        rows = z @ self.components + self.mean
        return rows.view(-1, *self.shape)

    def __call__(self, x: Tensor) -> Tensor:
        """The reconstruction: (N, *shape) -> (N, *shape), not clipped."""
        return self.decode(self.encode(x))

    def keep(self, components: int) -> Pca:
        """The same PCA with its first `components` only."""
        return Pca(self.mean, self.components[:components], self.shape)


def fit_pca(x: Tensor, components: int) -> Pca:
    """Fit the leading principal components of pictures (N, *shape).

    Raises InputError unless 1 <= components <= the smaller of N and the size of a picture.
    """
    rows = x.flatten(1).double()
    most = min(rows.shape)
    if not 1 <= components <= most:
        raise InputError(
            f"{rows.shape[0]} pictures of {rows.shape[1]} values have 1 to {most} principal "
            f"components, not {components}"
        )
    mean = rows.mean(0)
    centred = rows - mean
    if rows.shape[1] <= 4096:  # a small covariance is much cheaper than an SVD
        vectors = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1).T
    else:
        vectors = torch.linalg.svd(centred, full_matrices=False).Vh
    leading = vectors[:components].float().contiguous()
    return Pca(mean.float(), leading, tuple(x.shape[1:]))


def principal_angles(a: Tensor, b: Tensor) -> Tensor:
    """Angles in degrees between the row spaces of two (k, size) matrices, ascending: (k,).

    Bjorck and Golub, "Numerical methods for computing angles between linear subspaces" (1973);
    small angles come from sines, for which cosines are too coarse.
    """
    p, q = (torch.linalg.qr(m.double().T).Q for m in (a, b))
    cosines = torch.linalg.svdvals(p.T @ q).clamp(0, 1)
    sines = torch.linalg.svdvals(q - p @ (p.T @ q)).clamp(0, 1).flip(0)
    angles = torch.where(cosines > math.sqrt(0.5), sines.asin(), cosines.acos())
    return angles.rad2deg()


def compress(pixels: Pixels, components: int) -> Pixels:
    """A picture reconstructed from the principal components of its rows, for each channel.

    pixels: `(height, width, channels)` in [0, 1]; so is the result
    This takes components * (height + width) + width numbers a channel instead of height * width.
    Raises InputError for more components than the picture has rows or columns.
    """
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    restored = [fit_pca(plane, components)(plane) for plane in planes]
    result: Pixels = torch.stack(restored).permute(1, 2, 0).clamp(0, 1).numpy()
    return result
