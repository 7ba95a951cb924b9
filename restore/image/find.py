"""The picture files of folders, patterns and lists of both."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from restore.errors import ReadError

RASTER = {".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".jp2", ".gif", ".ppm", ".pgm"}
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"} | RASTER)
HEIF = frozenset({".heic", ".heif", ".hif"})
RAW = frozenset({
    ".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw",
    ".3fr", ".mrw", ".x3f",
})  # fmt: skip
# Pictures, too, but of kinds that are not read: see `find_unread`.
UNREAD = frozenset({".psd", ".psb", ".exr", ".hdr", ".xcf", ".jxr", ".svg", ".heics", ".djvu"})
CAMERA = SUFFIXES | HEIF | RAW | {".j2k", ".jpx", ".jxl", ".mpo", ".pnm"}


class Found(NamedTuple):
    """A picture file, and its folder relative to the given one ("" for a file given by name)."""

    path: Path
    tree: str = ""


def list_pictures(folder: Path) -> list[Path]:
    """The picture files below a folder, by their suffix, sorted.

    Raises ReadError where there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ReadError(f"{folder} is not a folder; give a folder of pictures")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise ReadError(f"{folder} contains no pictures ({', '.join(sorted(SUFFIXES))})")
    return found


def find_pictures(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    leave_out: Path | None = None,
) -> list[Found]:
    """The pictures of files, folders and patterns (`photos/**/*.jpg`), each once, sorted by input.

    A file given by name is taken whatever its suffix, and even if it is missing: reading it will
    report that. Of folders and patterns, hidden files are left out (a card's `._IMG.jpg` is not a
    picture), links to folders are not followed, and the folder `leave_out` is skipped. Raises
    ReadError for an empty name, and for a folder or a pattern without a picture.
    """
    found: dict[str, Found] = {}
    for given in inputs:
        if not os.fspath(given):
            raise ReadError("a name is empty; give the name of a file or a folder, or .")
        for picture in _pictures_of(Path(given), recursive, leave_out):
            key = os.path.realpath(picture.path)
            if key not in found or found[key].path.is_symlink():  # the file itself before a link
                found[key] = picture
    return list(found.values())


def find_unread(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    leave_out: Path | None = None,
) -> list[Path]:
    """The files of folders and patterns that are pictures of a kind that is not read, sorted.

    `find_pictures` passes over them without a word.
    """
    found: set[Path] = set()
    for given in map(Path, inputs):
        if is_pattern(given):
            found |= {f.path for f in _matches(given, recursive, leave_out, UNREAD)}
        elif given.is_dir():
            found |= {f.path for f in _below(given, given, recursive, leave_out, UNREAD)}
    return sorted(found)


def is_pattern(given: str | os.PathLike[str]) -> bool:
    """Whether a name is a pattern: it has `*`, `?` or `[`, and no file has exactly that name."""
    return glob.has_magic(os.fspath(given)) and not os.path.lexists(given)


def is_output_pattern(output: str | os.PathLike[str]) -> bool:
    """Whether an output is a pattern: it has braces, and no file or folder has that very name."""
    return "{" in os.fspath(output) and not os.path.lexists(output)


def _pictures_of(given: Path, recursive: bool, leave_out: Path | None) -> list[Found]:
    if is_pattern(given):
        found = list(_matches(given, recursive, leave_out))
        if not found:
            raise ReadError(f"no picture matches {given}; check the pattern")
    elif given.is_dir():
        found = list(_below(given, given, recursive, leave_out))
        if not found:
            deeper = "" if recursive else "; pass --recursive to search its folders, too"
            raise ReadError(f"{given} contains no pictures{deeper}")
    else:
        return [Found(given)]
    return found


def _matches(
    pattern: Path, recursive: bool, leave_out: Path | None, suffixes: frozenset[str] = CAMERA
) -> Iterator[Found]:
    """The pictures that match; `tree` is relative to the last folder without a wildcard."""
    plain = [*pattern.parts]
    while any(glob.has_magic(part) for part in plain):
        plain.pop()
    root = Path(*plain)
    leave_out = leave_out if _inside(leave_out, root) else None
    for name in sorted(glob.glob(os.fspath(pattern), recursive=True)):
        path = Path(name)
        if path.is_dir():
            if recursive and not _same(path, leave_out):
                yield from _below(path, root, recursive, leave_out, suffixes)
        elif _is_picture(path, suffixes) and not (leave_out and _inside(path, leave_out)):
            yield Found(path, _tree(path.parent, root))


def _below(
    folder: Path,
    root: Path,
    recursive: bool,
    leave_out: Path | None,
    suffixes: frozenset[str] = CAMERA,
) -> Iterator[Found]:
    def refuse(error: OSError) -> None:
        raise ReadError(f"{error.filename} cannot be searched: {error.strerror}") from error

    for here, folders, files in os.walk(folder, onerror=refuse):
        place = Path(here)
        kept = sorted(
            f for f in folders if not f.startswith(".") and not _same(place / f, leave_out)
        )
        folders[:] = kept if recursive else []
        for name in sorted(files):
            if _is_picture(place / name, suffixes):
                yield Found(place / name, _tree(place, root))


def _is_picture(path: Path, suffixes: frozenset[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def _tree(folder: Path, root: Path) -> str:
    tree = os.path.relpath(folder, root)
    return "" if tree == os.curdir else tree


def _same(folder: Path, other: Path | None) -> bool:
    return other is not None and os.path.realpath(folder) == os.path.realpath(other)


def _inside(path: Path | None, folder: Path) -> bool:
    """Whether a path lies below a folder, links followed."""
    return (
        path is not None and Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
    )
