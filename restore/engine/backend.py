"""The contract between the engine and its backends: rows of a picture in, rows of the result out.

A source gives rows, a sink takes them; whether they lie in an array, a memory map or a file is no
business of a backend. Everything that a backend decides stands in its plan, before the first row.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from restore.engine.compute import Resources
from restore.engine.tiling import Span, round_up
from restore.image.picture import Pixels
from restore.models.network import Network

Report = Callable[[int, int], None]  # tiles or bands done, and how many there are


class NotFiniteError(Exception):
    """A layer in half precision overflowed: the output holds an infinity or NaN."""


@dataclass(frozen=True)
class Plan:
    """How a picture will be computed: the product of spans of rows and spans of columns.

    rows, columns: of the padded picture, with their halos
    batch:  tiles at once
    memory: bytes that the network's tensors take at most, by estimate; with an ordered sink also
            the rows on their way
    """

    rows: list[Span]
    columns: list[Span]
    batch: int
    device: torch.device
    dtype: torch.dtype
    memory: int

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return len(self.rows) * len(self.columns)

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of what the network sees at once, halo included."""
        return self.rows[0].window, self.columns[0].window


class Source(Protocol):
    """A picture that is read by rows; float32 `(rows, width, channels)` in [0, 1]."""

    height: int
    width: int
    channels: int

    def read(self, first: int, last: int) -> Pixels:
        """Rows [first, last)."""


class Sink(Protocol):
    """A result that is written in pieces.

    ordered: rows must come from the first to the last: all columns of some rows before the next
    """

    ordered: bool

    def write(self, first: int, columns: slice, pixels: Pixels) -> None:
        """Some columns of some rows; called from several threads, for different columns."""

    def restart(self) -> int:
        """Begin again; returns the first row that is still wanted."""


class Backend(Protocol):
    """A way to run a network. It holds no state: everything is in the plan."""

    def supports(self, network: Network, resources: Resources) -> bool:
        """Whether it can run this network on this device with this tile."""

    def least_memory(self, network: Network, height: int, width: int, dtype: torch.dtype) -> int:
        """Bytes that the network's tensors take for a picture of this size, at the very least."""

    def plan(
        self,
        network: Network,
        source: PaddedRows,
        resources: Resources,
        *,
        ordered: bool,
        failed: Plan | None = None,
    ) -> Plan:
        """How it will run.

        failed: the plan that ran out of memory; this one takes less
        Raises InputError where `resources.memory` is too small, OutOfMemoryError where no smaller
        plan than the failed one exists.
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
        """Run it over the rows from `start` on, a multiple of the network's `multiple_of`.

        Raises NotFiniteError where half precision overflowed, before such rows are written.
        """


class ArraySource:
    """The rows of an array `(height, width, channels)`."""

    def __init__(self, pixels: Pixels) -> None:
        """pixels: not copied."""
        self.pixels = pixels
        self.height, self.width, self.channels = pixels.shape

    def read(self, first: int, last: int) -> Pixels:
        """A view of rows [first, last)."""
        return self.pixels[first:last]


class ArraySink:
    """A result in an array; any part may be written at any time."""

    ordered = False

    def __init__(self, pixels: Pixels) -> None:
        """pixels: `(height, width, channels)`, to be written to."""
        self.pixels = pixels

    def write(self, first: int, columns: slice, pixels: Pixels) -> None:
        """Some columns of some rows."""
        self.pixels[first : first + len(pixels), columns] = pixels

    def restart(self) -> int:
        """Everything is wanted again."""
        return 0


class OrderedSink:
    """Whole rows in order, for a result that can only be appended to."""

    ordered = True

    def __init__(
        self,
        width: int,
        deliver: Callable[[int, Pixels], None],
        start: int = 0,
        restarted: Callable[[int], None] | None = None,
    ) -> None:
        """Rows of a width, from the row `start` on.

        deliver:   called with (first row, rows), in order, each row once
        restarted: called with the first row that is still wanted where the engine begins again
        """
        self.width, self.deliver, self.next, self.restarted = width, deliver, start, restarted
        self._lock = threading.Lock()
        self._rows: Pixels | None = None
        self._missing = 0

    def write(self, first: int, columns: slice, pixels: Pixels) -> None:
        """Some columns of the next rows; the last of them delivers the rows."""
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
            fresh = rows[max(0, self.next - first) :]  # a run that began again repeats a few
            if len(fresh):
                self.deliver(self.next, fresh)
                self.next += len(fresh)

    def restart(self) -> int:
        """What was delivered stays."""
        self._rows = None
        if self.restarted is not None:
            self.restarted(self.next)
        return self.next


class PaddedRows:
    """The rows of a picture with a mirrored border, up to a multiple of the network's grid.

    The outermost pixels are repeated: mirrored about them, the noise of a row next to the border
    would stand there twice as close, which costs 0.007 dB. Any size, even 1x1.
    """

    def __init__(self, source: Source, multiple: int, border: int = 0) -> None:
        """border: pixels added on each side; below and on the right more, up to a multiple."""
        self.source, self.border = source, border
        self.size = (source.height, source.width)
        self.height, self.width = (round_up(n + 2 * border, multiple) for n in self.size)
        self.channels = source.channels
        self._rows = mirrored(source.height, self.height, border)
        self._columns = mirrored(source.width, self.width, border)

    def read(self, first: int, last: int) -> Pixels:
        """Rows [first, last) of the padded picture."""
        wanted = self._rows[first:last]
        lowest, highest = int(wanted.min()), int(wanted.max()) + 1
        rows = self.source.read(lowest, highest)
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


def padded_array(pixels: Pixels, multiple: int, border: int = 0) -> Pixels:
    """A whole array `(height, width, channels)`, padded as `PaddedRows` does it."""
    rows = PaddedRows(ArraySource(pixels), multiple, border)
    return rows.read(0, rows.height)


def mirrored(
    length: int, padded: int, border: int = 0
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each position of a padded axis the one it shows: mirrored, the outermost repeated.

    border: how many positions lie before the first
    """
    at = (np.arange(padded, dtype=np.int64) - border) % (2 * length)
    return np.minimum(at, 2 * length - 1 - at)
