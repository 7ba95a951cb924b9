"""Files of cameras and phones: raw files and HEIC, read by optional libraries.

Both libraries apply the orientation themselves.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import ReadError
from restore.image import color, exif, icc, jpeg
from restore.image import xmp as xmp_module
from restore.image.boxes import boxes, image_extent, primary_properties
from restore.image.guard import reporting
from restore.image.picture import Picture

WORKER = Path(__file__).with_name("heif_worker.py")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
# First bytes of raw files that are not quite TIFFs: Fujifilm, Olympus, Panasonic,
# Minolta, Sigma, old Canon.
RAW_STARTS = (
    b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb",
    b"II\x1a\0\0\0HEAPCCDR",
)  # fmt: skip
NEARLY_TIFF = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0")
PANASONIC, PREVIEW_OF_PANASONIC = b"IIU\0", 0x002E
ABOUT_THE_CAMERA = {0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298}
CANON = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
SUB_DIRECTORIES, MOST_DIRECTORIES = 330, 100
SIZE, SIZE_OF_PANASONIC = (257, 256), (3, 2)  # tags of height and width
PARTS = ((273, 279), (324, 325))  # tags of offsets and lengths: strips, tiles
ELSEWHERE = 0xFFFFFFFF  # Panasonic: a tag of its own has the offset


def is_heif(data: bytes) -> bool:
    """Whether a file declares pictures coded in HEVC."""
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return any(brand in brands for brand in HEIF_BRANDS) and b"avif" not in brands


def is_raw(data: bytes) -> bool:
    """Whether a file begins like a raw file that is not a TIFF."""
    return data.startswith(RAW_STARTS) or data[4:12] == b"ftypcrx "


def decode_heif(data: bytes, name: str, max_pixels: int) -> Picture:
    """The main picture of a HEIC file, decoded by a process of its own. Raises ReadError."""
    if importlib.util.find_spec("pi_heif") is None:
        raise ReadError(
            f"{name} is a HEIC file; pip install pi-heif to read it, or save it as JPEG"
        )
    _check(*image_extent(data), max_pixels, name)
    about, (pixels, profile, block, xmp) = _ask_worker(data, name)
    samples = np.frombuffer(pixels, about["dtype"]).reshape(about["shape"])
    if samples.dtype == np.uint16 and about["bits"] < 16:
        samples = samples | samples >> about["bits"]  # it was only shifted: white must be 65535
    block = block.removeprefix(b"Exif\0\0")
    alone = xmp_module.without_second_pictures(xmp)
    source: dict[str, Any] = {"mode": about["mode"]}
    for box in primary_properties(data):
        if box.type == b"colr" and (codes := icc.codes_of_nclx(box.body)):
            source["cicp"] = codes
    return Picture(
        *color.split(samples[:, :, np.newaxis] if samples.ndim == 2 else samples),
        icc=profile or None,
        exif=exif.without_rotation(block) if block else None,
        xmp=xmp_module.without_rotation(alone) or None,
        format="HEIF",
        source=source,
        notes=() if alone == xmp else (xmp_module.SECOND_PICTURE,),
    )


def _ask_worker(data: bytes, name: str) -> tuple[dict[str, Any], list[bytes]]:
    """The worker's description of a file, and its blocks. Raises ReadError."""
    # Isolated: neither the current folder nor the environment says where modules come from.
    path = json.dumps([place for place in sys.path if os.path.isabs(place)])
    command = [sys.executable, "-I", os.fspath(WORKER), path]
    done = subprocess.run(
        command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    line, _, blocks = done.stdout.partition(b"\n")
    if done.returncode or not line:
        raise ReadError(f"{name} is damaged: its decoder crashed on it")
    about: dict[str, Any] = json.loads(line)
    if "error" in about:
        with reporting(name):
            raise ValueError(about["error"])
    found, at = [], 0
    for length in about["lengths"]:
        found.append(blocks[at : at + length])
        at += length
    return about, found


def decode_raw(data: bytes, name: str, max_pixels: int) -> Picture:
    """A raw file developed: 16 bits of sRGB with the camera's white balance, not brightened.

    Raises ReadError; other errors are the library's.
    """
    try:
        import rawpy
    except ImportError:
        raise ReadError(
            f"{name} is a camera's raw file; pip install rawpy to read it, or develop it "
            "first, for example to a 16-bit TIFF"
        ) from None
    check_raw_is_whole(data, name)
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            _check(raw.sizes.raw_height, raw.sizes.raw_width, max_pixels, name)
            samples = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                output_bps=16,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=(2.4, 12.92),  # of sRGB, IEC 61966-2-1
            )
    except rawpy.LibRawError as error:
        words = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ReadError(
            f"{name} begins like a camera's raw file, but cannot be developed: {words}"
        ) from None
    block = raw_exif(data)
    if block:
        block = exif.with_size(exif.without_rotation(block), *samples.shape[:2])
    return Picture(*color.split(samples), exif=block, format="RAW", source={"mode": "RAW"})


