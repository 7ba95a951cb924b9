"""Pictures read and written in bands of rows, whatever they lie in: an array, a memory map, a file.

Rows come from a function and go to one, so that nothing here holds a whole picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from restore.errors import InputError
from restore.image.image import Pixels
from restore.inference.memory import format_bytes
from restore.inference.stream import Layers, Stream
from restore.inference.tiling import Span, round_up, split_axis

Read = Callable[[int, int], Pixels]  # rows [first, last): float32 (last - first, width, channels)
Write = Callable[
    [int, slice, Pixels], None
]  # first row, columns, float32 (rows, columns, channels)
Done = Callable[[int, int], None]  # bands done, bands in all


class Mirrored:
    """A picture's rows, mirrored at its right and lower border up to a multiple; any size."""

    def __init__(self, read: Read, height: int, width: int, multiple: int) -> None:
        """read: rows of the picture itself, `(height, width)`."""
        self.read, self.size = read, (height, width)
        self.height, self.width = round_up(height, multiple), round_up(width, multiple)
        self._rows = mirrored(height, self.height)
        self._columns = mirrored(width, self.width)

    def __call__(self, first: int, last: int) -> Pixels:
        """Rows [first, last) of the padded picture."""
        wanted = self._rows[first:last]
        lowest, highest = int(wanted.min()), int(wanted.max()) + 1
        rows = self.read(lowest, highest)
        if last > self.size[0]:
            rows = rows[wanted - lowest]
        return rows if self.width == self.size[1] else rows[:, self._columns]


def mirrored(length: int, padded: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each position of a padded axis the one it shows: mirrored, its last not repeated."""
    period = max(1, 2 * (length - 1))
    at = np.arange(padded, dtype=np.int64) % period
    return np.minimum(at, period - at) if length > 1 else at


def columns_within(
    layers: Layers, height: int, width: int, halo: int, memory: int | None
) -> list[Span]:
    """As few columns as let a stream over each stay within `memory` bytes.

    height, width: of the padded picture. Raises InputError with the smallest memory that works.
    """
    smallest = min(width, 2 * round_up(halo, layers.multiple_of) + layers.multiple_of)
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

    start: the first row that is wanted, a multiple of the network's `multiple_of`; the stream
           begins `halo` rows above it
    Rows and columns that only pad the picture are not written. Raises stream.NotFiniteError.
    """
    height, width = source.size
    top = max(0, start - round_up(halo, layers.multiple_of))
    rows = layers.band(columns[0].window)
    total = len(columns) * -(-(source.height - top) // rows)
    done = 0
    for span in columns:
        stream = Stream(layers, span.window)
        kept = slice(span.first, min(span.last, width))
        crop = slice(kept.start - span.start, kept.stop - span.start)
        at, out = top, top
        while at < source.height:
            end = min(source.height, at + (stream.first_rows if at == top else stream.rows))
            given = torch.from_numpy(np.ascontiguousarray(source(at, end)[:, span.read]))
            for band in stream.push(given, end == source.height):
                first, last = max(out, start), min(out + len(band), height)
                if last > first and kept.stop > kept.start:
                    write(first, kept, band[first - out : last - out, crop].numpy())
                out += len(band)
            at = end
            done += 1
            if report is not None:
                report(min(done, total), total)
