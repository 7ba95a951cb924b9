"""One picture file into another: what is refused before the network runs, and how it is saved."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.engine.compute import Compute
from restore.errors import InputError, WriteError
from restore.image.atomic import Stamp, replace_in_place, write_aside
from restore.image.atomic import stamp as stamp_of
from restore.image.find import CAMERA, RAW
from restore.image.metadata import without_metadata
from restore.image.picture import Picture
from restore.image.read import decode_image, read_bytes
from restore.image.write import (
    FORMATS,
    check_writable,
    encode_image,
    format_of,
    suffix_of,
)
from restore.pipeline.large import needs_rows, restore_tiff
from restore.pipeline.picture import restore_picture
from restore.pipeline.result import LargeResult, Result
from restore.tasks.denoise import DEFAULT_MODEL, Sigma, denoising
from restore.tasks.target_size import make_size
from restore.tasks.task import Task
from restore.tasks.upscale import upscaling

if TYPE_CHECKING:
    from restore.engine.backend import Report
    from restore.models.network import Network

MARK = "upscaled"
TIFF_SUFFIXES = (".tif", ".tiff")
WRITTEN = frozenset(suffix for limits in FORMATS.values() for suffix in limits.suffixes)


@dataclass(frozen=True)
class Saving:
    """How results become files.

    file_format, quality: as for `save_image`; by default the source's own
    overwrite:      whether a result may replace an older file
    strip_metadata: leave EXIF, XMP, IPTC and comments out; the colour profile stays
    in_place:       replace the picture itself, after its original went to `NAME.orig`
    mark:           what is added to the name of a result beside its picture
    """

    file_format: str | None = None
    quality: int | None = None
    overwrite: bool = False
    strip_metadata: bool = False
    in_place: bool = False
    mark: str = "restored"


@dataclass(frozen=True)
class Opened:
    """A picture that was read to be restored, its file's bytes, and where its result will go."""

    picture: Picture
    data: bytes
    stamp: Stamp  # of the file, from before it was read
    source: Path
    target: Path


def open_picture(
    source: Path,
    target: Path | None,
    saving: Saving,
    contents: tuple[bytes, Stamp],
    result_size: Callable[[int, int], tuple[int, int]] | None = None,
) -> Opened:
    """A picture from its file's bytes, its target known; all that can be refused is refused now.

    target: a file, a folder, or None for a name beside the source
    contents: what `read_source` gave
    result_size: the result's height and width from the picture's; None: the same
    """
    data, stamp = contents
    picture = decode_image(data, name=str(source)).replace(path=source)
    place = source if saving.in_place else default_target(source, target, picture, saving)
    if same_file(source, place) and not saving.in_place:
        raise WriteError(f"{place} is the picture itself; give another name for the result")
    check_writable(
        place,
        picture,
        size=result_size(picture.height, picture.width) if result_size else None,
        format=saving.file_format,
        quality=saving.quality,
        overwrite=saving.overwrite or saving.in_place,
    )
    return Opened(picture, data, stamp, source, place)


def read_source(path: Path) -> tuple[bytes, Stamp]:
    """The bytes of a file, and its stamp from before they were read. Raises ReadError."""
    try:
        before = stamp_of(os.stat(path))
    except (OSError, ValueError):
        before = (0, 0, 0, 0)  # reading it will tell
    return read_bytes(path), before


def save_result(opened: Opened, restored: Picture, saving: Saving, unchanged: bool) -> Path:
    """Write a restored picture; where nothing was changed or converted, the very bytes it had."""
    kind = format_of(opened.target, saving.file_format)
    same = unchanged and saving.quality is None and not saving.strip_metadata
    if same and kind == opened.picture.format:
        content = opened.data
    else:
        restored = without_metadata(restored) if saving.strip_metadata else restored
        content = encode_image(restored, kind, quality=saving.quality)
    if saving.in_place:
        replace_in_place(opened.source, content, opened.data, opened.stamp)
    else:
        write_aside(opened.target, content, saving.overwrite, like=opened.source)
    return opened.target


def denoise_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    sigma: Sigma = None,
    strength: float = 1.0,
    ensemble: bool = False,
    **settings: Any,
) -> tuple[Result | LargeResult, Path]:
    """Denoise a picture file into another; returns the result and the file written.

    target: default is `NAME-restored` beside the source, with the source's suffix, or the one of
            `file_format`; a folder takes a file of that name
    settings: those of `Saving`, those of `Compute`, `reference` and `report`, by name

    All that can be refused is refused before the network runs. With strength 0 and nothing to
    convert, the file is copied byte for byte. A TIFF that does not fit into memory is restored by
    rows. Raises what `denoise` and `save_image` raise.
    """
    saving, compute, rest = sort_settings(settings, "restored")
    return restore_file(
        source, target, denoising(model, strength, ensemble, sigma), saving, compute, **rest
    )


