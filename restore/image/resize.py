"""Pictures in another size: MATLAB's bicubic `imresize`, the resizer of super-resolution's tables.

Keys' cubic kernel with a = -0.5, widened by the factor where a picture shrinks (antialiasing); the
border mirrored with its edge repeated, rows normalised, one axis after the other. Values are not
clipped or rounded here; `quantise` does that. Source: MATLAB's documentation of `imresize`, and
Keys, "Cubic convolution interpolation for digital image processing" (IEEE TASSP 1981).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from restore.errors import InputError
from restore.image.picture import Pixels

Matrix = npt.NDArray[np.floating[Any]]
# Output samples computed at once: a band of the (sparse) matrix of an axis as a dense product, in
# which the zeros cost less than any gathering of the samples that count would.
BAND_ROWS, BAND_COLUMNS = 64, 32


def imresize(pixels: Pixels, scale: float) -> Pixels:
    """The picture `scale` times as large, as MATLAB's `imresize(picture, scale)` has it.

    pixels: float `(height, width, channels)`, of any range
    Returns the same type, `(ceil(scale height), ceil(scale width), channels)`, not rounded.
    Raises InputError unless the scale is above 0.
    """
    if not 0 < scale < math.inf:
        raise InputError(f"a picture is resized by a number above 0, not {scale}")
    # 1e-9: 0.1 * 30 is 3.0000000000000004, which is not meant to be four pixels
    height, width = (math.ceil(scale * side - 1e-9) for side in pixels.shape[:2])
    return _resize(pixels, (height, scale), (width, scale))


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """The picture in exactly this size, as MATLAB's `imresize(picture, [height width])` has it.

    Arguments as for `imresize`; the two factors may differ. Raises InputError for a side below 1.
    """
    if min(height, width) < 1:
        raise InputError(f"a picture has at least one pixel each way, not {width}x{height}")
    before = pixels.shape
    return _resize(pixels, (height, height / before[0]), (width, width / before[1]))


def axis_matrix(length: int, size: int, scale: float) -> npt.NDArray[np.float64]:
    """One axis as a matrix (size, length) of which each row adds up to 1.

    Small pictures in a batch are resized by two such products; a large one never needs it whole.
    """
    band = _band(length, scale, 0, size)
    matrix = np.zeros((size, length))
    matrix[:, band.first : band.first + band.weights.shape[1]] = band.weights
    return matrix


class _Band(NamedTuple):
    """Weights (outputs, inputs) of some neighbouring outputs; the inputs begin at `first`."""

    first: int
    weights: npt.NDArray[np.float64]


def cubic(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keys' kernel with a = -0.5 at distances in samples; zero from 2 on."""
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d <= 1, near, np.where(d <= 2, far, 0.0))


def _band(length: int, scale: float, begin: int, end: int) -> _Band:
    """The weights of the outputs `begin` to `end` of an axis of `length` samples."""
    narrow = min(scale, 1.0)
    support = 4 / narrow
    outputs = np.arange(begin, end)
    centres = (outputs + 0.5) / scale - 0.5  # pixel centres of both sizes over each other
    taps = math.ceil(support) + 2
    indices = np.floor(centres - support / 2).astype(np.int64)[:, None] + np.arange(taps)
    weights = cubic(narrow * (centres[:, None] - indices))
    weights /= weights.sum(1, keepdims=True)
    folded = indices % (2 * length)  # mirrored with the edge repeated, as often as need be
    folded = np.where(folded < length, folded, 2 * length - 1 - folded)
    folded = np.where(weights == 0, folded[:, taps // 2, None], folded)  # reach for nothing unused
    first = int(folded.min())
    dense = np.zeros((end - begin, int(folded.max()) + 1 - first))
    np.add.at(dense, (np.arange(end - begin)[:, None], folded - first), weights)
    return _Band(first, dense)


def _resize(pixels: Pixels, rows: tuple[int, float], columns: tuple[int, float]) -> Pixels:
    """Both axes, the one that shrinks more first: it leaves less for the other."""
    if rows[1] <= columns[1]:
        return _columns(_rows(pixels, *rows), *columns)
    return _rows(_columns(pixels, *columns), *rows)


def _rows(pixels: Pixels, size: int, scale: float) -> Pixels:
    height, width, channels = pixels.shape
    if size == height and scale == 1:
        return pixels
    flat = np.ascontiguousarray(pixels).reshape(height, width * channels)
    result = np.empty((size, width * channels), pixels.dtype)
    for begin in range(0, size, BAND_ROWS):
        first, weights = _band(height, scale, begin, min(begin + BAND_ROWS, size))
        seen = flat[first : first + weights.shape[1]]
        np.matmul(weights.astype(pixels.dtype), seen, out=result[begin : begin + BAND_ROWS])
    return result.reshape(size, width, channels)


def _columns(pixels: Pixels, size: int, scale: float) -> Pixels:
    height, width, channels = pixels.shape
    if size == width and scale == 1:
        return pixels
    flat = np.ascontiguousarray(pixels).reshape(height, width * channels)
    result = np.empty((height, size * channels), pixels.dtype)
    for begin in range(0, size, BAND_COLUMNS):
        end = min(begin + BAND_COLUMNS, size)
        first, weights = _band(width, scale, begin, end)
        # the channels lie beside each other: each meets only its own
        across = np.kron(weights.T, np.eye(channels)).astype(pixels.dtype)
        seen = flat[:, first * channels : first * channels + across.shape[0]]
        result[:, begin * channels : end * channels] = seen @ across
    return result.reshape(height, size, channels)
