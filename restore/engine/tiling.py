"""Tile arithmetic in integers: the windows that a network reads, and the core kept of each.

These rules make the tiled result equal the untiled one. The whole picture is padded once to the
network's `multiple_of`. Windows begin on that grid and all have the same size. The core of a window
lies at least `halo` pixels inside it, except at the picture's own edge, where the network pads
exactly as it would for the whole picture. Nothing is blended. Each axis is split by itself; a tile
is a window on each of the two axes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from restore.errors import InputError


@dataclass(frozen=True)
class Span:
    """One window on one axis: it reads [start, start + window); its core is [first, last)."""

    start: int
    window: int
    first: int
    last: int

    @property
    def read(self) -> slice:
        """The network's input, in pixels of the padded picture."""
        return slice(self.start, self.start + self.window)

    def crop(self, scale: int = 1) -> slice:
        """The core, in output pixels of the window."""
        return slice(scale * (self.first - self.start), scale * (self.last - self.start))

    def write(self, scale: int = 1) -> slice:
        """The core, in output pixels of the padded picture."""
        return slice(scale * self.first, scale * self.last)


def split_axis(length: int, window: int, halo: int, multiple: int, smallest: int = 0) -> list[Span]:
    """Windows of one size whose cores cover an axis exactly once.

    length: of the axis in pixels, a multiple of `multiple`
    window: the largest size of a window; those returned may be smaller
    smallest: the smallest size of a window, at most `window`
    Raises InputError for a window that is no larger than its two halos.
    """
    if length % multiple:
        raise ValueError(f"{length} is not a multiple of {multiple}; pad the picture first")
    halo = -(-halo // multiple) * multiple
    window = min(window // multiple * multiple, length)
    if window == length:
        return [Span(0, length, 0, length)]
    kept = window - 2 * halo
    if kept < multiple:
        raise InputError(
            f"a tile of {window} pixels is too small for its halo; "
            f"it must be at least {2 * halo + multiple}"
        )
    count = 1 + -(-(length - window) // kept)
    # the smallest window with which this count covers the axis: fewer pixels are computed twice
    window = round_up(max(-(-(length + 2 * halo * (count - 1)) // count), smallest), multiple)
    # evenly spaced starts, rounded down to the grid: neighbours are at most `kept` apart
    grid = (length - window) // multiple
    starts = [multiple * (index * grid // (count - 1)) for index in range(count)]
    cuts = [0, *(start + halo for start in starts[1:]), length]
    return [
        Span(start, window, first, last)
        for start, (first, last) in zip(starts, itertools.pairwise(cuts), strict=True)
    ]


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `length`."""
    return -(-length // multiple) * multiple


def choose_window(
    height: int, width: int, budget: int, halo: int, multiple: int, smallest: int = 0
) -> tuple[int, int]:
    """The window (height, width) of at most `budget` pixels that computes the fewest pixels in all.

    smallest: the least side of a window; at least two halos and one cell of the grid
    Full-width strips have halos above and below only, so they are best if the budget allows; this
    tries numbers of columns up to about twice that of square windows. If the budget is too small
    for any window, the smallest possible window is returned.
    """
    height, width = round_up(height, multiple), round_up(width, multiple)
    halo = round_up(halo, multiple)
    smallest = max(smallest, 2 * halo + multiple)
    best = (math.inf, (min(height, smallest), min(width, smallest)))
    square = width // max(multiple, math.isqrt(budget) - 2 * halo)
    for count in range(1, 2 * square + 3):
        columns = round_up(-(-(width + 2 * halo * (count - 1)) // count), multiple)
        columns = min(width, max(columns, smallest))
        rows = min(height, budget // columns // multiple * multiple)
        if rows >= min(height, smallest):
            cost = _computed(height, rows, halo, multiple) * _computed(
                width, columns, halo, multiple
            )
            best = min(best, (cost, (rows, columns)))
    return best[1]


def _computed(length: int, window: int, halo: int, multiple: int) -> int:
    """Pixels computed along one axis, the sum of all windows."""
    return sum(span.window for span in split_axis(length, window, halo, multiple))
