"""What is unlike the normal pictures: an autoencoder of those gives it back badly.

Scores of whole pictures, heat maps of large ones, the threshold that a share of normal pictures
stays below, and the area under the ROC curve where labels say what was abnormal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.autoencoders.dense import Autoencoder
from restore.autoencoders.reconstruction import in_batches, squared_errors
from restore.errors import InputError
from restore.image.picture import Pixels


@dataclass(frozen=True)
class Thresholds:
    """Above what a picture (squared error) and a pixel (heat) is abnormal, and how it was set."""

    picture: float
    pixel: float
    quantile: float


def scores(network: Autoencoder, x: Tensor) -> Tensor:
    """The squared error of each picture (N, C, H, W): (N,); the higher, the less normal."""
    return squared_errors(network, x)


def quantile(values: Tensor, share: float) -> float:
    """The value that a share of the normal ones stays below. Raises InputError outside (0, 1)."""
    check_quantile(share)
    return float(np.quantile(values.flatten().numpy(), share))  # torch's stops at 2^24 values


def check_quantile(share: float) -> None:
    """InputError outside (0, 1)."""
    if not 0 < share < 1:
        raise InputError(f"the quantile lies between 0 and 1, without them; not {share}")


def auroc(values: Tensor, abnormal: Tensor) -> float:
    """The chance that an abnormal value is above a normal one, ties counting half.

    values: (N,); abnormal: (N,) bool. The area under the ROC curve by its ranks (Hanley and
    McNeil, Radiology 143:29, 1982). Raises InputError where lengths differ or one side is empty.
    """
    if values.shape != abnormal.shape:
        raise InputError(f"the labels do not match: {len(values)} scores, {len(abnormal)} labels")
    positives = int(abnormal.sum())
    negatives = len(abnormal) - positives
    if not positives or not negatives:
        raise InputError("AUROC needs both normal and abnormal labels; these are of one kind")
    distinct, place, counts = values.double().unique(return_inverse=True, return_counts=True)
    del distinct
    above = counts.cumsum(0).double()
    ranks = (above - (counts.double() - 1) / 2)[place]  # the mean rank of equal values
    total = float(ranks[abnormal].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def tile_positions(size: int, side: int, stride: int) -> list[int]:
    """Where windows begin along an axis, so that the last ends at its end."""
    last = size - side
    return [*range(0, last, stride), last]


def heat_map(
    network: Autoencoder, pixels: Pixels, stride: int | None = None, blur: float = 0.0
) -> npt.NDArray[np.float32]:
    """The error of reconstruction at each pixel of a picture of any size: `(height, width)`.

    Windows of the network's size overlap; their reconstructions are averaged, and the absolute
    difference is averaged over the channels.

    stride: pixels between two windows; default a quarter of the window
    blur:   of the map, the sigma of a Gaussian in pixels; for defects larger than a pixel
    Raises InputError where the picture is smaller than a window or differs in channels.
    """
    channels, high, wide = network.shape
    height, width, found = pixels.shape
    if found != channels or height < high or width < wide:
        raise InputError(
            f"the detector is for pictures of {channels} channels and at least {wide}x{high} "
            f"pixels; this one has {found} and {width}x{height}"
        )
    stride = stride or max(1, min(high, wide) // 4)
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    restored, weight = torch.zeros_like(x), torch.zeros(1, height, width)
    columns = tile_positions(width, wide, stride)
    for top in tile_positions(height, high, stride):
        strip = x[:, top : top + high]
        windows = torch.stack([strip[:, :, left : left + wide] for left in columns])
        given_back = in_batches(network, windows)
        for left, window in zip(columns, given_back, strict=True):
            restored[:, top : top + high, left : left + wide] += window
            weight[:, top : top + high, left : left + wide] += 1
    error = (x - restored / weight).abs().mean(0)
    heat: npt.NDArray[np.float32] = gaussian_blur(error, blur).numpy()
    return heat


def gaussian_blur(plane: Tensor, sigma: float) -> Tensor:
    """(H, W) blurred, the border repeated; as it is for a sigma of 0."""
    if sigma <= 0:
        return plane
    reach = min(math.ceil(3 * sigma), *(s - 1 for s in plane.shape))
    offsets = torch.arange(-reach, reach + 1, dtype=plane.dtype)
    kernel = (-(offsets**2) / (2 * sigma**2)).exp()
    kernel = kernel / kernel.sum()
    padded = F.pad(plane[None, None], [reach] * 4, mode="replicate")
    across = F.conv2d(padded, kernel.view(1, 1, 1, -1))
    return F.conv2d(across, kernel.view(1, 1, -1, 1))[0, 0]


def set_thresholds(network: Autoencoder, normal: Tensor, share: float) -> Thresholds:
    """From the scores and the pixels of normal pictures (N, C, H, W)."""
    given_back = in_batches(network, normal)
    heat = (given_back - normal).abs().mean(1)
    return Thresholds(quantile(scores(network, normal), share), quantile(heat, share), share)
