"""Where to look: the windows of a picture in which most has changed, and those of finest texture.

Fine texture is what a restoration is most likely to take for noise, so it is looked at even where
little has changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from restore.image.color import as_grey, as_rgb
from restore.image.picture import Picture, Pixels

BLOCK = 8  # pixels each way that are looked at as one
BAND = 512  # rows at once
CHANGE, TEXTURE = "largest change", "finest texture"
Map = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A part of a picture in pixels, and why it was chosen; "" for a whole picture."""

    top: int
    left: int
    height: int
    width: int
    why: str = ""

    @property
    def place(self) -> tuple[slice, slice]:
        """As indices of an array `(height, width, ...)`."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


def choose_windows(before: Picture, after: Picture, side: int, count: int) -> list[Window]:
    """At most so many windows, which do not overlap: of largest change and of finest texture.

    before, after: of one size
    side: of a window in pixels; where the picture is smaller, the window is
    The two kinds take turns, the largest change first. A picture that fits into one window is one
    window. Where nothing has changed at all, only texture is looked for.
    """
    height, width = min(side, before.height), min(side, before.width)
    if (height, width) == (before.height, before.width):
        return [Window(0, 0, height, width)]
    block = min(BLOCK, height, width)
    maps = dict(zip((CHANGE, TEXTURE), _maps(before, after, block), strict=True))
    if not maps[CHANGE].any():
        maps.pop(CHANGE)
    cells = height // block, width // block
    scores = {why: _window_means(values, cells) for why, values in maps.items()}
    windows: list[Window] = []
    while len(windows) < count:
        why = list(scores)[len(windows) % len(scores)]
        best = int(np.argmax(scores[why]))
        row, column = divmod(best, scores[why].shape[1])
        if scores[why][row, column] == -np.inf:  # no place is left that does not overlap
            break
        top = min(row * block, before.height - height)
        left = min(column * block, before.width - width)
        windows.append(Window(top, left, height, width, why))
        for values in scores.values():
            rows = slice(max(0, row - cells[0]), row + cells[0] + 1)
            values[rows, max(0, column - cells[1]) : column + cells[1] + 1] = -np.inf
    return windows


def difference(before: Picture, after: Picture) -> Pixels:
    """After minus before, `(height, width, 1 or 3)`; grey only where both are."""
    if before.channels == after.channels:
        return after.pixels - before.pixels
    return as_rgb(after.pixels) - as_rgb(before.pixels)


def change_map(before: Picture, after: Picture, side: int) -> Map:
    """The root mean square of what changed in each block, on the 0-255 scale.

    side: how many blocks the longer side of the map has at most
    """
    block = max(1, -(-max(before.height, before.width) // side))
    bands = []
    rows = max(1, BAND // block) * block
    for top in range(0, before.height, rows):
        one, other = (p.replace(pixels=p.pixels[top : top + rows]) for p in (before, after))
        squares = (difference(one, other).astype(np.float64) ** 2).mean(axis=2)
        bands.append(_with_rest(squares, block))
    found: Map = 255 * np.sqrt(np.concatenate(bands))
    return found


def _with_rest(values: Map, block: int) -> Map:
    """Means of blocks, those at the lower and right border of what is left."""
    starts = [np.arange(0, side, block) for side in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)
    sizes = [np.diff(np.append(s, side)) for s, side in zip(starts, values.shape, strict=True)]
    means: Map = sums / (sizes[0][:, None] * sizes[1])
    return means


def _maps(before: Picture, after: Picture, block: int) -> tuple[Map, Map]:
    """For each block the mean square of the change, and how fine a texture it has.

    Texture is the mean second difference of neighbours, of the mean of both pictures: in it half
    the noise is gone, and of the texture what either has. The square root of it is taken, so that
    a window full of weak texture counts more than one with a few sharp edges.
    """
    changes, textures = [], []
    rows = BAND // block * block
    for top in range(0, before.height - block + 1, rows):
        one, other = (as_grey(p.pixels[top : top + rows])[:, :, 0] for p in (before, after))
        changes.append(_means((one - other) ** 2, block))
        mean = (one + other) / 2
        fine = np.zeros_like(mean)
        fine[:, 1:-1] += np.abs(2 * mean[:, 1:-1] - mean[:, :-2] - mean[:, 2:])
        fine[1:-1] += np.abs(2 * mean[1:-1] - mean[:-2] - mean[2:])
        textures.append(np.sqrt(_means(fine, block)))
    return np.concatenate(changes), np.concatenate(textures)


def _means(values: npt.NDArray[np.floating], block: int) -> Map:
    """Means of whole blocks; what is left at the lower and right border is not looked at."""
    rows, columns = (side // block for side in values.shape)
    whole = values[: rows * block, : columns * block].astype(np.float64)
    means: Map = whole.reshape(rows, block, columns, block).mean(axis=(1, 3))
    return means


def _window_means(values: Map, cells: tuple[int, int]) -> Map:
    """The mean of every window of so many blocks, by its first block."""
    summed = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    high, wide = cells
    total = summed[high:, wide:] - summed[:-high, wide:] - summed[high:, :-wide]
    means: Map = (total + summed[:-high, :-wide]) / (high * wide)
    return means
