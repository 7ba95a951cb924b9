"""One picture file restored into another: checks before the network runs, and saving."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.engine.compute import Compute
from restore.errors import InputError, WriteError
from restore.image.atomic import Note, Stamp, check_no_link, replace_in_place, tidy, write_aside
from restore.image.atomic import stamp as stamp_of
from restore.image.find import CAMERA, RAW
from restore.image.metadata import without_metadata
from restore.image.picture import Picture
from restore.image.read import TIFF_STARTS, decode_image, read_bytes
from restore.image.write import (
    FORMATS,
    check_writable,
    encode_image,
    format_of,
    suffix_of,
)
from restore.pipeline.journal import hash_of, noting
from restore.pipeline.large import check_fits, needs_rows, restore_tiff
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
    overwrite:      whether a result may replace an existing file
    strip_metadata: leave out EXIF, XMP, IPTC and comments; the colour profile is kept
    in_place:       replace the picture itself, after saving its original as `NAME.orig`
    mark:           is added to the name of a result beside its source, as in `NAME-restored.jpg`
    """

    file_format: str | None = None
    quality: int | None = None
    overwrite: bool = False
    strip_metadata: bool = False
    in_place: bool = False
    mark: str = "restored"


@dataclass(frozen=True)
class Opened:
    """A picture that was read to be restored, its file's bytes, and the file for its result."""

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
    picture: Picture | None = None,
) -> Opened:
    """Decode a picture, and check that its result can be written.

    target: a file, a folder, or None for a name beside the source
    contents: as `read_source` returns them
    result_size: gives the result's height and width from the picture's; None: the same
    picture: what the contents hold, if they were decoded already
    Raises ReadError, WriteError, or what `result_size` raises.
    """
    data, stamp = contents
    if saving.in_place:
        check_no_link(source)
    picture = picture or decode(source, data)
    path = source if saving.in_place else default_target(source, target, saving)
    if same_file(source, path) and not saving.in_place:
        raise WriteError(f"{path} is the picture itself; give another name for the result")
    check_writable(
        path,
        picture,
        size=result_size(picture.height, picture.width) if result_size else None,
        format=saving.file_format,
        quality=saving.quality,
        overwrite=saving.overwrite or saving.in_place,
    )
    lost = depth_lost(picture, format_of(path, saving.file_format))
    return Opened(picture.replace(notes=picture.notes + lost), data, stamp, source, path)


def depth_lost(picture: Picture, kind: str) -> tuple[str, ...]:
    """A note for a picture whose samples are deeper than a format ("JPEG" ...) can hold."""
    held = FORMATS[kind].depths
    if picture.depth in held:
        return ()
    samples = "floats" if picture.depth == "float" else f"{picture.depth} bits"
    return (f"its {samples} are written as {held[-1]} bits, the most that {kind} holds",)


def read_source(path: Path) -> tuple[bytes, Stamp]:
    """The bytes of a file, and its stamp from before they were read. Raises ReadError."""
    try:
        before = stamp_of(os.stat(path))
    except (OSError, ValueError):
        before = (0, 0, 0, 0)  # reading it raises the right error
    return read_bytes(path), before


def decode(source: Path, data: bytes) -> Picture:
    """The picture in the bytes of a file. Raises ReadError."""
    return decode_image(data, name=str(source)).replace(path=source)


def starts_as_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does; False for one that cannot be read."""
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            return file.read(4) in TIFF_STARTS
    except OSError:
        return False


def save_result(
    opened: Opened,
    restored: Picture,
    saving: Saving,
    unchanged: bool,
    settings: str | None = None,
) -> Path:
    """Write a restored picture to the file that was planned for it; returns the file.

    settings: of a batch, noted in its journal; None: nothing is noted
    """
    kind = format_of(opened.target, saving.file_format)
    data = opened.data if opened.picture.format == kind else None
    content = encode_result(restored, kind, saving, data if unchanged else None)
    note = None
    if settings is not None:
        made = opened.stamp[2:], hash_of(opened.data), settings
        note = noting(opened.target, made)
    if saving.in_place:
        replace_in_place(opened.source, content, opened.data, opened.stamp, note)
    else:
        write_aside(opened.target, content, saving.overwrite, like=opened.source, note=note)
    return opened.target


def encode_result(restored: Picture, kind: str, saving: Saving, original: bytes | None) -> bytes:
    """The file of a restored picture in a format ("JPEG", "PNG" ...).

    original: the bytes of a file of that format whose picture was not changed; None: it was. They
              are the result where no quality is given and all metadata stays
    """
    if original is not None and saving.quality is None and not saving.strip_metadata:
        return original
    restored = without_metadata(restored) if saving.strip_metadata else restored
    return encode_image(restored, kind, quality=saving.quality)


def fitting(saving: Saving, target: Path) -> Saving:
    """The settings without a quality where the format has none, as in a mixed batch."""
    lossy = FORMATS[format_of(target, saving.file_format)].lossy
    return saving if lossy else dataclasses.replace(saving, quality=None)


def denoise_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    sigma: Sigma = None,
    strength: float = 1.0,
    detail: float | None = None,
    ensemble: bool = False,
    **settings: Any,
) -> tuple[Result | LargeResult, Path]:
    """Denoise a picture file into another; returns the result and the file written.

    target: by default `NAME-restored` beside the source, with the source's suffix or that of
            `file_format`; in another folder, a file of the source's name
    settings: by name, those of `Saving`, those of `Compute`, `reference` and `report`

    Everything is checked before the network runs. With strength 0 and nothing to convert, the file
    is copied byte for byte. A TIFF that does not fit into memory is restored by rows. Raises what
    `denoise` and `save_image` raise.
    """
    saving, compute, rest = sort_settings(settings, "restored")
    task = functools.partial(denoising, model, strength, ensemble, sigma, detail)
    return restore_file(source, target, task, saving, compute, **rest)


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

    target: by default `NAME-upscaled` beside the source; otherwise as for `denoise_file`

    Everything is checked before the network runs, even whether the result is too large for its
    format or for this machine's memory. Raises what `upscale` and `save_image` raise.
    """
    size = make_size(scale, width, height, fit)
    task = functools.partial(upscaling, size, model, back_projection, ensemble, strength)
    saving, compute, rest = sort_settings(settings, MARK)
    return restore_file(source, target, task, saving, compute, **rest)


