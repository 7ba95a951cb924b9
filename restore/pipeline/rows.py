"""A picture that is read by rows, and what a task makes of them, in order.

The estimates see only the rows that they ask for, and results are given as soon as the rows below
them that they depend on are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from restore.engine.compute import Resources
from restore.errors import InputError
from restore.image import color
from restore.image.picture import Picture, Pixels, check_range
from restore.tasks.task import Task

if TYPE_CHECKING:
    from restore.engine.backend import Plan, Report

Samples = npt.NDArray[Any]
Deliver = Callable[[int, Picture], None]  # takes (first row, restored rows), in order
SAMPLE_ROWS = 256  # from which the noise level is estimated
CHUNK = 64  # rows at once if no network runs


class Rows(Protocol):
    """A source of rows: a NumPy array or memory map, a zarr array, a TIFF file."""

    shape: tuple[int, ...]
    dtype: Any

    def __getitem__(self, wanted: slice) -> Any:
        """A slice of rows."""


class RowPicture:
    """A picture that is read by rows, and the task to do on it."""

    def __init__(self, source: Rows, task: Task) -> None:
        """task: must be `by_rows`. Raises InputError for one that needs several passes."""
        self.source = source
        self.height, self.width = source.shape[:2]
        self.samples = 1 if len(source.shape) == 2 else int(source.shape[2])
        # `for_picture` looks only at pixels
        self.task = task.for_picture(Picture(cast("Pixels", _PixelView(self))))
        if self.task.passes > 1:
            raise InputError(
                "this model needs the picture in memory as a whole to add noise up to sigma; "
                "leave sigma out, or use denoise-photo"
            )
        self.network = self.task.network
        self.channels = self.network.channels
        self.bounds: tuple[float, float] | None = None
        self._waiting: list[Samples] = []  # rows that were read, but not yet restored
        self._upto = 0  # the row after them
        self._context = self.task.context
        self._restored: list[tuple[Samples, Pixels]] = []  # source and output, not yet delivered
        self._first = 0  # the row they begin with
        self._delivered = 0  # the row after the last one delivered

    def restore(
        self, resources: Resources, start: int, deliver: Deliver, report: Report | None
    ) -> Plan:
        """Run the network over the rows from `start` on."""
        from restore.engine.backend import OrderedSink
        from restore.engine.run import run

        self.bounds = self.find_range()
        self._delivered = start
        if self._context:  # begin early enough that the first rows have theirs
            grid = math.lcm(self._context, self.network.multiple_of)
            start = max(0, (start - self._context) // grid * grid)
        self._upto = self._first = start

        def write(first: int, pixels: Pixels) -> None:
            self._restored.append((self._read_before(len(pixels)), pixels))
            ready = self._ready(first + len(pixels))
            if ready > self._delivered:
                deliver(self._delivered, self._result(ready))
                self._delivered = ready

        sink = OrderedSink(self.width, write, start, restarted=self._begin_again)
        return run(self.network, self, sink, resources, start=start, report=report)

    def copy(self, start: int, deliver: Deliver) -> None:
        """Deliver the rows as they are."""
        for first in range(start, self.height, CHUNK):
            samples = self.samples_of(first, min(self.height, first + CHUNK))
            deliver(first, Picture(*color.split(samples)))

    def read(self, first: int, last: int) -> Pixels:
        """Rows [first, last) as input of the network."""
        samples = self.samples_of(first, last)
        if last > self._upto:
            self._waiting.append(samples[max(0, self._upto - first) :])
            self._upto = last
        return self.task.preprocess(Picture(*color.split(samples)))

    def _read_before(self, count: int) -> Samples:
        """The next rows of the source, which were read as input of the network."""
        waiting = np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        samples, self._waiting = waiting[:count], [waiting[count:]]
        return samples

    def _ready(self, upto: int) -> int:
        """The row up to which results are possible, where the network's output ends at a row."""
        if upto == self.height or not self._context:
            return upto
        return (upto // self._context - 1) * self._context

    def _result(self, ready: int) -> Picture:
        """The result for the rows up to `ready` that were not delivered, from the output."""
        source, output = (np.concatenate(part) for part in zip(*self._restored, strict=True))
        rows = slice(self._delivered - self._first, ready - self._first)
        needed = max(self._first, ready - self._context)
        tail = slice(needed - self._first, None)
        self._restored = [(source[tail].copy(), output[tail].copy())]  # `output` is written over
        self._first = needed
        done = self.task.postprocess(Picture(*color.split(source)), output, self.bounds)
        alpha = None if done.alpha is None else done.alpha[rows]
        return done.replace(pixels=done.pixels[rows], alpha=alpha)

    def pixels(self, first: int, last: int) -> Pixels:
        """Rows [first, last) as float32 pixels, without alpha, to be estimated from."""
        pixels = Picture(*color.split(self.samples_of(first, last))).pixels
        check_range(pixels, "the picture")
        return pixels

    def _begin_again(self, first: int) -> None:
        """Forget what was read: rows from this one on will be read again."""
        self._waiting, self._upto = [], first

    def find_range(self) -> tuple[float, float] | None:
        """The lowest and highest value of a picture in floats; None for integers."""
        if np.dtype(self.source.dtype).kind != "f":
            return None
        low, high = 0.0, 1.0
        for first in range(0, self.height, CHUNK):
            values = self.samples_of(first, min(self.height, first + CHUNK))
            colours = values[:, :, : colour_channels(self.samples)]
            check_range(colours, "the picture")
            low, high = min(low, float(colours.min())), max(high, float(colours.max()))
        return low, high

    def samples_of(self, first: int, last: int) -> Samples:
        """Rows [first, last) as they are in the source: (height, width, samples)."""
        samples = np.asarray(self.source[first:last])
        return samples[:, :, np.newaxis] if samples.ndim == 2 else samples


class _PixelView:
    """The pixels of a source, read only when used, for the estimates of `Task.for_picture`."""

    def __init__(self, rows: RowPicture) -> None:
        self.rows = rows
        self.shape = (rows.height, rows.width, colour_channels(rows.samples))
        self._cached: tuple[tuple[int, int], Pixels] | None = None

    def __getitem__(self, index: tuple[slice, slice]) -> Pixels:
        """Some rows and columns; the rows are cached, as more columns of them are often used."""
        key = index[0].start, index[0].stop
        if self._cached is None or self._cached[0] != key:
            self._cached = key, self.rows.pixels(*key)
        return self._cached[1][:, index[1]]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Pixels:
        """The rows in the middle, for an estimate that uses all pixels at once."""
        count = min(self.shape[0], SAMPLE_ROWS)
        first = (self.shape[0] - count) // 2
        return self.rows.pixels(first, first + count)


def as_samples(band: Picture, dtype: Any) -> Samples:
    """Rows of a picture as samples of a file's type, (height, width, samples)."""
    stored: Samples = color.join(band.pixels, band.alpha, band.depth)
    return stored.astype(dtype, copy=False)


def colour_channels(samples: int) -> int:
    """The number of channels without alpha, of 1 to 4 samples."""
    return samples - (samples in (2, 4))
