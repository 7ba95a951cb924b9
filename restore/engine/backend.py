"""The interface of a backend: rows of a picture in, rows of the result out.

A source provides rows and a sink takes them; a backend need not know whether they are in an array,
a memory map or a file. It decides everything in its plan, before the first row.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from restore.engine.compute import Resources
from restore.engine.tiling import Span, round_up
from restore.image.picture import Pixels
from restore.models.network import Network

Report = Callable[[int, int], None]  # tiles or bands done, and the total


class NotFiniteError(Exception):
    """A layer overflowed: the output contains infinity or NaN."""


@dataclass(frozen=True)
class Plan:
    """How a picture will be computed: each span of rows with each span of columns is a tile.

    rows, columns: of the padded picture, with their halos
    batch:  number of tiles computed at once
    engine: what computes the network: "torch", "openvino" or "onnx"
    memory: estimate of the most bytes that the network's tensors take; with an ordered sink, rows
            that are buffered between source and sink are included
    """

    rows: list[Span]
    columns: list[Span]
    batch: int
    device: torch.device
    dtype: torch.dtype
    memory: int
    engine: str = field(default="torch", kw_only=True)

    @property
    def tiles(self) -> int:
        """The number of tiles."""
        return len(self.rows) * len(self.columns)

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the network's input for one tile, halo included."""
        return self.rows[0].window, self.columns[0].window


class Source(Protocol):
    """A picture that is read by rows: float32 `(rows, width, channels)` in [0, 1]."""

    height: int
    width: int
    channels: int

    def read(self, first: int, last: int) -> Pixels:
        """Rows [first, last) of the picture."""


class Sink(Protocol):
    """A result that is written in pieces.

    ordered: whether rows must be written in order, all columns of some rows before the next rows
    """

    ordered: bool

    def write(self, first: int, columns: slice, pixels: Pixels) -> None:
        """Take some columns of the rows from `first` on; called from several threads at once."""

    def restart(self) -> int:
        """Prepare for a new run; returns the first row that is still needed."""


class Backend(Protocol):
    """A way to run networks. It has no state: everything it decides is in the plan."""

    def supports(self, network: Network, resources: Resources) -> bool:
        """Whether it can run this network with this device and tile."""

    def least_memory(self, network: Network, height: int, width: int, dtype: torch.dtype) -> int:
        """The fewest bytes in which the network can run on a picture of this size."""

    def plan(
        self,
        network: Network,
        source: PaddedRows,
        resources: Resources,
        *,
        ordered: bool,
        failed: Plan | None = None,
    ) -> Plan:
        """Plan a run.

        failed: a plan that ran out of memory; the new plan takes less
        Raises InputError if `resources.memory` is too small, and OutOfMemoryError if there is no
        smaller plan than the failed one.
        """

    def run(
        self,
        network: Network,
        source: PaddedRows,
        sink: Sink,
        plan: Plan,
        *,
        start: int = 0,
        report: Report | None = None,
    ) -> None:
        """Run the network over the rows from `start` on, a multiple of its `multiple_of`.

        Raises NotFiniteError if half precision overflowed, before an ordered sink gets such rows.
        """


class ArraySource:
    """An array `(height, width, channels)` as a source."""

    def __init__(self, pixels: Pixels) -> None:
        """pixels: not copied."""
        self.pixels = pixels
        self.height, self.width, self.channels = pixels.shape

    def read(self, first: int, last: int) -> Pixels:
        """Rows [first, last): a view, or a copy if the array is read-only, which torch warns of."""
        rows = self.pixels[first:last]
        return rows if rows.flags.writeable else rows.copy()


class ArraySink:
    """An array as a sink; its parts may be written in any order."""

    ordered = False

    def __init__(self, pixels: Pixels) -> None:
        """pixels: `(height, width, channels)`, where the result is written."""
        self.pixels = pixels

    def write(self, first: int, columns: slice, pixels: Pixels) -> None:
        """Copy some columns of the rows from `first` on."""
        self.pixels[first : first + len(pixels), columns] = pixels

    def restart(self) -> int:
        """Row 0: all rows are needed again."""
        return 0


