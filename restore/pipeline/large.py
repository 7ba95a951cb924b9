"""Pictures that do not fit into memory: rows in, restored rows out, in a memory that is planned.

The engine and the task are those of a picture in memory, and so is the result.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from restore.engine.compute import Compute, Resources
from restore.errors import InputError, ReadError
from restore.image import color
from restore.image.metadata import without_metadata, without_thumbnails
from restore.image.picture import Depth, Picture, Pixels, check_range, quantise
from restore.image.read import TIFF_STARTS
from restore.image.tiff import TiffRows
from restore.image.tiff_write import TiffStrips
from restore.pipeline.result import LargeResult, Result
from restore.tasks.denoise import DEFAULT_MODEL, Sigma, denoising
from restore.tasks.task import Task

if TYPE_CHECKING:
    import os

    from restore.engine.backend import Plan, Report
    from restore.models.network import Network

Samples = npt.NDArray[Any]
Deliver = Callable[[int, Picture], None]  # first row, restored rows; in order
SAMPLE_ROWS = 256  # that the noise level is estimated from
CHUNK = 64  # rows at once where no network runs


class Rows(Protocol):
    """What rows are read from: a NumPy array or memory map, a zarr array, a TIFF file."""

    shape: tuple[int, ...]
    dtype: Any

    def __getitem__(self, wanted: slice) -> Any:
        """Rows."""


def denoise_windows(  # noqa: PLR0913 (a public keyword API)
    source: Rows,
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
) -> LargeResult:
    """Remove the noise from a picture that need not fit into memory.

    source: anything with `shape` `(height, width[, 1..4])`, `dtype` (uint8, uint16, bool, or floats
            in [0, 1]) and slices of rows: an array, `numpy.memmap`, a zarr array
    target: the same, to be written to by slices of rows, of the source's shape; or a function that
            is called with (first row, rows), in order
    memory: bytes, or a size such as "2GB", that may be used at most; None: half of what is free
    start:  the first row to restore, a multiple of the network's `multiple_of`: where an earlier
            run, whose rows before it are in the target, was interrupted

    All else as for `denoise`; the result is the one that `denoise` would give, but that a noise
    level is estimated from the 256 rows in the middle. Floats are read twice, first for their
    range. Raises InputError, UnknownModelError and WeightsError.
    """
    shape = tuple(source.shape)
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] > 4):
        raise InputError(f"a picture has the shape (height, width[, 1..4]), not {shape}")
    if not callable(target) and tuple(target.shape) != shape:
        raise InputError(f"the target has the shape {tuple(target.shape)}, the source {shape}")
    return restore_rows(
        RowPicture(source, denoising(model, strength, ensemble, sigma)),
        _stored(source, target),
        Compute(device, precision, memory=memory),
        start=start,
        report=report,
    )


def restore_rows(
    rows: RowPicture,
    deliver: Deliver,
    compute: Compute,
    *,
    start: int = 0,
    report: Report | None = None,
) -> LargeResult:
    """Do the task of a picture by rows. Raises what `denoise_windows` raises."""
    from restore.engine.device import device_name, precision_name

    resources = _planned(compute)
    network = rows.network
    if not 0 <= start < rows.height or start % network.multiple_of:
        raise InputError(
            f"start is a row of the picture and a multiple of {network.multiple_of}, not {start}"
        )
    began = time.perf_counter()
    plan = None
    if rows.task.unchanged:
        rows.copy(start, deliver)
    else:
        plan = rows.restore(resources, start, deliver, report)
    return LargeResult(
        height=rows.height,
        width=rows.width,
        channels=rows.samples,
        depth=_depth(rows.source.dtype),
        model=network.card.name if network.card else type(network).__name__,
        device=device_name(resources.device),
        precision=precision_name(plan.dtype if plan else resources.dtype),
        window=plan.window if plan else (CHUNK, rows.width),
        memory=plan.memory if plan else 0,
        seconds=time.perf_counter() - began,
        start=start,
        sigma=rows.task.sigma,
        unchanged=rows.task.unchanged,
    )


def needs_rows(source: Path, task: Task, compute: Compute) -> bool:
    """Whether a file is a TIFF that is better restored by rows than held in memory.

    This is decided here for everybody: one file, a folder, Python. Without a `compute.memory` a
    picture may take half of what is free.
    """
    import torch

    from restore.engine.memory import free_memory, held_bytes, parse_bytes

    if not task.by_rows or compute.tile is not None:
        return False
    size = _tiff_size(source)
    if size is None:
        return False
    budget = parse_bytes(compute.memory) or free_memory(torch.device("cpu")) // 2
    # what is left beside the picture must hold the network at least
    return held_bytes(size[0], size[1], 3) > budget * 3 // 4


def restore_tiff(
    source: Path,
    target: Path,
    task: Task,
    compute: Compute,
    *,
    overwrite: bool = False,
    strip_metadata: bool = False,
    report: Report | None = None,
) -> LargeResult:
    """A tiled or striped (Big)TIFF of any size into another; memory stays bounded.

    Depth, alpha, colour profile, EXIF and XMP go along. The result appears when it is whole; what a
    killed run has done lies under a hidden name beside it, and the same call goes on there. Raises
    ReadError and WriteError besides what `restore_rows` raises.
    """
    rows = TiffRows(source)
    try:
        picture = RowPicture(rows, task)
        like = without_thumbnails(rows.metadata())
        if strip_metadata:
            like = without_metadata(like)
        status = source.stat()
        key: dict[str, Any] = {"source": [str(source.resolve()), status.st_size]}
        key |= {"changed": status.st_mtime_ns, "stripped": strip_metadata}
        key |= {"device": str(compute.device), "precision": compute.precision}
        key |= _identity(task)
        strips = TiffStrips(
            target,
            like,
            rows.shape,
            key,
            dtype=rows.dtype,
            grid=picture.network.multiple_of,
            overwrite=overwrite,
        )
        try:
            start = strips.done if strips.done < rows.shape[0] else strips.take_back()
            deliver = _stored(rows, lambda first, samples: strips.append(samples))
            done = restore_rows(picture, deliver, compute, start=start, report=report)
            rows.check_unchanged()
            strips.finish()
            return done
        finally:
            strips.close()
    finally:
        rows.close()


def restore_tiff_to_picture(
    source: Path, task: Task, compute: Compute, report: Report | None = None
) -> Result:
    """A TIFF that is larger than `compute.memory`, as a picture whose pixels lie in a file.

    The pixels are a memory map of a temporary file without a name, which goes with the picture.
    """
    rows = TiffRows(source)
    try:
        like = without_thumbnails(rows.metadata())
        height, width, samples = rows.shape
        colours = _colour_channels(samples)
        pixels = _mapped((height, width, colours))
        alpha = _mapped((height, width)) if samples > colours else None

        def deliver(first: int, band: Picture) -> None:
            pixels[first : first + band.height] = band.pixels
            if alpha is not None and band.alpha is not None:
                alpha[first : first + band.height] = band.alpha

        done = restore_rows(RowPicture(rows, task), deliver, compute, report=report)
    finally:
        rows.close()
    picture = like.replace(pixels=pixels, alpha=alpha)
    return Result(
        image=picture,
        picture=picture,
        model=done.model,
        device=done.device,
        precision=done.precision,
        tiles=-(-done.height // done.window[0]),
        window=done.window,
        seconds=done.seconds,
        sigma=done.sigma,
        unchanged=done.unchanged,
    )


class RowPicture:
    """A picture that is read by rows, and the task that is to be done on it."""

    def __init__(self, source: Rows, task: Task) -> None:
        """task: must be `by_rows`. Raises InputError for one that needs the picture whole."""
        self.source = source
        self.height, self.width = source.shape[:2]
        self.samples = 1 if len(source.shape) == 2 else int(source.shape[2])
        self.task = task.for_picture(_as_picture(_PixelView(self)))
        if self.task.passes > 1:
            raise InputError(
                "noise up to a sigma can be added to a picture that is in memory whole, not to "
                "parts; leave the sigma out, or take denoise-photo, which is told it"
            )
        self.network = self.task.network
        self.channels = self.network.channels
        self.bounds: tuple[float, float] | None = None
        self._waiting: list[Samples] = []  # rows that were read, and whose result is still to come
        self._upto = 0  # the row after them

    def restore(
        self, resources: Resources, start: int, deliver: Deliver, report: Report | None
    ) -> Plan:
        """Run the network from a row on."""
        from restore.engine.backend import OrderedSink
        from restore.engine.run import run

        self.bounds = self._range()
        self._upto = start

        def write(first: int, pixels: Pixels) -> None:
            deliver(first, self._result(pixels))

        sink = OrderedSink(self.width, write, start, restarted=self._begin_again)
        return run(self.network, self, sink, resources, start=start, report=report)

    def copy(self, start: int, deliver: Deliver) -> None:
        """Deliver the rows as they are."""
        for first in range(start, self.height, CHUNK):
            samples = self._read(first, min(self.height, first + CHUNK))
            deliver(first, Picture(*color.split(samples)))

    def read(self, first: int, last: int) -> Pixels:
        """Rows as the network sees them."""
        samples = self._read(first, last)
        if last > self._upto:
            self._waiting.append(samples[max(0, self._upto - first) :])
            self._upto = last
        return self.task.preprocess(Picture(*color.split(samples)))

    def _result(self, pixels: Pixels) -> Picture:
        """The result of the next rows, from the network's answer."""
        waiting = np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        samples, self._waiting = waiting[: len(pixels)], [waiting[len(pixels) :]]
        picture = Picture(*color.split(samples))
        return self.task.postprocess(picture, pixels, self.bounds)

    def pixels(self, first: int, last: int) -> Pixels:
        """The colours of some rows."""
        return Picture(*color.split(self._read(first, last))).pixels

    def _begin_again(self, first: int) -> None:
        """Rows from this one on will be read again."""
        self._waiting, self._upto = [], first

    def _range(self) -> tuple[float, float] | None:
        """Lowest and highest value of floats, over the whole picture."""
        if np.dtype(self.source.dtype).kind != "f":
            return None
        low, high = 0.0, 1.0
        for first in range(0, self.height, CHUNK):
            values = self._read(first, min(self.height, first + CHUNK))
            colours = values[:, :, : _colour_channels(self.samples)]
            check_range(colours, "the picture")
            low, high = min(low, float(colours.min())), max(high, float(colours.max()))
        return low, high

    def _read(self, first: int, last: int) -> Samples:
        found = np.asarray(self.source[first:last])
        return found[:, :, np.newaxis] if found.ndim == 2 else found


