"""How much noise a picture has, estimated once from a sample of it, and the bound that follows.

The estimate decides three things: whether anything is done at all, what the network is
conditioned on, and how far a pixel may move. It is made from at most 64 crops, so that it costs
the same for a picture of any size, and is one value for the whole picture, so that tiles agree.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from restore.image.color import as_grey
from restore.image.picture import Pixels
from restore.models.noise_level import BLUE, FAINTEST, LEVELS, LUMA, RED, NoiseEstimator
from restore.tasks.jpeg_error import Compression, find_compression

MODEL = "noise-level"
ROWS = 64  # of a picture that are bounded at a time
SIDE = 96  # pixels of a crop, a multiple of the estimator's cell
SPREAD, FLAT = 36, 28  # crops evenly spread over the picture, and the flattest of the others
CANDIDATES = 16  # places each way among which the flattest are sought
SMALLEST = 16  # pixels: a smaller picture is mirrored up to this
BINS = 8  # of brightness, over which the strength of the noise is fitted
PRIOR = 0.02  # what the whole picture counts beside one bin's own cells, as a share of all cells
RINGS = 24  # bands of frequency in a spectrum
SLOWEST = 0.03  # cycles a pixel: slower changes are not counted as noise
ABOVE = 1.1  # times a crop's floor: what the noise may be in a part of the crop
LEAST = 0.5  # of 255: with less noise than this a picture is left as it is
# The noise inputs of a network are this much above the estimate. With the true levels of validation
# pictures it costs 0.1 dB under camera noise and gains 0.3 dB under white noise. It makes up for
# noise coarser than that of the training, whose strength is estimated too low.
MARGIN = 1.2
REACH = 4.0  # times the noise level: no sample moves by more
# a colour difference's share in the variance of red, green and blue: the squares of BT.601's
# inverse, (1.402, 0.344 and 0.714, 1.772)
CHROMA_SHARE = (1.966, 0.628, 3.140)

# A share QUIET of the crops lies below the floor that counts. A floor up to TRUSTED times the
# estimate raises it, one above TEXTURE times is texture.
QUIET = 0.1
TRUSTED, TEXTURE = 7.0, 9.0
MOST_RAISED = 3.0  # of 255
# Where even the surest cells, a share QUIET of them, are less sure than this (a logarithm, as
# DOUBTS), the picture may be lettering or a pattern from edge to edge, and its floor raises
# nothing. In noisy validation photographs they are surer.
UNSURE = -0.42

# The error of a JPEG, 0-255: less (as of a quality of 97) is not worth the loss of texture. Where
# the noise is more than MORE times the error, it was there before. FINE_SHARE is `fine` in it. What
# noise there was may have moved a coefficient by SLACK times its estimate.
LEAST_ERROR, MORE, FINE_SHARE, SLACK = 1.0, 2.0, 0.7, 1.0

Crop = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Noise:
    """The noise of a picture, on the 0-255 scale.

    luma, chroma, fine: as `restore.models.noise_level.noise_levels` says, over the whole picture
    curve: (BINS, 2) float64, luma and chroma where the picture has the brightness (i + 0.5) / BINS
    jpeg:  how it was compressed, if the errors of that are what was found; else None
    """

    luma: float
    chroma: float
    fine: float
    curve: NDArray[np.float64]
    jpeg: Compression | None = None

    def __str__(self) -> str:
        """What was found, in words."""
        words = f"noise: {self.luma:.1f} of 255 in brightness, {self.chroma:.1f} in colour"
        return f"{words}; errors of JPEG compression" if self.jpeg else words

    @property
    def level(self) -> float:
        """The root mean square over red, green and blue, of noise independent of colour."""
        return math.sqrt(self.luma**2 + float(np.mean(CHROMA_SHARE)) * self.chroma**2)

    @property
    def negligible(self) -> bool:
        """Whether there is so little that the picture is better left as it is."""
        return self.level < LEAST

    @property
    def conditions(self) -> tuple[float, float, float]:
        """The noise inputs of a network, in the order of LEVELS."""
        return MARGIN * self.luma, MARGIN * self.chroma, MARGIN * self.fine

    def scaled_to(self, level: float) -> Noise:
        """The same kind of noise at another level; white noise where there is next to none.

        Who gives a level does not take what is there for errors of JPEG compression.
        """
        if self.negligible:
            return white(level)
        factor = level / self.level
        return replace(
            self,
            luma=self.luma * factor,
            chroma=self.chroma * factor,
            fine=self.fine * factor,
            curve=self.curve * factor,
            jpeg=None,
        )


def white(sigma: float) -> Noise:
    """White Gaussian noise, independent in red, green and blue, of this standard deviation."""
    luma = sigma * math.sqrt(sum(w * w for w in LUMA))
    chroma = sigma * 0.641  # the root mean square of the rows of Cb and Cr
    return Noise(luma, chroma, luma, np.tile([luma, chroma], (BINS, 1)))


def estimate_noise(pixels: Pixels, estimator: NoiseEstimator | None = None) -> Noise:
    """The noise of a picture: float32 `(height, width, 1 or 3)` in [0, 1], or a view of a file."""
    height, width = pixels.shape[:2]

    def cut(crop: Crop) -> Pixels:
        top, left, rows, columns = crop
        found: Pixels = np.asarray(pixels[top : top + rows, left : left + columns], np.float32)
        return found

    return estimate_from(cut, height, width, estimator)


def estimate_from(
    cut: Callable[[Crop], Pixels], height: int, width: int, estimator: NoiseEstimator | None = None
) -> Noise:
    """As `estimate_noise`, from crops that `cut` brings, for a picture that is not in memory."""
    network = default_estimator() if estimator is None else estimator
    places = choose_crops(cut, height, width)
    crops = [_as_colour(cut(place)) for place in places]
    floors = [noise_floor(crop) for crop in crops]
    cells = [_cells(network, crop, floor) for crop, floor in zip(crops, floors, strict=True)]
    brightness, levels, doubts = (np.concatenate(parts) for parts in zip(*cells, strict=True))
    surest = float(np.quantile(doubts[:, LEVELS.index("luma")], QUIET))
    noise = fit(brightness, levels, doubts)
    if surest < UNSURE:
        noise = raised(noise, quiet_floor(np.array(floors)))
    planes = [as_grey(crop)[..., 0] for crop in crops]
    return compressed(noise, find_compression(planes, [place[:2] for place in places]))


def compressed(noise: Noise, found: Compression | None) -> Noise:
    """The noise of a picture that was compressed as a JPEG, or not.

    The estimate of the network is of little use there: too low for most pictures, much too high for
    drawings. So the error takes its place, unless there is much more noise than that.
    """
    if found is None or found.error < LEAST_ERROR or noise.luma > MORE * found.error:
        return noise
    error, found = found.error, replace(found, slack=SLACK * noise.luma)
    curve = np.stack([np.full(BINS, error), noise.curve[:, 1]], 1)
    return replace(noise, luma=error, fine=FINE_SHARE * error, curve=curve, jpeg=found)


def quiet_floor(floors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The spectral floor of the quiet crops: (n, 3) of `noise_floor` -> (3,).

    The quietest crop alone may be an even corner, where the camera has smoothed the noise away.
    """
    found: NDArray[np.float64] = np.quantile(floors, QUIET, axis=0, method="lower")
    return found


