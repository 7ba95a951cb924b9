"""TIFF files that do not fit into memory, restored from file to file; a killed run goes on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import InputError, ReadError, WriteError
from restore.image.metadata import without_metadata, without_thumbnails
from restore.image.read import TIFF_STARTS
from restore.image.tiff import TiffRows
from restore.image.tiff_write import TiffStrips
from restore.image.write import format_of
from restore.pipeline.file import default_target, same_file
from restore.pipeline.large import Windowed, restore_windows
from restore.tasks.denoise import DEFAULT_MODEL, Denoising, Sigma, denoising

if TYPE_CHECKING:
    from restore.engine.tiled import Report
    from restore.models.network import Network


def is_huge(source: Path, target: Path | None, memory: int | str | None = None) -> bool:
    """Whether a TIFF file, restored to a TIFF, is better done in parts than held in memory.

    memory: bytes or a size; None: half of what is free.
    """
    import torch

    from restore.engine.memory import free_memory, held_bytes, parse_bytes

    try:
        with source.open("rb") as file:
            if file.read(4) not in TIFF_STARTS:
                return False
        size = _size(source)
    except (OSError, ReadError):
        return False  # to read it will tell
    place = default_target(source, target)
    if size is None or place.suffix.lower() not in (".tif", ".tiff"):
        return False
    budget = parse_bytes(memory) or free_memory(torch.device("cpu")) // 2
    # what is left beside the picture must hold the network at least
    return held_bytes(size[0], size[1], 3) > budget * 3 // 4


def _size(source: Path) -> tuple[int, int] | None:
    """Height and width as the header has them; None where tifffile cannot say."""
    import tifffile

    try:
        with tifffile.TiffFile(source) as file:
            page = file.pages[0]
            return int(page.imagelength), int(page.imagewidth)
    except Exception:  # a damaged file: to read it will tell
        return None


def denoise_huge(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    *,
    overwrite: bool = False,
    strip_metadata: bool = False,
    sigma: Sigma = None,
    strength: float = 1.0,
    ensemble: bool = False,
    device: str = "auto",
    precision: str = "auto",
    memory: int | str | None = None,
    report: Report | None = None,
) -> tuple[Windowed, Path]:
    """Denoise a tiled or striped (Big)TIFF of any size into another; memory stays bounded.

    Depth, alpha, colour profile, EXIF and XMP go along. The result appears when it is whole; what a
    killed run has done lies under a hidden name beside it, and the same call goes on there.
    All else as for `denoise_windows`. Raises ReadError and WriteError besides.
    """
    source = Path(source)
    place = default_target(source, target)
    if format_of(place, None) != "TIFF":
        raise InputError(f"a TIFF in parts becomes a TIFF; name the result like {source.stem}.tif")
    if same_file(source, place):
        raise WriteError(f"{place} is the picture itself; give another name for the result")
    work = denoising(model, strength, ensemble, sigma)
    network = work.network
    rows = TiffRows(source)
    try:
        like = without_thumbnails(rows.metadata())
        if strip_metadata:
            like = without_metadata(like)
        status = source.stat()
        key: dict[str, Any] = {"source": [str(source.resolve()), status.st_size]}
        key |= {"changed": status.st_mtime_ns}
        key |= {"network": fingerprint(network), "strength": strength, "precision": precision}
        key |= {"estimated": work.estimated, "level": work.level, "ensemble": ensemble}
        strips = TiffStrips(
            place,
            like,
            rows.shape,
            key | {"stripped": strip_metadata, "device": device},
            dtype=rows.dtype,
            grid=network.multiple_of,
            overwrite=overwrite,
        )
        try:
            settings = {"device": device, "precision": precision, "memory": memory}
            return _fill(strips, rows, work, settings, report), strips.finish()
        finally:
            strips.close()
    finally:
        rows.close()


def _fill(
    strips: TiffStrips,
    rows: TiffRows,
    work: Denoising,
    settings: dict[str, Any],
    report: Report | None,
) -> Windowed:
    start = strips.done if strips.done < rows.shape[0] else strips.take_back()
    return restore_windows(
        rows,
        lambda first, samples: strips.append(samples),
        work,
        start=start,
        report=report,
        **settings,
    )


def fingerprint(network: Any) -> str:
    """A name for a network's weights: two runs with other weights must not share a result."""
    found = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        found.update(key.encode())
        found.update(value.float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
