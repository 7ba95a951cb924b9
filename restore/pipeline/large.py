"""Pictures that do not fit into memory: rows in, restored rows out, with a plan of the memory.

The same network, the same numbers: what comes out is what `denoise` would give for the whole.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from restore.errors import InputError
from restore.image import color
from restore.image.picture import Depth, Picture, Pixels, check_range, quantise
from restore.tasks.denoise import DEFAULT_MODEL, Denoising, Sigma, denoising

if TYPE_CHECKING:
    import os

    import torch

    from restore.engine.rows.bands import Mirrored
    from restore.engine.tiled import Plan, Report
    from restore.models.network import Network

log = logging.getLogger(__name__)

Samples = npt.NDArray[Any]
SAMPLE_ROWS = 256  # that the noise level is estimated from
ROW_COPIES = 60  # bytes a pixel of a band takes on its way through dequantising and back


class Source(Protocol):
    """What rows are read from: a NumPy array or memory map, a zarr array, a TIFF file."""

    shape: tuple[int, ...]
    dtype: Any

    def __getitem__(self, wanted: slice) -> Any:
        """Rows."""


@dataclass(frozen=True)
class Windowed:
    """What restoring a picture in parts took.

    memory: bytes that were planned for, at most
    start:  the row it began at, where an earlier run had come
    """

    height: int
    width: int
    channels: int
    depth: Depth
    model: str
    device: str
    precision: str
    window: tuple[int, int]
    memory: int
    seconds: float
    start: int = 0

    @property
    def megapixels_per_second(self) -> float:
        """Megapixels restored in a second."""
        done = (self.height - self.start) * self.width / 1e6
        return done / self.seconds if self.seconds else math.inf


def denoise_windows(
    source: Source,
    target: Any,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    *,
    sigma: Sigma = None,
    strength: float = 1.0,
    ensemble: bool = False,
    device: str = "auto",
    precision: str = "auto",
    memory: int | str | None = None,
    start: int = 0,
    report: Report | None = None,
) -> Windowed:
    """Remove the noise from a picture that need not fit into memory.

    source: anything with `shape` `(height, width[, 1..4])`, `dtype` (uint8, uint16, bool, or floats
            in [0, 1]) and slices of rows: an array, `numpy.memmap`, a zarr array
    target: the same, to be written to by slices of rows, of the source's shape; or a function that
            is called with (first row, rows), in order
    memory: bytes, or a size such as "2GB", that may be used at most; None: half of what is free
    start:  the first row to restore, a multiple of the network's `multiple_of`: where an earlier
            run, whose rows before it are in the target, was interrupted

    All else as for `denoise`; the result is the one that `denoise` would give, but that a sigma of
    "auto" is estimated from the 256 rows in the middle. Floats are read twice, first for their
    range. Raises InputError, UnknownModelError and WeightsError.
    """
    return restore_windows(
        source,
        target,
        denoising(model, strength, ensemble, sigma),
        device=device,
        precision=precision,
        memory=memory,
        start=start,
        report=report,
    )


def restore_windows(
    source: Source,
    target: Any,
    work: Denoising,
    *,
    device: str = "auto",
    precision: str = "auto",
    memory: int | str | None = None,
    start: int = 0,
    report: Report | None = None,
) -> Windowed:
    """The same with the work at hand; arguments and errors as for `denoise_windows`."""
    shape = tuple(source.shape)
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] > 4):
        raise InputError(f"a picture has the shape (height, width[, 1..4]), not {shape}")
    if not callable(target) and tuple(target.shape) != shape:
        raise InputError(f"the target has the shape {tuple(target.shape)}, the source {shape}")
    from restore.engine.device import choose_device, choose_precision
    from restore.engine.memory import free_memory, parse_bytes

    chosen = choose_device(device)
    dtype = choose_precision(precision, chosen)
    budget = parse_bytes(memory)
    if budget is None:
        import torch

        budget = free_memory(torch.device("cpu")) // 2
    rows = _Rows(source, target, work)
    if rows.work.views > 1:
        raise InputError(
            "noise up to a sigma can be added to a picture that is in memory whole, not to parts; "
            "leave the sigma out, or take denoise-photo, which is told it"
        )
    return _restore(rows, chosen, dtype, budget, start, report)


class _Rows:
    """A source's rows as the network wants them, and restored ones as the target wants them."""

    def __init__(self, source: Source, target: Any, work: Denoising) -> None:
        self.source, self.target = source, target
        self.height, self.width = source.shape[:2]
        self.flat = len(source.shape) == 2
        self.channels = 1 if self.flat else int(source.shape[2])
        self.work = work if work.by_size else work.fitted_to(self._sample())
        self.network = self.work.network
        self.bounds: tuple[float, float] | None = None
        self._held: list[Samples] = []  # read, and still to be written
        self._first = self._upto = 0

    def _sample(self) -> Picture:
        """Rows from the middle, as many as tell the noise level."""
        first = max(0, (self.height - SAMPLE_ROWS) // 2)
        return self._picture(self._samples(first, min(self.height, first + SAMPLE_ROWS)))

    def begin(self, start: int) -> None:
        """What is needed before the first row: the range of floats, over the whole picture."""
        self._first = self._upto = start
        if np.dtype(self.source.dtype).kind != "f":
            return
        low, high = 0.0, 1.0
        for first in range(0, self.height, 64):
            values = self._samples(first, min(self.height, first + 64))
            colours = values[:, :, : color_channels(self.channels)]
            check_range(colours, "the picture")
            low, high = min(low, float(colours.min())), max(high, float(colours.max()))
        self.bounds = low, high

    def read(self, first: int, last: int) -> Pixels:
        """Rows as the network sees them."""
        samples = self._samples(first, last)
        if last > self._upto:
            self._held.append(samples[max(0, self._upto - first) :])
            self._upto = last
        return self.work.seen(self._picture(samples))

    def write(self, first: int, pixels: Pixels) -> None:
        """Restored rows, in order, each once."""
        assert first == self._first
        held = np.concatenate(self._held) if len(self._held) > 1 else self._held[0]
        samples, self._held = held[: len(pixels)], [held[len(pixels) :]]
        self._first += len(pixels)
        result = self.work.put_back(self._picture(samples), pixels, self.bounds)
        stored = quantise(color.join(result.pixels, result.alpha), result.depth)
        stored = (stored[:, :, 0] if self.flat else stored).astype(self.source.dtype, copy=False)
        if callable(self.target):
            self.target(first, stored)
        else:
            self.target[first : first + len(stored)] = stored

    def _samples(self, first: int, last: int) -> Samples:
        found = np.asarray(self.source[first:last])
        return found[:, :, np.newaxis] if found.ndim == 2 else found

    def _picture(self, samples: Samples) -> Picture:
        return Picture(*color.split(samples))


class _Gathered:
    """Strips of columns that threads hand in, put together to whole rows and written in order."""

    def __init__(self, rows: _Rows) -> None:
        self.rows, self.lock = rows, threading.Lock()
        self.held: Pixels | None = None
        self.missing = 0

    def write(self, first: int, columns: slice, pixels: Pixels) -> None:
        """Some columns of the next rows; the last of them writes the rows."""
        with self.lock:
            if self.held is None:
                shape = (len(pixels), self.rows.width, pixels.shape[2])
                self.held, self.missing = np.empty(shape, np.float32), self.rows.width
            held = self.held
        held[:, columns] = pixels
        with self.lock:
            self.missing -= columns.stop - columns.start
            if self.missing == 0:
                self.held = None
                self.rows.write(first, held)


def color_channels(channels: int) -> int:
    """Of 1 to 4 channels those that are not alpha."""
    return channels - (channels in (2, 4))


def _restore(
    rows: _Rows,
    device: torch.device,
    dtype: torch.dtype,
    memory: int,
    start: int,
    report: Report | None,
) -> Windowed:
    from restore.engine.device import device_name, precision_name
    from restore.engine.memory import format_bytes
    from restore.engine.prepare import border_of
    from restore.engine.rows.bands import Mirrored

    network = rows.network
    if not 0 <= start < rows.height or start % network.multiple_of:
        raise InputError(
            f"start is a row of the picture and a multiple of {network.multiple_of}, not {start}"
        )
    began = time.perf_counter()
    border = border_of(network)
    source = Mirrored(rows.read, rows.height, rows.width, network.multiple_of, border)
    way = _streaming(rows, source, device, dtype, memory) or _strips(
        rows, source, device, dtype, memory
    )
    planned, go = way
    log.info("plan: in parts, from row %d on; at most %s", start, format_bytes(planned))
    rows.begin(start)
    plan = go(start, report)
    return Windowed(
        height=rows.height,
        width=rows.width,
        channels=rows.channels,
        depth=_depth(rows.source.dtype),
        model=network.card.name if network.card else type(network).__name__,
        device=device_name(plan.device),
        precision=precision_name(plan.dtype),
        window=plan.window,
        memory=planned,
        seconds=time.perf_counter() - began,
        start=start,
    )


Way = tuple[int, Callable[[int, Any], "Plan"]]  # planned bytes; (start, report) -> the plan


def _streaming(
    rows: _Rows, source: Mirrored, device: torch.device, dtype: torch.dtype, memory: int
) -> Way | None:
    """Bands over the full width, nothing computed twice; None where that cannot be, or not fit."""
    from restore.engine.prepare import layers_of
    from restore.engine.rows.bands import stream_columns
    from restore.engine.rows.layers import can_stream
    from restore.engine.tiled import Plan
    from restore.engine.tiling import Span, Tile

    network = rows.network
    if device.type != "cpu" or not can_stream(network):
        return None
    layers = layers_of(network, dtype)
    bands = layers.bands(source.width)
    lag = layers.lags(bands)[0]
    planned = layers.peak_bytes(source.height, source.width)
    planned += source.width * (lag * rows.channels * 4 + 4 * bands[0] * ROW_COPIES)
    if planned > memory:
        return None

    def go(start: int, report: Report | None) -> Plan:
        span = Span(0, source.width, 0, source.width)
        tile = Tile(Span(0, source.height, 0, source.height), span)
        plan = Plan([tile], (bands[0], source.width), 1, device, dtype)
        stream_columns(
            layers,
            source,
            [span],
            _Gathered(rows).write,
            start=start,
            halo=network.halo,
            report=report,
        )
        return plan

    return planned, go


def _strips(
    rows: _Rows, source: Mirrored, device: torch.device, dtype: torch.dtype, memory: int
) -> Way:
    """Full-width strips with halos, each a picture of its own to the engine."""
    from restore.engine.memory import format_bytes
    from restore.engine.prepare import bare, layers_of, useful_window
    from restore.engine.rows.layers import can_stream
    from restore.engine.tiled import run
    from restore.engine.tiling import split_axis

    network, border = rows.network, source.border
    per_row = source.width * (ROW_COPIES + 8 * network.channels)
    smallest, narrowest = (min(n, useful_window(network)) for n in (source.height, source.width))
    least = smallest * per_row
    if device.type == "cpu" and can_stream(bare(network)):
        least = max(least, layers_of(network, dtype).peak_bytes(smallest, narrowest))
    if 2 * least > memory:
        raise InputError(
            f"a memory of {format_bytes(memory)} does not hold {smallest} rows of this picture; "
            f"the smallest that works is {format_bytes(2 * least)}"
        )
    window = min(source.height, max(smallest, memory // 2 // per_row))
    spans = split_axis(source.height, window, network.halo, network.multiple_of)

    def go(start: int, report: Report | None) -> Plan:
        plan = None
        for number, span in enumerate(spans):
            first = max(span.first, start + border)
            last = min(span.last, rows.height + border)
            if last > first:
                pixels = source(span.start, span.start + span.window)
                output = run(network, pixels, device, dtype, memory=memory // 2, bordered=True)
                plan = output.plan
                kept = output.pixels[first - span.start : last - span.start]
                kept = kept[:, border : border + rows.width]
                rows.write(first - border, kept)
            if report is not None:
                report(number + 1, len(spans))
        assert plan is not None
        return plan

    return memory // 2 + spans[0].window * per_row, go


def _depth(dtype: Any) -> Depth:
    kind = np.dtype(dtype)
    if kind.kind in "ub":
        return 16 if kind.itemsize == 2 else 8
    return "float"