def raised(noise: Noise, floor: NDArray[np.float64]) -> Noise:
    """An estimate raised towards the spectral floor of the quiet crops.

    floor: as `quiet_floor` gives it; infinity where there is none

    A camera's noise is coarser than that of the training, and the network takes a part of it for
    texture. The floor does not, but it takes irregular texture for noise: little of that is in the
    quiet crops of most pictures. A floor far above the estimate is texture, and raises nothing.
    Where next to no noise was found there is nothing to raise.
    """
    if noise.negligible:
        return noise
    found = np.array([noise.luma, noise.chroma, noise.fine])
    ratio = np.minimum(floor / found.clip(1e-6), TEXTURE).clip(min=1)
    trusted = ((TEXTURE - ratio) / (TEXTURE - TRUSTED)).clip(0, 1)
    factors = 1 + np.minimum((ratio - 1) * trusted, MOST_RAISED / found.clip(1e-6))
    factors[2] = min(factors[2], factors[0])  # never finer than the whole of it
    luma, chroma, fine = (float(level) for level in found * factors)
    return Noise(luma, chroma, fine, noise.curve * factors[:2])


@functools.cache
def default_estimator() -> NoiseEstimator:
    """The shipped network, loaded once."""
    from restore.models.weights import load_estimator

    return load_estimator(MODEL)