def denoise_huge(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    *,
    sigma: Sigma = None,
    strength: float = 1.0,
    detail: float | None = None,
    ensemble: bool = False,
    **settings: Any,
) -> tuple[LargeResult, Path]:
    """Denoise a TIFF into another by rows, however large it is; arguments as for `denoise_file`.

    `denoise_file` does the same if the picture does not fit into memory.
    """
    saving, compute, rest = sort_settings(settings, "restored")
    path, task = Path(source), denoising(model, strength, ensemble, sigma, detail)
    result = default_target(path, target)
    if format_of(result, None) != "TIFF":
        raise InputError(
            f"a result that is written by rows must be a TIFF; name it like {path.stem}.tif"
        )
    return restore_by_rows(path, result, task, saving, compute, **rest), result


def sort_settings(settings: dict[str, Any], mark: str) -> tuple[Saving, Compute, dict[str, Any]]:
    """Keyword arguments sorted into `Saving`, `Compute` and the rest. mark: see `Saving`."""
    rest = dict(settings)
    groups = []
    for kind in (Saving, Compute):
        names = {field.name for field in dataclasses.fields(kind)} & rest.keys()
        groups.append({name: rest.pop(name) for name in names})
    return Saving(**{"mark": mark, **groups[0]}), Compute(**groups[1]), rest


def restore_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None,
    find_task: Callable[[], Task],
    saving: Saving,
    compute: Compute,
    *,
    reference: Any = None,
    report: Report | None = None,
) -> tuple[Result | LargeResult, Path]:
    """Do a task on one file, in memory or by rows; returns the result and the file written.

    find_task: called once the file is decoded, because it loads the network and so needs torch,
               which may still be being imported; for a TIFF before, as it may be restored by rows
    """
    path, wanted = Path(source), None if target is None else Path(target)
    tidy(default_target(path, wanted, saving).parent)
    contents = picture = None
    if not starts_as_tiff(path):
        contents = read_source(path)
        check_fits(contents[0], str(path), compute)
        picture = decode(path, contents[0])
    task = find_task()
    if reference is None and (tiff := target_by_rows(path, wanted, task, saving, compute)):
        return restore_by_rows(path, tiff, task, saving, compute, report=report), tiff
    contents = contents or read_source(path)
    opened = open_picture(path, wanted, saving, contents, task.result_size, picture)
    result = restore_picture(opened.picture, task, compute, reference=reference, report=report)
    return result, save_result(opened, result.picture, saving, result.unchanged)


def target_by_rows(
    source: Path, target: Path | None, task: Task, saving: Saving, compute: Compute
) -> Path | None:
    """The TIFF to write if a file must be restored by rows; None if it need not or cannot be."""
    result = default_target(source, target, saving)
    if saving.in_place or saving.quality is not None or result.suffix.lower() not in TIFF_SUFFIXES:
        return None
    if saving.file_format is not None and format_of(result, saving.file_format) != "TIFF":
        return None
    return result if needs_rows(source, task, compute) else None


def restore_by_rows(
    source: Path,
    target: Path,
    task: Task,
    saving: Saving,
    compute: Compute,
    *,
    report: Report | None = None,
    note: Note | None = None,
) -> LargeResult:
    """Restore a TIFF into a TIFF in bounded memory. Raises what `large.restore_tiff` raises."""
    if same_file(source, target):
        raise WriteError(f"{target} is the picture itself; give another name for the result")
    tidy(target.parent)
    return restore_tiff(
        source,
        target,
        task,
        compute,
        overwrite=saving.overwrite,
        strip_metadata=saving.strip_metadata,
        report=report,
        note=note,
    )


def default_target(
    source: Path,
    target: str | os.PathLike[str] | None,
    saving: Saving | None = None,
) -> Path:
    """The file for a source's result: `target`, or a default name in that folder or beside it."""
    if target is not None and not Path(target).is_dir():
        return Path(target)
    folder = source.parent if target is None else Path(target)
    return folder / default_name(source, folder, saving or Saving())


def default_name(source: Path, folder: Path, saving: Saving) -> str:
    """The name of a source's result in a folder: the source's own, or marked in its own folder."""
    mark = f"-{saving.mark}" if same_file(folder, source.parent) else ""
    return f"{source.stem}{mark}{result_suffix(source, saving)}"


def result_suffix(source: Path, saving: Saving) -> str:
    """The suffix of a source's result: of the format in `saving`, else the source's own.

    Of formats that can be read but not written, camera raw files become TIFF, and others PNG.
    """
    if saving.file_format is not None:
        return suffix_of(source, saving.file_format)
    suffix = source.suffix.lower()
    if suffix in WRITTEN or suffix not in CAMERA:
        return source.suffix
    return ".tif" if suffix in RAW else ".png"


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths name the same file; False if one of them does not exist."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