class _PixelView:
    """The pixels of a source, read where they are looked at: what a task decides by."""

    def __init__(self, rows: RowPicture) -> None:
        self.rows = rows
        self.shape = (rows.height, rows.width, _colour_channels(rows.samples))
        self._held: tuple[tuple[int, int], Pixels] | None = None

    def __getitem__(self, wanted: tuple[slice, slice]) -> Pixels:
        """Some rows and columns; the rows are kept for other columns of them."""
        key = wanted[0].start, wanted[0].stop
        if self._held is None or self._held[0] != key:
            self._held = key, self.rows.pixels(*key)
        return self._held[1][:, wanted[1]]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Pixels:
        """Rows from the middle, for an estimate that wants all pixels at once."""
        count = min(self.shape[0], SAMPLE_ROWS)
        first = (self.shape[0] - count) // 2
        return self.rows.pixels(first, first + count)


def _as_picture(view: _PixelView) -> Picture:
    """A picture for `Task.for_picture`, which looks at pixels only."""
    return Picture(cast("Pixels", view))


def _stored(source: Rows, target: Any) -> Deliver:
    """Deliver rows in the type and shape of the source, to an array or a function."""
    flat = len(source.shape) == 2

    def deliver(first: int, band: Picture) -> None:
        stored = quantise(color.join(band.pixels, band.alpha), band.depth)
        stored = (stored[:, :, 0] if flat else stored).astype(source.dtype, copy=False)
        if callable(target):
            target(first, stored)
        else:
            target[first : first + len(stored)] = stored

    return deliver