def choose_crops(cut: Callable[[Crop], Pixels], height: int, width: int) -> list[Crop]:
    """Where to look: all of a small picture, of a large one places spread over it and flat ones."""
    places = list(_grid(height, width, CANDIDATES))
    if len(places) <= SPREAD + FLAT:
        return places
    spread = list(_grid(height, width, math.isqrt(SPREAD)))
    detail = [_detail(cut(place)) for place in places]
    flattest = sorted(range(len(places)), key=detail.__getitem__)
    return spread + [places[index] for index in flattest[:FLAT]]


def fit(
    brightness: NDArray[np.float64], levels: NDArray[np.float64], doubts: NDArray[np.float64]
) -> Noise:
    """The picture's noise from its cells.

    brightness: (n,) in [0, 1]; levels, doubts: (n, 3), the natural logarithms of each of LEVELS and
    of the error that is to be expected of it

    In each bin of brightness the logarithms are averaged, the surer a cell the more it counts, with
    the average of all cells as the prior. What the picture is given is the root mean square of that
    curve over all its cells, so that parts where the estimate is unsure count like the others.
    """
    weights = np.exp(-2 * doubts)
    middles = (np.arange(BINS) + 0.5) / BINS
    places = brightness.clip(middles[0], middles[-1])
    near = (1 - np.abs(places[:, None] - middles) * BINS).clip(min=0)  # (n, BINS), rows sum to 1
    everywhere = (weights * levels).sum(0) / weights.sum(0)
    prior = PRIOR * weights.sum(0)
    logs = near.T @ (weights * levels) + prior * everywhere
    logs = logs / (near.T @ weights + prior)
    squares = (np.exp(2 * logs) - FAINTEST**2).clip(min=0)  # (BINS, 3)
    luma, chroma, fine = np.sqrt((near @ squares).mean(0)).tolist()
    return Noise(luma, chroma, fine, np.sqrt(squares[:, : LEVELS.index("fine")]))


def bounded(original: Pixels, restored: Pixels, noise: Noise, reach: float = REACH) -> Pixels:
    """`restored`, where no sample has moved by more than `reach` times the noise at that place.

    original, restored: float32 `(height, width, 1 or 3)` in [0, 1]; the second is written over
    The noise at a place is that of the curve at its restored brightness; for red, green and blue
    what brightness and colour differences of this strength come to. Done some rows at a time: what
    is computed on the way would take as much memory as the picture.
    """
    for first in range(0, len(original), ROWS):
        rows = slice(first, first + ROWS)
        _bound_rows(original[rows], restored[rows], noise, reach)
    return restored


def _bound_rows(original: Pixels, restored: Pixels, noise: Noise, reach: float) -> None:
    channels = original.shape[2]
    brightness = as_grey(restored)[..., 0]
    shares = CHROMA_SHARE if channels == 3 else (0.0,)
    middles = ((np.arange(BINS) + 0.5) / BINS).astype(np.float32)
    for channel, share in enumerate(shares):
        variance = noise.curve[:, 0] ** 2 + share * noise.curve[:, 1] ** 2
        most = (reach / 255 * np.sqrt(variance)).astype(np.float32)
        limit = np.interp(brightness, middles, most).astype(np.float32)
        before, after = original[..., channel], restored[..., channel]
        np.clip(after, before - limit, before + limit, out=after)


