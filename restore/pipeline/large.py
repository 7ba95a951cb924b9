"""Pictures that do not fit into memory: read, restored and written by rows in bounded memory.

The engine, the task and the result are the same as for a picture in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from restore.engine.compute import Compute, Resources
from restore.errors import InputError, ModelError, ReadError
from restore.image import color
from restore.image.atomic import Note, private_as
from restore.image.metadata import without_metadata, without_thumbnails
from restore.image.picture import Depth, Picture, Pixels
from restore.image.read import TIFF_STARTS, load_image, promised_size
from restore.image.tiff import TiffRows
from restore.image.tiff_write import TiffStrips
from restore.pipeline.journal import plain
from restore.pipeline.result import LargeResult, Result, make_pair
from restore.pipeline.rows import CHUNK, Deliver, RowPicture, Rows, as_samples, colour_channels
from restore.tasks.denoise import DEFAULT_MODEL, Sigma, denoising
from restore.tasks.task import Task, model_name

if TYPE_CHECKING:
    import os

    from restore.engine.backend import Report
    from restore.models.network import Network
    from restore.view.pair import Pair

SHOWN_PIXELS = 16_000_000  # of a picture larger than memory, to look at
SMALL_PIXELS = 2**24  # that fit anywhere, so that torch need not be imported to know
# Pixels that are decoded whatever limit is given, so that a refusal can name the smallest.
DECODED_PIXELS = 2**22


def denoise_windows(  # noqa: PLR0913 (a public keyword API)
    source: Rows,
    target: Any,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    *,
    sigma: Sigma = None,
    strength: float = 1.0,
    detail: float | None = None,
    ensemble: bool = False,
    device: str = "auto",
    precision: str = "auto",
    memory: int | str | None = None,
    engine: str = "auto",
    start: int = 0,
    report: Report | None = None,
) -> LargeResult:
    """Denoise a picture that need not fit into memory.

    source: anything with `shape` `(height, width[, 1..4])`, `dtype` (uint8, uint16, bool, or floats
            in [0, 1]) and slices of rows: an array, `numpy.memmap`, a zarr array
    target: of the source's shape, and written to by slices of rows, but not in the source's memory,
            as rows are read again beside those that are written; or a function that is called with
            (first row, rows), in order
    memory: limit in bytes, or a size such as "2GB"; None: half of the free memory
    start:  the first row to restore, a multiple of the network's `multiple_of`: where an earlier
            run was interrupted, whose rows are in the target

    Other arguments as for `denoise`. The result equals that of `denoise`, except that the level of
    white noise is estimated from the 256 rows in the middle. Floats are read twice, first for their
    range. Raises InputError, UnknownModelError, WeightsError or OutOfMemoryError.
    """
    _check_source(source)
    if not callable(target):
        _check_target(source, target)
    return restore_rows(
        RowPicture(source, denoising(model, strength, ensemble, sigma, detail)),
        _store(source, target),
        Compute(device, precision, memory=memory, engine=engine),
        start=start,
        report=report,
    )


def _check_source(source: Any) -> None:
    if not hasattr(source, "shape") or not hasattr(source, "dtype"):
        raise InputError(
            f"the source must be an array, a memory map or alike, not a {type(source).__name__}"
        )
    shape = tuple(source.shape)
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] > 4):
        raise InputError(f"a picture must have the shape (height, width[, 1..4]), not {shape}")


def _check_target(source: Rows, target: Any) -> None:
    """InputError for a target that the rows cannot be written to, or only over those of the source.

    Where strips overlap, rows above a strip are read once more after their result was written.
    """
    if not hasattr(target, "shape") or not hasattr(target, "__setitem__"):
        raise InputError(
            "the target must be an array, a memory map or alike, or a function, "
            f"not a {type(target).__name__}"
        )
    shape, found = tuple(source.shape), tuple(target.shape)
    if found != shape:
        raise InputError(f"the target must have the source's shape {shape}, not {found}")
    flags = getattr(target, "flags", None)
    if getattr(target, "read_only", False) or not getattr(flags, "writeable", True):
        raise InputError("the target is read-only; give one that can be written to")
    arrays = isinstance(source, np.ndarray) and isinstance(target, np.ndarray)
    if arrays and np.shares_memory(source, target):
        raise InputError(
            "the target shares memory with the source, which is read while the target is written; "
            "give an array of its own"
        )


def restore_rows(
    rows: RowPicture,
    deliver: Deliver,
    compute: Compute,
    *,
    start: int = 0,
    report: Report | None = None,
) -> LargeResult:
    """Do the task of `rows` on it. Raises what `denoise_windows` raises."""
    from restore.engine.device import device_name, precision_name
    from restore.engine.seams import seam_notes

    resources = _resources(compute)
    network = rows.network
    if not 0 <= start < rows.height or start % network.multiple_of:
        raise InputError(
            f"start must be a row of the picture and a multiple of {network.multiple_of}, "
            f"not {start}"
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
        model=model_name(network),
        device=device_name(resources.device),
        precision=precision_name(plan.dtype if plan else resources.dtype),
        engine=plan.engine if plan else "torch",
        window=plan.window if plan else (CHUNK, rows.width),
        memory=plan.memory if plan else 0,
        seconds=time.perf_counter() - began,
        start=start,
        sigma=rows.task.sigma,
        unchanged=rows.task.unchanged,
        notes=seam_notes(network, plan) if plan else (),
    )


def needs_rows(source: Path, task: Task, compute: Compute) -> bool:
    """Whether a file is a TIFF that is too large for memory and so must be restored by rows.

    Every request decides by this function. Without a `compute.memory`, a picture may take half of
    the free memory.
    """
    from restore.engine.memory import held_bytes

    if not task.by_rows or compute.tile is not None:
        return False
    header = _tiff_header(source)
    if header is None:
        return False
    height, width, depth = header
    # a quarter must be left for the network
    return held_bytes(height, width, 3, depth) > _budget(compute.memory) * 3 // 4


def _budget(memory: int | str | None) -> int:
    """Bytes that may be used: a limit as it is given, or half of the free memory."""
    import torch

    from restore.engine.compute import parse_bytes
    from restore.engine.memory import free_memory

    return parse_bytes(memory) or free_memory(torch.device("cpu")) // 2


def read_pair(
    name: str, source: Path, restored: Path, memory: int | str | None = None
) -> tuple[Picture, Pair]:
    """A picture file and its result, to be looked at; returns the original, too.

    memory: as for `Compute`. Of files that do not fit into it, the rows in the middle are read.
    Raises ReadError.
    """
    from restore.engine.memory import held_bytes

    pixels = _budget(memory) // (2 * held_bytes(1, 1, 3))
    sizes = [header[:2] for path in (source, restored) if (header := _tiff_header(path))]
    height, width = sizes[0] if sizes else (0, 0)
    if sizes == [(height, width)] * 2 and height * width > pixels:
        count = max(1, min(height, pixels // width, SHOWN_PIXELS // width))
        first = (height - count) // 2
        name = f"{name}, rows {first} to {first + count} of {height}"
        pictures = [_read_rows(path, first, first + count) for path in (source, restored)]
    else:
        pictures = [load_image(path) for path in (source, restored)]
    return pictures[0], make_pair(name, *pictures)


def _read_rows(path: Path, first: int, last: int) -> Picture:
    rows = TiffRows(path)
    try:
        planes = color.split(rows[first:last])
        return rows.metadata().replace(**planes._asdict())
    finally:
        rows.close()


def check_fits(data: bytes, name: str, compute: Compute) -> None:
    """Raise InputError for a file whose pixels cannot fit into memory, before they are decoded.

    data: of the file, whose header tells the size; without a `compute.memory`, the free memory is
          the limit. What fits by this may still be refused when its network is known.
    """
    height, width = promised_size(data)
    if height * width <= (SMALL_PIXELS if compute.memory is None else DECODED_PIXELS):
        return
    import torch

    from restore.engine.compute import parse_bytes
    from restore.engine.memory import format_bytes, free_memory, held_bytes

    limit = parse_bytes(compute.memory) or free_memory(torch.device("cpu"))
    held = held_bytes(height, width, 1)
    if held > limit:
        raise InputError(
            f"{name} says that it has {width}x{height} pixels, which do not fit into "
            f"{format_bytes(limit)} of memory, as they take more than {format_bytes(held)}; "
            "cut it into parts, or restore it from TIFF to TIFF, which is done in parts"
        )


def restore_tiff(
    source: Path,
    target: Path,
    task: Task,
    compute: Compute,
    *,
    overwrite: bool = False,
    strip_metadata: bool = False,
    report: Report | None = None,
    note: Note | None = None,
) -> LargeResult:
    """Restore a tiled or striped (Big)TIFF of any size into another, in bounded memory.

    Depth, alpha, colour profile, EXIF and XMP are kept. The result appears once it is complete; a
    run that is interrupted after its first strip leaves a hidden file beside it, from which the
    same call continues. A run that is refused leaves nothing, nor does one whose source is damaged.
    Raises ReadError, WriteError and what `restore_rows` raises.
    """
    work = TiffWork(source, target, task, compute, overwrite, strip_metadata)
    try:
        deliver = _store(work.rows, lambda first, samples: work.strips.append(samples))
        with _advising(work.picture, compute):
            result = restore_rows(work.picture, deliver, compute, start=work.start, report=report)
        work.finish(note)
        return dataclasses.replace(result, notes=work.notes + result.notes)
    except (ReadError, ModelError) as error:
        if not isinstance(error.__cause__, (OSError, MemoryError)):  # it would come again
            work.strips.discard()
        raise
    finally:
        work.close()


@contextlib.contextmanager
def _advising(rows: RowPicture, compute: Compute) -> Iterator[None]:
    """A refused limit of memory with what the whole needs, where that is less than its parts."""
    from restore.engine.memory import TooLittleMemoryError, format_bytes

    try:
        yield
    except TooLittleMemoryError as error:
        whole = _memory_as_a_whole(rows, compute)
        if whole >= error.need:
            raise
        raise InputError(f"{error} in parts, and {format_bytes(whole)} as a whole") from None


def _memory_as_a_whole(rows: RowPicture, compute: Compute) -> int:
    """The smallest limit with which a TIFF is not restored by rows, see `needs_rows`, and works."""
    from restore.engine.memory import TooLittleMemoryError, held_bytes
    from restore.engine.run import network_memory

    size, depth = (rows.height, rows.width), _depth(rows.source.dtype)
    least = -(-held_bytes(*size, 3, depth) * 4 // 3)
    try:
        nothing = dataclasses.replace(compute.resolve(), memory=0)
        network_memory(rows.network, (*size, rows.channels), nothing, rows.task.passes, depth)
    except TooLittleMemoryError as error:
        least = max(least, error.need)
    return least


class TiffWork:
    """A TIFF that is read by rows, the task to do on it, and the TIFF that its rows go to.

    start: the first row to restore; those before it are in the unfinished result of an earlier run
    notes: what is left out of the TIFF, a sentence each
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        task: Task,
        compute: Compute,
        overwrite: bool,
        strip_metadata: bool,
    ) -> None:
        """Open both. Raises ReadError, WriteError, and InputError for a task that cannot be so."""
        self.rows = rows = TiffRows(source)
        try:
            self.picture = RowPicture(rows, task)
            like = without_thumbnails(rows.metadata())
            self.notes = like.notes
            if strip_metadata:
                like = without_metadata(like)
            status = source.stat()
            key: dict[str, Any] = {"source": [str(source.resolve()), status.st_size]}
            key |= {"changed": status.st_mtime_ns, "stripped": strip_metadata}
            key |= {"device": str(compute.device), "precision": compute.precision}
            key |= {"engine": compute.engine}
            key |= {"task": plain(task)}
            self.strips = TiffStrips(
                target,
                like,
                rows.shape,
                key,
                dtype=rows.dtype,
                grid=self.picture.network.multiple_of,
                overwrite=overwrite,
                mode=private_as(source),
            )
        except BaseException:
            rows.close()
            raise
        done = self.strips.done
        self.start = done if done < rows.shape[0] else self.strips.take_back()

    def finish(self, note: Note | None = None) -> None:
        """Give the result its name, unless the source has changed meanwhile."""
        self.rows.check_unchanged()
        self.strips.finish(note)

    def close(self) -> None:
        """Close both; an unfinished result with any strips stays for the next run."""
        self.strips.close()
        self.rows.close()