def check_raw_is_whole(data: bytes, name: str) -> None:
    """ReadError where the samples of a raw file lie beyond its end: LibRaw develops black of them.

    TIFF-like files list the parts of their samples, Fujifilm's and Canon's newest say where theirs
    are in the header.
    """
    if any(end > len(data) for end in _ends(data)):
        raise ReadError(f"{name} is truncated: its samples lie beyond its end; copy it again")


def _ends(data: bytes) -> Iterator[int]:
    """Where the parts of a raw file end that must be in it."""
    if data.startswith(b"FUJIFILMCCD-RAW") and len(data) >= 108:
        at, size = struct.unpack_from(">II", data, 100)
        yield at + size
    elif data[4:8] == b"ftyp":
        yield from (box.start + box.size for box in boxes(data, whole=False))
    else:
        yield from _ends_of_parts(data)


def _ends_of_parts(data: bytes) -> Iterator[int]:
    for layout, page in _directories(data):
        reduced = (page.integers(exif.SUBFILE, layout) or (0,))[0] & 1
        for places, sizes in () if reduced else PARTS:
            ends = zip(page.integers(places, layout), page.integers(sizes, layout), strict=False)
            yield from (place + size for place, size in ends if ELSEWHERE not in (place, size))


def raw_size(data: bytes) -> tuple[int, int]:
    """Height and width of the largest picture in a raw file's directories; (0, 0) without any."""
    found = [(0, 0)]
    for layout, page in _directories(data):
        tags = SIZE_OF_PANASONIC if data.startswith(PANASONIC) else SIZE
        height, width = (page.integers(tag, layout)[:1] for tag in tags)
        found += [(height[0], width[0])] if height and width else []
    return max(found, key=math.prod)


def _directories(data: bytes) -> Iterator[tuple[exif.Layout, exif.Directory]]:
    """The directories of a TIFF-like file: those of the chain, and those below."""
    try:
        layout, offset = _tiff_like(data)
    except (ValueError, struct.error):
        return
    waiting, seen = [offset], set[int]()
    while waiting and len(seen) < MOST_DIRECTORIES:
        at = waiting.pop()
        if not at or at in seen:
            continue
        seen.add(at)
        try:
            page = exif.parse_directory(data, at, layout, depth=2)
        except (ValueError, struct.error):
            continue
        waiting += [page.next, *page.integers(SUB_DIRECTORIES, layout)[:MOST_DIRECTORIES]]
        yield layout, page


def _tiff_like(data: bytes) -> tuple[exif.Layout, int]:
    """Layout and first directory of a TIFF, or of a raw file that differs in its mark only."""
    if data.startswith(NEARLY_TIFF):
        data = data[:2] + (b"*\0" if data[:2] == b"II" else b"\0*") + data[4:8]
    return exif.header(data)


def raw_exif(data: bytes) -> bytes | None:
    """The EXIF of a raw file: of its directories, its boxes (CR3), or the preview in it (RAF, RW2).

    The tags that say how its own samples are developed are left out.
    """
    try:
        if data.startswith(b"FUJIFILMCCD-RAW"):
            at, size = struct.unpack_from(">II", data, 84)
            return jpeg.read_metadata(data[at : at + size]).exif
        if data[4:12] == b"ftypcrx ":
            return _exif_of_boxes(data)
        layout, offset = _tiff_like(data)
        directory = exif.parse_directory(data, offset, layout)
    except (ValueError, struct.error):
        return None
    preview = directory.tags.get(PREVIEW_OF_PANASONIC)
    if data.startswith(PANASONIC):
        found = jpeg.read_metadata(preview.data).exif if preview else None
        directory.tags = {n: t for n, t in directory.tags.items() if n in ABOUT_THE_CAMERA}
        if found:
            return found
    return exif.build_exif(directory, layout.order)


def _exif_of_boxes(data: bytes) -> bytes | None:
    """A CR3's EXIF: three TIFF structures, for the first, the EXIF and the GPS directory."""
    movie = next((box for box in boxes(data) if box.type == b"moov"), None)
    inside = boxes(movie.body) if movie else iter(())
    canon = next((b for b in inside if b.type == b"uuid" and b.body[:16] == CANON), None)
    whole, order = exif.Directory(), "<"
    for box in boxes(canon.body[16:]) if canon else ():
        if box.type in (b"CMT1", b"CMT2", b"CMT4"):
            layout, found = exif.parse_exif(box.body)
            order = layout.order if box.type == b"CMT1" else order
            if layout.order != order:
                continue
            if box.type == b"CMT1":
                whole.tags = found.tags
            else:
                whole.below[exif.EXIF if box.type == b"CMT2" else exif.GPS] = found
    return exif.build_exif(whole, order)


def _check(height: int, width: int, max_pixels: int, name: str) -> None:
    if height * width > max_pixels:
        raise ReadError(
            f"{name} is {width} x {height} pixels, beyond the limit of {max_pixels}; "
            "raise max_pixels or cut it into parts"
        )