def _grid(height: int, width: int, most: int) -> Iterator[Crop]:
    """Crops of SIDE, evenly spread, at most so many each way; no more than cover it."""
    sides = [min(SIDE, side) for side in (height, width)]
    counts = [min(most, math.ceil(side / SIDE)) for side in (height, width)]
    for row in np.linspace(0, height - sides[0], counts[0]).round().astype(int):
        for column in np.linspace(0, width - sides[1], counts[1]).round().astype(int):
            yield int(row), int(column), sides[0], sides[1]


def _detail(pixels: Pixels) -> float:
    """The mean absolute difference of neighbours, on every second row of the middle channel."""
    return float(np.abs(np.diff(pixels[::2, :, pixels.shape[2] // 2], axis=1)).mean())


def _as_colour(pixels: Pixels) -> Pixels:
    """Three channels, sides that are multiples of the cell: cut, or mirrored where too small."""
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, 2)
    for axis in (0, 1):
        side = pixels.shape[axis]
        if side < SMALLEST:
            indices = np.arange(SMALLEST) % (2 * side)
            pixels = pixels.take(np.minimum(indices, 2 * side - 1 - indices), axis)
    cell = NoiseEstimator.cell
    height, width = (side // cell * cell for side in pixels.shape[:2])
    return pixels[:height, :width]


def noise_floor(pixels: Pixels) -> NDArray[np.float64]:
    """What a crop's noise can be at most, whatever repeats in it: each of LEVELS, 0-255.

    pixels: float32 `(height, width, 3)`, at least 32 each way; smaller ones have no bound: infinity

    A pattern that repeats is a few lines in the spectrum, noise is everywhere. So the lower quarter
    of the powers at each distance from the origin tells the noise's; they are distributed
    exponentially, of which the quarter is -ln(3/4) of the mean. What does not repeat counts as
    noise here, so this is a bound and no estimate.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 32:
        return np.full(len(LEVELS), np.inf)
    matrix = np.array([LUMA, BLUE, RED])
    planes = 255 * np.einsum("ij,hwj->ihw", matrix, pixels.astype(np.float64))
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    planes = (planes - planes.mean((1, 2), keepdims=True)) * window
    powers = np.abs(np.fft.fft2(planes)) ** 2 / (window**2).sum()
    down, across = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    ring = np.hypot(down, across) * RINGS * 2
    ring = np.minimum(ring.astype(int), RINGS - 1)
    floor = np.empty_like(powers)
    for index in range(RINGS):
        inside = ring == index
        floor[:, inside] = np.quantile(powers[:, inside], 0.25, axis=1)[:, None] / -np.log(0.75)
    floor[:, np.hypot(down, across) < SLOWEST] = 0  # light and shade, however even
    steps = (np.sin(np.pi * down) ** 2 + np.sin(np.pi * across) ** 2) * floor[0]
    means = (floor[0].mean(), floor[1:].mean(), steps.mean())
    levels: NDArray[np.float64] = np.sqrt(np.array(means))
    return levels


@torch.no_grad()
def _cells(
    network: NoiseEstimator, pixels: Pixels, floor: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Brightness (n,), levels and doubts (n, 3) of a crop's cells; floor: its `noise_floor`."""
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).unsqueeze(0)
    level, doubt = network(x)
    luma = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    brightness = torch.nn.functional.avg_pool2d(luma, network.cell)
    parts = (brightness, level, doubt)
    flat = [part[0].flatten(1).T.double().numpy() for part in parts]
    most = np.log(np.hypot(ABOVE * floor, FAINTEST))
    return flat[0][:, 0], np.minimum(flat[1], most), flat[2]
