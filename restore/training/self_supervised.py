"""Learning from noisy pictures alone: neighbours as each other's target, and when that is no use.

Neighbor2Neighbor (Huang et al., CVPR 2021): a noisy picture is parted into two of half its size, of
each square of four pixels one for either, next to each other. Both show nearly the same, and where
the noise of neighbours is independent, the one is as good a target for the other as a clean picture
would be (Noise2Noise, Lehtinen et al., ICML 2018). By how much the two differ is found from what
the network makes of the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.image.find import list_pictures
from restore.image.read import load_image
from restore.training.degradations.pairs import Pair

MOST_WEIGHT = 2.0  # of the correction, at the end; the paper's for Gaussian noise
# Places of the two neighbours in a square of four pixels (0 1 / 2 3): all eight ordered pairs.
NEIGHBOURS = ((0, 1), (1, 0), (2, 3), (3, 2), (0, 2), (2, 0), (1, 3), (3, 1))

CORRELATED = 0.12  # of neighbours' noise: above it the noise is not independent from pixel to pixel
SIDE = 16  # pixels of the patches whose noise is looked at
FLATTEST = 0.05  # the share of a picture's patches that are taken for even ground and noise
MOST_LOOKED_AT = 24  # pictures


def part(noisy: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Two pictures of half the size, (N, C, H, W) -> 2 of (N, C, H/2, W/2).

    places: (2, N, H/2, W/2) int64, which of the four pixels of each square goes to which
    """
    count, channels, height, width = noisy.shape
    squares = F.pixel_unshuffle(noisy, 2).view(count, channels, 4, height // 2, width // 2)
    index = places.unsqueeze(2).unsqueeze(2).expand(-1, -1, channels, -1, -1, -1)
    first, second = (squares.gather(2, each).squeeze(2) for each in index)
    return first, second


def neighbours(
    network: nn.Module, noisy: Tensor, weight: float, generator: torch.Generator
) -> Pair:
    """A pair made of noisy crops (N, C, H, W) alone, of half their size.

    weight: of the correction. The paper's loss is |f(a) - b|^2 + weight |f(a) - b - c|^2, where c
            is the difference of the two halves of the restored whole, through which no gradient
            flows; up to what does not depend on f(a) that is the squared distance from f(a) to
            b + c weight / (1 + weight), which is the target here. It is for the loss `mse`.
    """
    count, _, height, width = noisy.shape
    choices = torch.tensor(NEIGHBOURS, device=noisy.device)
    drawn = torch.randint(
        0,
        len(NEIGHBOURS),
        (count, height // 2, width // 2),
        generator=generator,
        device=noisy.device,
    )
    places = choices[drawn].permute(3, 0, 1, 2)
    first, second = part(noisy, places)
    if weight:
        with torch.no_grad():
            restored = part(network(noisy).float(), places)
        second = second + (restored[0] - restored[1]) * (weight / (1 + weight))
    channels_last = torch.channels_last
    return Pair(second, first.contiguous(memory_format=channels_last))


def autocorrelation(pictures: Iterable[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> float:
    """How alike the noise of neighbouring pixels is, 0 (independent) to 1, in even places.

    pictures: float32 (height, width, channels). Of each the patches that vary least are taken, less
    their slope, and of those with the noise: what varies by less than half a level is left out.
    The correlation is the mean over both directions, the median over the patches. Where no picture
    has any noise it is 0.
    """
    found: list[float] = []
    for pixels in pictures:
        found.extend(_of_flat_patches(np.asarray(pixels, np.float64).mean(2) * 255))
    return float(np.median(found)) if found else 0.0


def _of_flat_patches(grey: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Sequence[float]:
    rows, columns = (side // SIDE for side in grey.shape)
    if not rows or not columns:
        return []
    cut = grey[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE)
    patches = _without_slope(cut.transpose(0, 2, 1, 3).reshape(-1, SIDE, SIDE))
    variance = patches.var((1, 2))
    usable = np.flatnonzero(variance > 0.25)
    count = max(1, round(FLATTEST * len(patches)))
    flattest = usable[np.argsort(variance[usable])][:count]
    kept, spread = patches[flattest], variance[flattest]
    down = (kept[:, 1:] * kept[:, :-1]).mean((1, 2)) / spread
    across = (kept[:, :, 1:] * kept[:, :, :-1]).mean((1, 2)) / spread
    return [float(value) for value in (down + across) / 2]


def _without_slope(
    patches: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Patches less the quadratic surface that fits each best: what is left is noise or texture."""
    ramp = np.linspace(-1, 1, SIDE)
    down, across = (each.ravel() for each in np.meshgrid(ramp, ramp, indexing="ij"))
    surface = np.stack([np.ones_like(down), down, across, down * across, down**2, across**2], 1)
    basis, _ = np.linalg.qr(surface)
    flat = patches.reshape(len(patches), -1)
    left: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = flat - (flat @ basis) @ basis.T
    return left.reshape(patches.shape)


def doubts(folder: Path) -> list[str]:
    """Sentences on why neighbours may not be each other's targets in these pictures; often none."""
    files = list_pictures(folder)
    looked_at = files[:: max(1, len(files) // MOST_LOOKED_AT)][:MOST_LOOKED_AT]
    found = []
    correlation = autocorrelation(load_image(file).pixels for file in looked_at)
    if correlation > CORRELATED:
        found.append(
            f"warning: the noise of neighbouring pixels is alike here (autocorrelation of the "
            f"residual {correlation:.2f}, of independent noise 0.00): demosaicing, scaling, noise "
            "reduction or JPEG has spread it, and what is spread will be kept as if it were "
            "detail; give raw or unprocessed pictures, or several shots of each scene"
        )
    if any(file.suffix.lower() in (".jpg", ".jpeg") for file in files):
        found.append(
            "warning: some of the pictures are JPEG files, whose compression makes the noise of "
            "neighbouring pixels depend on each other; PNG or TIFF from raw files is better"
        )
    return found