def restore_tiff_to_picture(
    source: Path, task: Task, compute: Compute, report: Report | None = None
) -> Result:
    """Restore a TIFF that is larger than memory into a picture whose pixels are in a file.

    The pixels are a memory map of an unnamed temporary file, which is deleted with the picture.
    """
    rows = TiffRows(source)
    try:
        like = without_thumbnails(rows.metadata())
        height, width, samples = rows.shape
        colours = colour_channels(samples)
        pixels = _mapped((height, width, colours))
        alpha = _mapped((height, width)) if samples > colours else None

        def deliver(first: int, band: Picture) -> None:
            pixels[first : first + band.height] = band.pixels
            if alpha is not None and band.alpha is not None:
                alpha[first : first + band.height] = band.alpha

        picture_rows = RowPicture(rows, task)
        with _advising(picture_rows, compute):
            done = restore_rows(picture_rows, deliver, compute, report=report)
    finally:
        rows.close()
    picture = like.replace(pixels=pixels, alpha=alpha, notes=like.notes + done.notes)
    return Result(
        image=picture,
        picture=picture,
        model=done.model,
        device=done.device,
        precision=done.precision,
        engine=done.engine,
        tiles=-(-done.height // done.window[0]),
        window=done.window,
        seconds=done.seconds,
        sigma=done.sigma,
        unchanged=done.unchanged,
    )


def _store(source: Rows, target: Any) -> Deliver:
    """A function that stores rows in the source's type and shape, in an array or by a function."""
    flat = len(source.shape) == 2

    def deliver(first: int, band: Picture) -> None:
        stored = as_samples(band, source.dtype)
        stored = stored[:, :, 0] if flat else stored
        if callable(target):
            target(first, stored)
        else:
            target[first : first + len(stored)] = stored

    return deliver


def _resources(compute: Compute) -> Resources:
    """The resolved settings; without a limit of memory, half of the free memory."""
    import torch

    from restore.engine.memory import free_memory

    resources = compute.resolve()
    memory = resources.memory or free_memory(torch.device("cpu")) // 2
    return dataclasses.replace(resources, memory=memory)


def _mapped(shape: tuple[int, ...]) -> Pixels:
    """A float32 array in an unnamed temporary file."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=shape)


def _tiff_header(source: Path) -> tuple[int, int, Depth] | None:
    """Height, width and depth from the header of a TIFF; None for any other file."""
    import tifffile

    try:
        if not source.is_file():  # opening a pipe would wait for its other end
            return None
        with source.open("rb") as file:
            if file.read(4) not in TIFF_STARTS:
                return None
        with tifffile.TiffFile(source) as tiff:
            page = tiff.pages[0]
            return int(page.imagelength), int(page.imagewidth), _depth(page.dtype or np.uint8)
    except (OSError, ReadError):
        return None
    except Exception:  # a damaged file, which raises when it is read
        return None


def _depth(dtype: Any) -> Depth:
    kind = np.dtype(dtype)
    if kind.kind in "ub":
        return 16 if kind.itemsize == 2 else 8
    return "float"