def upscale_file(  # noqa: PLR0913 (a public keyword API)
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    scale: Any = None,
    model: str | os.PathLike[str] | Network | None = None,
    width: Any = None,
    height: Any = None,
    fit: Any = None,
    back_projection: int = 0,
    ensemble: bool = False,
    strength: float = 1.0,
    **settings: Any,
) -> tuple[Result | LargeResult, Path]:
    """Upscale a picture file into another; returns the result and the file written.

    target: default is `NAME-upscaled` beside the source; else as for `denoise_file`
    All that can be refused is refused before the network runs: also a result too large for its
    format or for this machine's memory. Raises what `upscale` and `save_image` raise.
    """
    size = make_size(scale, width, height, fit)
    task = upscaling(size, model, back_projection, ensemble, strength)
    saving, compute, rest = sort_settings(settings, MARK)
    return restore_file(source, target, task, saving, compute, **rest)


def denoise_huge(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    *,
    sigma: Sigma = None,
    strength: float = 1.0,
    ensemble: bool = False,
    **settings: Any,
) -> tuple[LargeResult, Path]:
    """Denoise a TIFF into another by rows, however large it is; arguments as for `denoise_file`.

    `denoise_file` does the same by itself where the picture does not fit into memory.
    """
    saving, compute, rest = sort_settings(settings, "restored")
    place, task = Path(source), denoising(model, strength, ensemble, sigma)
    goal = default_target(place, target)
    if format_of(goal, None) != "TIFF":
        raise InputError(f"a TIFF by rows becomes a TIFF; name the result like {place.stem}.tif")
    return restore_by_rows(place, goal, task, saving, compute, **rest), goal


def sort_settings(settings: dict[str, Any], mark: str) -> tuple[Saving, Compute, dict[str, Any]]:
    """Keyword arguments as settings of a kind each, and the rest. mark: see `Saving`."""
    rest = dict(settings)
    groups = []
    for kind in (Saving, Compute):
        names = {field.name for field in dataclasses.fields(kind)} & rest.keys()
        groups.append({name: rest.pop(name) for name in names})
    return Saving(**{"mark": mark, **groups[0]}), Compute(**groups[1]), rest


def restore_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None,
    task: Task,
    saving: Saving,
    compute: Compute,
    *,
    reference: Any = None,
    report: Report | None = None,
) -> tuple[Result | LargeResult, Path]:
    """Do a task on one file, whole or by rows; what can be refused is refused first."""
    place, wanted = Path(source), None if target is None else Path(target)
    if reference is None and (goal := target_by_rows(place, wanted, task, saving, compute)):
        return restore_by_rows(place, goal, task, saving, compute, report=report), goal
    opened = open_picture(place, wanted, saving, read_source(place), task.result_size)
    result = restore_picture(opened.picture, task, compute, reference=reference, report=report)
    return result, save_result(opened, result.picture, saving, result.unchanged)


def target_by_rows(
    source: Path, target: Path | None, task: Task, saving: Saving, compute: Compute
) -> Path | None:
    """The TIFF that a file becomes where it must be restored by rows; None where it need not."""
    goal = default_target(source, target, saving=saving)
    if saving.in_place or saving.quality is not None or goal.suffix.lower() not in TIFF_SUFFIXES:
        return None
    if saving.file_format is not None and format_of(goal, saving.file_format) != "TIFF":
        return None
    return goal if needs_rows(source, task, compute) else None


def restore_by_rows(
    source: Path,
    target: Path,
    task: Task,
    saving: Saving,
    compute: Compute,
    *,
    report: Report | None = None,
) -> LargeResult:
    """A TIFF into a TIFF, which never is in memory whole. Raises as `large.restore_tiff`."""
    if same_file(source, target):
        raise WriteError(f"{target} is the picture itself; give another name for the result")
    return restore_tiff(
        source,
        target,
        task,
        compute,
        overwrite=saving.overwrite,
        strip_metadata=saving.strip_metadata,
        report=report,
    )


def default_target(
    source: Path,
    target: str | os.PathLike[str] | None,
    picture: Picture | None = None,
    saving: Saving | None = None,
) -> Path:
    """Where the result of a source goes: beside it, into the folder asked for, or as asked."""
    if target is not None and not Path(target).is_dir():
        return Path(target)
    folder = source.parent if target is None else Path(target)
    saving = saving or Saving()
    return folder / f"{source.stem}-{saving.mark}{result_suffix(source, saving)}"


def result_suffix(source: Path, saving: Saving) -> str:
    """The suffix of a source's result: of the format asked for, else the source's own.

    Of what can be read and not written, a camera's raw file goes on as TIFF, others as PNG.
    """
    if saving.file_format is not None:
        return suffix_of(source, saving.file_format)
    suffix = source.suffix.lower()
    if suffix in WRITTEN or suffix not in CAMERA:
        return source.suffix
    return ".tif" if suffix in RAW else ".png"


def same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file; a name that leads nowhere is nobody's."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
