"""What JPEG compression did to a picture, read from its pixels, without the file.

A decoded JPEG has traces of its encoding: on one of the 64 possible grids of 8x8 blocks, the cosine
coefficients are multiples of a step each, most of them zero. The steps and the distribution of the
coefficients tell what rounding took away. So this sees a picture that was saved losslessly later or
cropped, with any quantisation tables; not one that was resized, or that has new noise.

A coefficient was within half a step of its multiple before it was rounded. So a result that leaves
this interval is put back to its end, which is nearer to the picture that was compressed, whatever
that was (Zakhor, "Iterative procedures for reduction of blocking effects in transform image
coding", IEEE TCSVT 1992). Where that picture had noise, its clean original may lie outside, by as
much as the noise moves a coefficient.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from restore.image.color import as_grey
from restore.image.picture import Pixels

BLOCK = 8
ZERO = 1.0  # of 255: a smaller coefficient counts as zero, as decoded samples are rounded
STEPS = np.arange(3, 121)  # that are told apart; smaller ones are lost in the rounding
FINENESS, LARGEST = 4, 512  # places a level in a histogram of coefficients, and where it ends
FEWEST = 4  # coefficients that are not zero, for a step to be found
SURE = 0.8  # mean cosine of their phases: 1 where all are multiples, 0 where none are
FREQUENCIES = 8  # with a step, for the picture to have been a JPEG; clean pictures have none
ROUNDED = 0.5  # of 255: the error of a coefficient of samples that were rounded to 8 bits
ROWS = 8  # blocks, one above the other, that are put back at a time

Place = tuple[int, int]  # row and column of a crop's first pixel


@dataclass(frozen=True)
class Compression:
    """How a picture was compressed.

    error: the root mean square of the error in brightness, 0-255
    grid:  row and column of a pixel with which a block begins, 0 to 7 each
    steps: (63,) what the brightness's coefficients but the mean were rounded to multiples of, on
           the 0-255 scale, row by row; 0 where it is not known
    slack: how far a coefficient may leave its interval, 0-255, because of noise in the picture
    """

    error: float
    grid: Place
    steps: NDArray[np.float64]
    slack: float = 0.0


@torch.no_grad()
def find_compression(crops: Sequence[Pixels], places: Sequence[Place]) -> Compression | None:
    """How a picture was compressed; None: not as a JPEG, or as a very fine one.

    crops:  of one picture, its brightness, float32 `(height, width)` in [0, 1]
    places: where they are in the picture, which tells where a common grid cuts them
    """
    planes = [
        (torch.from_numpy(255 * crop).view(1, 1, *crop.shape), place)
        for crop, place in zip(crops, places, strict=True)
        if min(crop.shape) >= 2 * BLOCK
    ]
    if not planes:
        return None
    top, left = divmod(int(np.argmax(sum(_zeros(*each) for each in planes))), BLOCK)
    # in a pattern of 8 pixels all blocks are alike, on any grid: that is no proof of rounding
    if _compression(planes, (top + BLOCK // 2, left + BLOCK // 2)):
        return None
    return _compression(planes, (top, left))


def _compression(planes: Sequence[tuple[Tensor, Place]], grid: Place) -> Compression | None:
    """What the blocks of a grid tell; None where too few of their coefficients are multiples."""
    sizes = _sizes(planes, grid)
    steps = find_steps(np.unique(sizes.round(1), axis=0))  # blocks that repeat count once
    if (steps > 0).sum() < FREQUENCIES:
        return None
    return Compression(error_of(sizes, steps), grid, steps)


def error_of(sizes: NDArray[np.float32], steps: NDArray[np.float64]) -> float:
    """The error, from the sizes `(blocks, 63)` of the coefficients of the grid's blocks.

    Coefficients follow a Laplace distribution (Lam and Goodman, "A mathematical analysis of the DCT
    coefficient distributions for images", IEEE TIP 2000), whose width follows from how many were
    not rounded to zero. Those have the error of a rounding, the others that of their own size.
    """
    known = steps > 0
    step, half = steps[known], steps[known] / 2
    kept = (sizes[:, known] > half).mean(0).clip(1e-6, 0.95)
    rate = -np.log(kept) / half
    lost = 2 / rate**2 - kept * (half**2 + 2 * half / rate + 2 / rate**2)
    return math.sqrt((kept * step**2 / 12 + lost).sum() / BLOCK**2)


@torch.no_grad()
def within_rounding(original: Pixels, restored: Pixels, compression: Compression) -> Pixels:
    """`restored`, with each coefficient put back into the interval that was rounded to `original`.

    original, restored: float32 `(height, width, 1 or 3)` in [0, 1]; the second is written over
    Brightness alone is changed, in whole blocks. Of a part of a picture whose first row is a
    multiple of 8, the result is that of the whole picture, but for 8 rows at each end that is not
    the picture's.
    """
    top, left = compression.grid
    height, width = (
        (side - first) // BLOCK * BLOCK
        for side, first in zip(original.shape, (top, left), strict=False)
    )
    columns = slice(left, left + max(0, width))
    for first in range(top, top + height, ROWS * BLOCK):
        rows = slice(first, min(first + ROWS * BLOCK, top + height))
        moved = as_grey(restored[rows, columns]) - as_grey(original[rows, columns])
        restored[rows, columns] += _back(moved[..., 0], compression)[..., None]
    return restored


def _back(moved: Pixels, compression: Compression) -> Pixels:
    """What to add so that no coefficient of these whole blocks has moved by too much, (H, W)."""
    steps = torch.from_numpy(compression.steps.astype(np.float32))
    most = (steps / 2 + ROUNDED + compression.slack).where(steps > 0, torch.inf) / 255
    most = F.pad(most, (1, 0), value=torch.inf).view(BLOCK, BLOCK)  # the mean may be anything
    rows, columns = (side // BLOCK for side in moved.shape)
    blocks = torch.from_numpy(moved).view(rows, BLOCK, columns, BLOCK)
    waves = _waves()
    found = torch.einsum("ui,vj,ricj->rcuv", waves, waves, blocks)
    back = torch.einsum("ui,vj,rcuv->ricj", waves, waves, found.clamp(-most, most) - found)
    result: Pixels = back.reshape(moved.shape).numpy()
    return result


def find_steps(sizes: NDArray[np.float32]) -> NDArray[np.float64]:
    """The largest step of which each frequency's coefficients are multiples; 0 where none is."""
    places = np.arange(FINENESS * LARGEST) / FINENESS
    index = (sizes * FINENESS).round().astype(np.int64).clip(0, len(places) - 1)
    index += len(places) * np.arange(sizes.shape[1])
    counts = np.bincount(index.ravel(), minlength=sizes.shape[1] * len(places))
    counts = counts.reshape(sizes.shape[1], len(places)).astype(np.float64)
    above = places[:, None] > STEPS / 2
    number = counts @ above
    agreement = counts @ (above * np.cos(2 * np.pi * places[:, None] / STEPS))
    fits = (number >= FEWEST) & (agreement > SURE * number)
    found: NDArray[np.float64] = np.where(fits, STEPS, 0).max(1).astype(np.float64)
    return found


def _zeros(plane: Tensor, place: Place) -> NDArray[np.float64]:
    """How many coefficients are zero in the blocks of each grid, (8, 8), by where it begins."""
    small = (_coefficients(plane).abs() < ZERO).sum(1)[0].double()
    height, width = (side // BLOCK * BLOCK for side in small.shape)
    cells = small[:height, :width].view(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return np.roll(cells.sum((0, 2)).numpy(), place, (0, 1))


def _sizes(planes: Sequence[tuple[Tensor, Place]], grid: Place) -> NDArray[np.float32]:
    """The sizes `(blocks, 63)` of the coefficients of all blocks of a grid."""
    found = [
        _coefficients(x[..., (grid[0] - top) % BLOCK :, (grid[1] - left) % BLOCK :], BLOCK)
        for x, (top, left) in planes
    ]
    sizes: NDArray[np.float32] = torch.cat(
        [each[0].flatten(1).abs() for each in found], 1
    ).T.numpy()
    return sizes


def _coefficients(plane: Tensor, stride: int = 1) -> Tensor:
    """The coefficients of the blocks that begin at each multiple of `stride`, but for the mean.

    (1, 1, H, W) -> (1, 63, rows, columns). Along one axis, then the other: a seventh of the work.
    """
    along = F.conv2d(plane, _waves().view(BLOCK, 1, BLOCK, 1), stride=(stride, 1))
    both = F.conv2d(along.transpose(0, 1), _waves().view(BLOCK, 1, 1, BLOCK), stride=(1, stride))
    return both.flatten(0, 1)[None, 1:]


@functools.cache
def _waves() -> Tensor:
    """The orthonormal cosine functions of 8 samples, (8, 8)."""
    n = torch.arange(BLOCK)
    waves = ((2 * n + 1) * n[:, None] * (math.pi / (2 * BLOCK))).cos() / 2
    waves[0] /= math.sqrt(2)
    return waves
