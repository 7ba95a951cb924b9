"""The structure in what a denoiser removed, found in its spectrum and given back.

Noise spreads evenly over all directions of a spectrum; mesh, cloth, print and edges are a few
strong frequencies. So in each block of what was removed, frequencies that are much stronger than
the others of the same distance from the origin are put back into the result. This is independent of
the network and of the noise estimate: it corrects both.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from restore.image.color import as_grey
from restore.image.picture import Pixels

BLOCK = 64  # pixels; blocks begin at each multiple of STEP and half a block before the first row
STEP = BLOCK // 2  # so that the squares of the sine windows of all blocks sum to 1
RINGS = 12  # bands of distance from the origin of a spectrum
SLOWEST = 1.5 / BLOCK  # cycles a pixel: slower changes are light and shade, not structure
CELL = 8  # pixels between the places at which structure is weighed
AT_ONCE = 256  # blocks, which take about 25 MB
QUARTER = (
    0.25  # powers of noise are distributed exponentially: the quartile is -ln(3/4) of the mean
)
WEAKEST, STRONGEST = (
    33.0,
    3.3,
)  # times the mean power of the noise: the threshold for a detail of 0, 1

Luma = NDArray[np.float32]


def return_structure(original: Pixels, restored: Pixels, detail: float) -> Pixels:
    """`restored`, with the structure of what was removed added to its brightness again.

    original, restored: float32 `(height, width, 1 or 3)` in [0, 1]; the second is written over
    detail: 0 to 1. The higher, the weaker the structure that is given back, and the more noise with
            it; 0: nothing is
    Of a part of a picture whose first row is a multiple of STEP, the result is that of the whole
    picture, but for STEP rows at each end that is not the picture's.
    """
    if detail == 0:
        return restored
    threshold = WEAKEST * (STRONGEST / WEAKEST) ** detail
    height, width = original.shape[:2]
    carried = np.zeros((STEP, width), np.float32)  # what the blocks above add to the next rows
    for first in range(-STEP, height, STEP):
        strip = np.zeros((BLOCK, _padded(width)), np.float32)
        top, bottom = max(0, first), min(height, first + BLOCK)
        removed = as_grey(original[top:bottom]) - as_grey(restored[top:bottom])
        strip[top - first : bottom - first, STEP : STEP + width] = removed[..., 0]
        found = _structure(strip, threshold)[:, STEP : STEP + width]
        done = min(height, first + STEP)
        if first >= 0:
            restored[first:done] += (found[:STEP] + carried)[: done - first, :, None]
        carried = found[STEP:]
    return restored


def _padded(width: int) -> int:
    """The width of a strip with half a block before the picture and at least that after it."""
    return (-(-width // STEP) + 2) * STEP


def _structure(strip: Luma, threshold: float) -> Luma:
    """The structure in a strip (BLOCK, a multiple of STEP), windowed by rows alone."""
    blocks = torch.from_numpy(strip).unfold(1, BLOCK, STEP).transpose(0, 1)  # (n, BLOCK, BLOCK)
    result = torch.zeros(strip.shape)
    for first, chunk in _chunks(blocks):
        removed = chunk * _window()
        kept = _where_it_explains(removed, _strong(removed, threshold)) * _window()
        for parity in (0, 1):  # blocks of one parity lie side by side
            part = kept[parity::2]
            left = (first + parity) * STEP
            flat = part.permute(1, 0, 2).reshape(BLOCK, -1)
            result[:, left : left + flat.shape[1]] += flat
    found: Luma = result.numpy()
    return found


def _chunks(blocks: Tensor) -> Iterator[tuple[int, Tensor]]:
    for first in range(0, len(blocks), AT_ONCE):
        yield first, blocks[first : first + AT_ONCE]


def _strong(blocks: Tensor, threshold: float) -> Tensor:
    """The strong frequencies of windowed blocks (n, BLOCK, BLOCK), as blocks.

    What is kept of a frequency rises from nothing at the threshold to all at twice that, so that a
    small difference of the input is a small difference of the result.
    """
    spectra = torch.fft.rfft2(blocks).flatten(1)
    order, sizes = _rings()
    parts = spectra[:, order].split(sizes, 1)
    gains = [torch.zeros(len(blocks), sizes[0])]
    for part in parts[1:]:
        powers = part.real.square() + part.imag.square()
        sample = powers[:, ::2]  # is enough to tell a quartile, in half of the time
        quartile = sample.kthvalue(math.ceil(QUARTER * sample.shape[1]), dim=1, keepdim=True).values
        least = (threshold / -math.log(1 - QUARTER)) * quartile + 1e-20
        gains.append((powers / least - 1).clamp(0, 1))
    kept = torch.empty_like(spectra)
    kept[:, order] = torch.cat(parts, 1) * torch.cat(gains, 1)
    kept = kept.view(-1, BLOCK, BLOCK // 2 + 1)
    result: Tensor = torch.fft.irfft2(kept, s=(BLOCK, BLOCK))
    return result


def _where_it_explains(removed: Tensor, kept: Tensor) -> Tensor:
    """Blocks of structure (n, BLOCK, BLOCK), weaker where it is not in what was removed.

    An edge is many frequencies as well, and those that are strong ring over all of the block. Each
    place gets the share of the structure that fits what was removed there best, at most all of it.
    """
    cells = (-1, BLOCK // CELL, CELL, BLOCK // CELL, CELL)
    products, squares = (
        F.avg_pool2d((kept * x).view(cells).sum((2, 4)).unsqueeze(1), 3, 1, 1)
        for x in (removed, kept)
    )
    share = (products / (squares + 1e-20)).clamp(0, 1)
    share = F.interpolate(share, size=(BLOCK, BLOCK), mode="bilinear", align_corners=False)
    return kept * share.squeeze(1)


@functools.cache
def _window() -> Tensor:
    sine = ((torch.arange(BLOCK) + 0.5) * (math.pi / BLOCK)).sin()
    return sine[:, None] * sine


@functools.cache
def _rings() -> tuple[Tensor, list[int]]:
    """The frequencies of a block's spectrum ring by ring, the slowest first; and their counts."""
    down, across = torch.fft.fftfreq(BLOCK)[:, None], torch.fft.rfftfreq(BLOCK)[None]
    distance = torch.hypot(down, across)
    ring = 1 + (distance * (2 * RINGS)).long().clamp(max=RINGS - 1)
    ring[distance <= SLOWEST] = 0
    order = ring.flatten().argsort(stable=True)
    return order, torch.bincount(ring.flatten()).tolist()
