"""Learning from noisy pictures alone: what stands in for the clean ones.

Neighbor2Neighbor (Huang et al., CVPR 2021): a noisy picture is parted into two of half its size, of
each square of four pixels one for either, next to each other. Both show nearly the same, and where
the noise of neighbours is independent, the one is as good a target for the other as a clean picture
would be (Noise2Noise, Lehtinen et al., ICML 2018). By how much the two differ is found from what
the network makes of the whole picture.

Recorrupted-to-Recorrupted (Pang et al., CVPR 2021) is for noise that is spread over pixels: more
noise of the same kind is added to the picture, and taken from its target. The noise of the two is
then uncorrelated, whatever its spectrum, and the network keeps its full resolution.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.image.color import as_grey
from restore.image.find import list_pictures
from restore.image.read import load_image
from restore.tasks.jpeg_error import find_compression
from restore.training.degradations.pairs import Pair
from restore.training.noise_model import autocorrelation

MOST_WEIGHT = 2.0  # of the correction, at the end; the paper's for Gaussian noise
# Places of the two neighbours in a square of four pixels (0 1 / 2 3): all eight ordered pairs.
NEIGHBOURS = ((0, 1), (1, 0), (2, 3), (3, 2), (0, 2), (2, 0), (1, 3), (3, 1))
ADDED = 0.5  # times the noise is added to the input; the paper's

CORRELATED = 0.12  # of neighbours' noise: above it the noise is not independent from pixel to pixel
MOST_LOOKED_AT = 24  # pictures
LOOKED_AT = 512  # pixels of the middle of each, for traces of JPEG


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


def recorrupted(noisy: Tensor, noise: Tensor) -> Pair:
    """A pair made of noisy crops (N, C, H, W) and other noise of the same kind and strength.

    With n in the crops and m drawn, the input has n + ADDED m and the target n - m / ADDED, whose
    covariance is that of n less that of m: none. It is for the loss `mse`.
    """
    given = noisy + ADDED * noise
    return Pair(noisy - noise / ADDED, given.contiguous(memory_format=torch.channels_last))


def scheme_for(folder: Path) -> str:
    """Which of the two fits the noise in these pictures: "neighbours" or "recorrupted"."""
    return "recorrupted" if correlation_in(folder) > CORRELATED else "neighbours"


def correlation_in(folder: Path) -> float:
    """How alike the noise of neighbouring pixels is in these pictures, 0 to 1."""
    return autocorrelation(255 * load_image(file).pixels for file in _some(folder))


def _some(folder: Path) -> list[Path]:
    files = list_pictures(folder)
    return files[:: max(1, len(files) // MOST_LOOKED_AT)][:MOST_LOOKED_AT]


def doubts(folder: Path, scheme: str) -> list[str]:
    """Sentences on why the noise may not be as the scheme assumes; often none."""
    found = []
    if any(was_jpeg(file) for file in _some(folder)):
        found.append(
            "warning: some of the pictures are or were JPEG files, whose compression makes the "
            "noise of neighbouring pixels depend on each other and on the picture; PNG or TIFF "
            "from raw files is better"
        )
    if scheme == "neighbours" and (correlation := correlation_in(folder)) > CORRELATED:
        found.append(
            f"warning: the noise of neighbouring pixels correlates with {correlation:.2f}, and the "
            "recipe takes it for independent: it will be kept as if it were detail; set "
            'degradation = "recorrupted" in the recipe, or leave it out'
        )
    return found


def was_jpeg(file: Path) -> bool:
    """Whether a picture is a JPEG file, or has the traces of one in its pixels."""
    if file.suffix.lower() in (".jpg", ".jpeg"):
        return True
    pixels = load_image(file).pixels
    height, width = (max(0, side - LOOKED_AT) // 2 for side in pixels.shape[:2])
    crop = pixels[height : height + LOOKED_AT, width : width + LOOKED_AT]
    return find_compression([as_grey(crop)[..., 0]], [(height, width)]) is not None
