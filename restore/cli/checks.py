"""Checks of file names and options, before torch is imported and any picture is read."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from restore.engine import compute
from restore.errors import InputError, ReadError, RestoreError, UnknownModelError, WriteError
from restore.image.find import find_pictures, is_pattern
from restore.models.folders import SUFFIXES, find_weights

WEB = re.compile(r"[a-z][a-z0-9+.-]+://", re.I)
MODEL_SIZES = ("fast", "best")  # what --quality took in 0.1
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def local(given: str) -> Path:
    """The path that a person means: `~` expanded; web addresses, `-` and "" are refused."""
    if not given:
        raise InputError("a name is empty; give the name of a file or a folder, or . for this one")
    if WEB.match(given):
        raise InputError(
            f"{given} is a web address; download the picture and give the file, "
            "or restore what is in a store with --cluster"
        )
    if given == "-":
        raise InputError("standard input cannot be read; give the name of a file in place of '-'")
    path = Path(given).expanduser()
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{given[:40]}... is too long a name; give a shorter one") from None
    return path


def place(given: str) -> str:
    """An address of a store as it is, or a path with `~` expanded; `-` and "" are refused."""
    return given if WEB.match(given) else str(local(given))


def check_exists(path: Path) -> None:
    """ReadError for a file that is not there."""
    if not path.exists():
        raise ReadError(f"{path} does not exist; give the name of a picture file")


def check_pictures(pictures: list[Path], *, recursive: bool) -> None:
    """ReadError for folders and patterns without a picture, and where no named file is there.

    Of several named files, one that is missing is a failure like any other: the rest goes on.
    """
    several = [path for path in pictures if path.is_dir() or is_pattern(path)]
    if several:
        find_pictures(several, recursive=recursive)
    elif not any(path.exists() for path in pictures):
        check_exists(pictures[0])


def left_out(pictures: list[Path], output: Path | None) -> int:
    """How many pictures are in sub-folders of the given folders, for a run without --recursive."""
    folders = [path for path in pictures if path.is_dir()]
    place = output if output is not None and output.is_dir() else None
    try:
        every = find_pictures(folders, recursive=True, leave_out=place)
        return len(every) - len(find_pictures(folders, leave_out=place))
    except RestoreError:  # a folder that may not be looked into, and is not asked for either
        return 0


def check_output(
    output: Path, *, file_format: str | None, quality: int | None, overwrite: bool
) -> None:
    """WriteError for a result that cannot be written there in that format.

    A folder that is missing is created later.
    """
    from restore.image.write import check_format, check_writable, target_format

    if file_format is None and not output.suffix:
        raise WriteError(
            f"{output} has no suffix that names a format; give one such as {output}.png, "
            f"or {output}{os.sep} for a folder"
        )
    if not output.parent.exists():
        check_format(target_format(output, file_format), None, quality=quality, name=str(output))
        return
    check_writable(output, format=file_format, quality=quality, overwrite=overwrite)


def check_file_format(file_format: str | None) -> None:
    """WriteError for a format that cannot be written."""
    from restore.image.write import format_of

    if file_format is not None:
        format_of(Path("result"), file_format)


def parse_quality(given: str | None) -> int | None:
    """The quality of a lossy file, from 1 to 100."""
    if given is None:
        return None
    if given in MODEL_SIZES:
        raise InputError(
            "--quality is the quality of a JPEG, WebP or AVIF file, from 1 to 100; "
            "for the small, fast version of a model give --fast"
        )
    if not given.isdecimal() or not 1 <= int(given) <= 100:
        raise InputError(f"--quality is a whole number from 1 to 100, not '{given}'")
    return int(given)


def check_model(model: str, *also: str) -> str:
    """The name, or the path with `~` expanded; UnknownModelError where there is no such model.

    also: what may be given besides, such as "bicubic"
    """
    if model in also:
        return model
    path = Path(model).expanduser()
    named_as_file = path.suffix.lower() in SUFFIXES or path.name != model
    if named_as_file and not path.exists():
        raise UnknownModelError(
            f"{path} does not exist; give a weights file, or a name from `restore models`"
        )
    find_weights(path)
    return str(path)


def check_compute(
    precision: str, engine: str = "auto", tile: int | None = None, memory: str | None = None
) -> None:
    """InputError for settings of `Compute` that are not valid on any device."""
    if precision not in PRECISIONS:
        raise InputError(f"'{precision}' is not a precision; choose one of {', '.join(PRECISIONS)}")
    compute.check_engine(engine)
    compute.check_tile(tile)
    compute.parse_bytes(memory)


def check_switches(*, overwrite: bool, skip_existing: bool, in_place: bool, backup: bool) -> None:
    """InputError for switches that contradict or need each other."""
    if overwrite and skip_existing:
        raise InputError(
            "--overwrite replaces existing results and --skip-existing keeps them; give one"
        )
    if overwrite and in_place:
        raise InputError(
            "--in-place replaces pictures and nothing else; leave out --overwrite, and move the "
            "backup of a picture back to restore it again"
        )
    if in_place != backup:
        raise InputError("--in-place and --backup go together; give both, or neither")


def is_folder_name(output: str | None) -> bool:
    """Whether an output is a folder by its name, there or not."""
    separators = tuple(s for s in (os.sep, os.altsep) if s)
    return output is not None and output.endswith(separators)