class OrderedSink:
    """A sink that delivers whole rows in order, for a result that can only be appended to."""

    ordered = True

    def __init__(
        self,
        width: int,
        deliver: Callable[[int, Pixels], None],
        start: int = 0,
        restarted: Callable[[int], None] | None = None,
    ) -> None:
        """Set the width of the rows.

        start:     the first row to deliver
        deliver:   called with (first row, rows), in order, once for each row
        restarted: called when the engine begins again, with the first row that is still needed
        """
        self.width, self.deliver, self.next, self.restarted = width, deliver, start, restarted
        self._lock = threading.Lock()
        self._rows: Pixels | None = None
        self._missing = 0

    def write(self, first: int, columns: slice, pixels: Pixels) -> None:
        """Take some columns of the next rows; when all columns are there, deliver the rows."""
        with self._lock:
            if self._rows is None:
                shape = (len(pixels), self.width, pixels.shape[2])
                self._rows, self._missing = np.empty(shape, np.float32), self.width
            rows = self._rows
        rows[:, columns] = pixels
        with self._lock:
            self._missing -= columns.stop - columns.start
            if self._missing:
                return
            self._rows = None
            fresh = rows[max(0, self.next - first) :]  # a run that was restarted repeats a few
            if len(fresh):
                self.deliver(self.next, fresh)
                self.next += len(fresh)

    def restart(self) -> int:
        """The row after the last one delivered."""
        self._rows = None
        if self.restarted is not None:
            self.restarted(self.next)
        return self.next


class PaddedRows:
    """The rows of a picture with a mirrored border, padded to a multiple of the network's grid.

    The outermost pixels are repeated ("symmetric" in NumPy); mirroring about them ("reflect") costs
    0.007 dB, as noise near the edge then recurs closer. Any size is possible, even 1x1.
    """

    def __init__(self, source: Source, multiple: int, border: int = 0, minimum: int = 1) -> None:
        """Set the padded size.

        border:  pixels added on each side; below and on the right, more up to the multiple
        minimum: least height and width of the padded picture, a multiple of `multiple`
        """
        self.source, self.border = source, border
        self.size = (source.height, source.width)
        self.height, self.width = (
            max(minimum, round_up(n + 2 * border, multiple)) for n in self.size
        )
        self.channels = source.channels
        self._rows = mirrored(source.height, self.height, border)
        self._columns = mirrored(source.width, self.width, border)

    def read(self, first: int, last: int) -> Pixels:
        """Rows [first, last) of the padded picture."""
        indices = self._rows[first:last]
        lowest, highest = int(indices.min()), int(indices.max()) + 1
        rows = self.source.read(lowest, highest)
        if first < self.border or last > self.border + self.size[0]:
            rows = rows[indices - lowest]
        if self.width == self.size[1]:
            return rows
        framed = np.empty((last - first, self.width, rows.shape[2]), rows.dtype)
        left, right = self.border, self.border + self.size[1]
        framed[:, left:right] = rows  # indexing every column would take three times as long
        framed[:, :left] = rows[:, self._columns[:left]]
        framed[:, right:] = rows[:, self._columns[right:]]
        return framed


def padded_for(network: Network, source: Source) -> PaddedRows:
    """A picture padded as a network needs it."""
    return PaddedRows(source, network.multiple_of, network.border, network.minimum)


def padded_array(pixels: Pixels, multiple: int, border: int = 0) -> Pixels:
    """An array `(height, width, channels)`, padded as by `PaddedRows`."""
    rows = PaddedRows(ArraySource(pixels), multiple, border)
    return rows.read(0, rows.height)


def mirrored(
    length: int, padded: int, border: int = 0
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The source index for each position of a padded axis: mirrored, the outermost repeated.

    border: how many positions are added before the first
    """
    index = (np.arange(padded, dtype=np.int64) - border) % (2 * length)
    return np.minimum(index, 2 * length - 1 - index)