def _planned(compute: Compute) -> Resources:
    """The resources with a memory: that asked for, or half of what is free."""
    import torch

    from restore.engine.memory import free_memory

    resources = compute.resolve()
    memory = resources.memory or free_memory(torch.device("cpu")) // 2
    return dataclasses.replace(resources, memory=memory)


def _mapped(shape: tuple[int, ...]) -> Pixels:
    """Float32 in a temporary file that has no name."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=shape)


def _tiff_size(source: Path) -> tuple[int, int] | None:
    """Height and width as the header of a TIFF has them; None for anything else."""
    import tifffile

    try:
        with source.open("rb") as file:
            if file.read(4) not in TIFF_STARTS:
                return None
        with tifffile.TiffFile(source) as tiff:
            page = tiff.pages[0]
            return int(page.imagelength), int(page.imagewidth)
    except (OSError, ReadError):
        return None
    except Exception:  # a damaged file: reading it will tell
        return None


def _colour_channels(samples: int) -> int:
    """Of 1 to 4 samples those that are not alpha."""
    return samples - (samples in (2, 4))


def _identity(task: Any) -> dict[str, Any]:
    """What tells two tasks apart: settings, and the network's weights.

    Two runs that differ in it must not share an unfinished result.
    """
    found: dict[str, Any] = {"task": type(task).__name__}
    for field in dataclasses.fields(task):
        value = getattr(task, field.name)
        found[field.name] = fingerprint(value) if field.name == "network" else value
    return found


def fingerprint(network: Any) -> str:
    """A name for a network's weights."""
    found = hashlib.sha256(type(network).__name__.encode())
    for key, value in sorted(network.state_dict().items()):
        found.update(key.encode())
        found.update(value.float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _depth(dtype: Any) -> Depth:
    kind = np.dtype(dtype)
    if kind.kind in "ub":
        return 16 if kind.itemsize == 2 else 8
    return "float"
