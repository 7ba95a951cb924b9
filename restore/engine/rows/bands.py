"""Pictures read and written in bands of rows, whatever they lie in: an array, a memory map, a file.

Rows come from a function and go to one, so that nothing here holds a whole picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from restore.engine.memory import format_bytes
from restore.engine.rows.layers import Layers
from restore.engine.rows.stream import Stream
from restore.engine.rows.stream import Write as Finished
from restore.engine.rows.workers import Workers
from restore.engine.tiling import Span, round_up, split_axis
from restore.errors import InputError
from restore.image.picture import Pixels

Read = Callable[[int, int], Pixels]  # rows [first, last): float32 (last - first, width, channels)
# First row, columns, float32 (rows, columns, channels): called as `stream.Write` is.
Write = Callable[[int, slice, Pixels], None]
Done = Callable[[int, int], None]  # bands done, bands in all


class Mirrored:
    """A picture's rows with a mirrored border around it, as `engine.pad` gives it; any size."""

    def __init__(self, read: Read, height: int, width: int, multiple: int, border: int = 0) -> None:
        """read: rows of the picture itself, `(height, width)`; multiple, border: as for `pad`."""
        self.read, self.size, self.border = read, (height, width), border
        self.height = round_up(height + 2 * border, multiple)
        self.width = round_up(width + 2 * border, multiple)
        self._rows = mirrored(height, self.height, border)
        self._columns = mirrored(width, self.width, border)

    def __call__(self, first: int, last: int) -> Pixels:
        """Rows [first, last) of the padded picture."""
        wanted = self._rows[first:last]
        lowest, highest = int(wanted.min()), int(wanted.max()) + 1
        rows = self.read(lowest, highest)
        if first < self.border or last > self.border + self.size[0]:
            rows = rows[wanted - lowest]
        if self.width == self.size[1]:
            return rows
        framed = np.empty((last - first, self.width, rows.shape[2]), rows.dtype)
        left, right = self.border, self.border + self.size[1]
        framed[:, left:right] = rows  # an index for each column would take three times as long
        framed[:, :left] = rows[:, self._columns[:left]]
        framed[:, right:] = rows[:, self._columns[right:]]
        return framed


def mirrored(
    length: int, padded: int, border: int = 0
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each position of a padded axis the one it shows: mirrored, the outermost repeated.

    border: how many positions lie before the first
    """
    at = (np.arange(padded, dtype=np.int64) - border) % (2 * length)
    return np.minimum(at, 2 * length - 1 - at)


def columns_within(
    layers: Layers, height: int, width: int, halo: int, memory: int | None
) -> list[Span]:
    """As few columns as let a stream over each stay within `memory` bytes, half of each kept.

    height, width: of the padded picture. Raises InputError with the smallest memory that works.
    """
    smallest = min(width, max(4 * round_up(halo, layers.multiple_of), layers.multiple_of))
    window = width
    while memory is not None and layers.peak_bytes(height, window) > memory:
        if window == smallest:
            least = format_bytes(layers.peak_bytes(height, smallest))
            raise InputError(
                f"the network does not fit into {format_bytes(max(1, memory))} beside the picture; "
                f"it needs at least {least} there"
            )
        window = max(smallest, window * 7 // 8 // layers.multiple_of * layers.multiple_of)
    return split_axis(width, window, halo, layers.multiple_of)


@torch.inference_mode()
def stream_columns(
    layers: Layers,
    source: Mirrored,
    columns: list[Span],
    write: Write,
    *,
    start: int = 0,
    halo: int = 0,
    report: Done | None = None,
) -> None:
    """A picture through the network, column by column, each from its first row to its last.

    start: the first row of the picture that is wanted, a multiple of the network's `multiple_of`;
           the stream begins `halo` rows above it
    Rows and columns that only pad the picture are not written. An upscaler's are counted in finer
    pixels where they are written. Raises stream.NotFiniteError.
    """
    border = source.border
    begin, below = border + start, border + source.size[0]
    top = 0 if not start else max(0, begin - round_up(halo, layers.multiple_of))
    rows = layers.bands(columns[0].window)[0]
    total = len(columns) * -(-(source.height - top) // rows)
    done = 0
    with Workers() as workers:
        for span in columns:
            left, right = max(span.first, border), min(span.last, border + source.size[1])
            wanted = slice(begin, below), slice(left, right)
            inside = _inside(wanted, (top, span.start), border, layers.scale, write)
            stream = Stream(layers, span.window, workers, inside)
            at = top
            while at < source.height:
                end = min(source.height, at + (stream.first_rows if at == top else stream.rows))
                given = np.ascontiguousarray(source(at, end)[:, span.read])
                stream.push(torch.from_numpy(given), end == source.height)
                at = end
                done += 1
                if report is not None:
                    report(min(done, total), total)


def _inside(
    wanted: tuple[slice, slice], origin: tuple[int, int], border: int, scale: int, write: Write
) -> Finished:
    """Of what a stream writes the part that is wanted, counted from the picture's first pixel.

    wanted: rows and columns of the padded picture; origin: row and column the stream began at
    """
    rows, columns = (slice(axis.start * scale, axis.stop * scale) for axis in wanted)
    top, left = (at * scale for at in origin)

    def inside(row: int, column: int, found: torch.Tensor) -> None:
        row, column = row + top, column + left
        first, last = max(row, rows.start), min(row + found.shape[0], rows.stop)
        begin, end = max(column, columns.start), min(column + found.shape[1], columns.stop)
        if first < last and begin < end:
            part = found[first - row : last - row, begin - column : end - column].numpy()
            shift = border * scale
            write(first - shift, slice(begin - shift, end - shift), part)

    return inside
