"""Which files of a folder are pictures."""

from __future__ import annotations

from pathlib import Path

from restore.errors import ReadError

RASTER = {".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".jp2", ".gif", ".ppm", ".pgm"}
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"} | RASTER)


def list_pictures(folder: Path) -> list[Path]:
    """The picture files below a folder, told by their suffix, sorted.

    Raises ReadError where there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ReadError(f"{folder} is not a folder; give a folder of pictures")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise ReadError(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return found
