"""Principal component analysis: the best linear autoencoder, found without training.

Pearson (1901), Hotelling (1933); by the eigenvectors of the covariance, in double precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from restore.errors import InputError
from restore.image.picture import Pixels

COMPONENTS = (1, 5, 9, 13, 17, 21, 25, 29)  # of the classic figure of a compressed picture


@dataclass(frozen=True)
class Pca:
    """A mean (size,) and orthonormal rows (components, size), the leading ones first; float32."""

    mean: Tensor
    components: Tensor
    shape: tuple[int, ...]  # of one picture

    def encode(self, x: Tensor) -> Tensor:
        """(N, *shape) -> (N, components)."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        """(N, components) -> (N, *shape), not clipped."""
        rows = z @ self.components + self.mean
        return rows.view(-1, *self.shape)

    def __call__(self, x: Tensor) -> Tensor:
        """Through the code and back."""
        return self.decode(self.encode(x))

    def keep(self, components: int) -> Pca:
        """The same with fewer components."""
        return Pca(self.mean, self.components[:components], self.shape)


def fit_pca(x: Tensor, components: int) -> Pca:
    """The leading principal components of pictures (N, *shape).

    Raises InputError unless 1 <= components <= the smaller of N and the size of a picture.
    """
    rows = x.flatten(1).double()
    most = min(rows.shape)
    if not 1 <= components <= most:
        raise InputError(
            f"{components} components cannot be had of {rows.shape[0]} pictures of "
            f"{rows.shape[1]} samples; give 1 to {most}"
        )
    mean = rows.mean(0)
    centred = rows - mean
    if rows.shape[1] <= 4096:  # the covariance is small: much cheaper than the SVD of all pictures
        vectors = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1).T
    else:
        vectors = torch.linalg.svd(centred, full_matrices=False).Vh
    leading = vectors[:components].float().contiguous()
    return Pca(mean.float(), leading, tuple(x.shape[1:]))


def principal_angles(a: Tensor, b: Tensor) -> Tensor:
    """Angles in degrees between the spans of the rows of two (k, size) matrices, ascending.

    Bjorck and Golub, "Numerical methods for computing angles between linear subspaces" (1973),
    with the sines where the cosines lose their digits.
    """
    p, q = (torch.linalg.qr(m.double().T).Q for m in (a, b))
    cosines = torch.linalg.svdvals(p.T @ q).clamp(0, 1)
    sines = torch.linalg.svdvals(q - p @ (p.T @ q)).clamp(0, 1).flip(0)
    angles = torch.where(cosines > math.sqrt(0.5), sines.asin(), cosines.acos())
    return angles.rad2deg()


def compress(pixels: Pixels, components: int) -> Pixels:
    """A picture whose rows are given back from that many principal components of its rows.

    pixels: `(height, width, channels)`; each channel has its own components. What is kept is
    components * (height + width) + width numbers a channel instead of height * width. Clipped to
    [0, 1]. Raises InputError for more components than the picture has rows or columns.
    """
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    restored = [fit_pca(plane, components)(plane) for plane in planes]
    kept: Pixels = torch.stack(restored).permute(1, 2, 0).clamp(0, 1).numpy()
    return kept
