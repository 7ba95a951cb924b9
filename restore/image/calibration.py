"""Tags that measure in pixels: where a GeoTIFF lies on the earth, and how large a pixel is.

Sources: OGC GeoTIFF 1.1 (19-008r4); OME-TIFF, schema of 2016-06; tifffile's and ImageJ's
descriptions.
"""

from __future__ import annotations

import json
import re
import struct

import numpy as np
import numpy.typing as npt

from restore.image import exif
from restore.image.exif import ASCII, Directory, Layout, Tag

DESCRIPTION = 270
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS = 33550, 33922, 34264, 34735
RASTER_TYPE, PIXEL_IS_POINT = 1025, 2
DOUBLE = 12
_OME_PIXELS = re.compile(rb"<Pixels\s[^<>]*>")
_OME_SIZE = re.compile(rb"\b(PhysicalSize|Size)([XY])=\"([0-9.eE+-]{1,40})\"")

Size = tuple[int, int]  # height and width


def with_size(block: bytes, before: Size, after: Size) -> bytes:
    """An EXIF block of a picture that was resized: dimensions and calibration changed.

    before, after: height and width. No tag moves: maker notes stay valid.
    """
    block = exif.with_size(block, *after)
    if before == after:
        return block
    layout, directory = exif.parse_exif(block)
    values = _geotiff(directory, layout, before, after)
    described = directory.tags.get(DESCRIPTION)
    if described is not None and described.type == ASCII:
        text = _description(described.data, before, after)
        if text != described.data:
            values[DESCRIPTION] = Tag(ASCII, text)
    return exif.with_values(block, values)


def is_of_imagej(block: bytes | None) -> bool:
    """Whether a description gives the unit of the resolution, as ImageJ's does."""
    described = exif.parse_exif(block)[1].tags.get(DESCRIPTION)
    return described is not None and described.data.startswith(b"ImageJ=")


def _geotiff(directory: Directory, layout: Layout, before: Size, after: Size) -> dict[int, Tag]:
    """GeoTIFF's pixel scale, tie points and transformation, where given, for the new pixels."""
    down, across = (new / old for new, old in zip(after, before, strict=True))
    # A pixel is an area that begins at its number, or a point in the middle of that area.
    shift = 0.5 if _raster_type(directory, layout) == PIXEL_IS_POINT else 0.0
    found: dict[int, npt.NDArray[np.float64]] = {}
    scale = _doubles(directory, PIXEL_SCALE, layout)
    if scale.size >= 2:
        scale[:2] /= across, down
        found[PIXEL_SCALE] = scale
    points = _doubles(directory, TIE_POINTS, layout)
    if points.size and points.size % 6 == 0:
        pixels = points.reshape(-1, 6)[:, :2]
        pixels[:] = (pixels + shift) * (across, down) - shift
        found[TIE_POINTS] = points
    matrix = _doubles(directory, TRANSFORMATION, layout)
    if matrix.size == 16:
        rows = matrix.reshape(4, 4)
        # old pixel = (new pixel + shift) / factor - shift
        rows[:, 3] += rows[:, 0] * (shift / across - shift) + rows[:, 1] * (shift / down - shift)
        rows[:, 0] /= across
        rows[:, 1] /= down
        found[TRANSFORMATION] = matrix
    return {t: Tag(DOUBLE, v.astype(f"{layout.order}f8").tobytes()) for t, v in found.items()}


def _doubles(directory: Directory, tag: int, layout: Layout) -> npt.NDArray[np.float64]:
    found = directory.tags.get(tag)
    if found is None or found.type != DOUBLE:
        return np.empty(0)
    return np.frombuffer(found.data, f"{layout.order}f8").astype(np.float64)


def _raster_type(directory: Directory, layout: Layout) -> int:
    keys = directory.integers(GEO_KEYS, layout)
    for at in range(4, len(keys) - 3, 4):
        if keys[at] == RASTER_TYPE and keys[at + 1] == 0:
            return keys[at + 3]
    return 0


def _description(text: bytes, before: Size, after: Size) -> bytes:
    """An image description of OME or tifffile for the new size; any other as it is."""
    if b"<OME" in text[:2000]:
        return _OME_PIXELS.sub(lambda found: _ome(found[0], before, after), text)
    if text.startswith(b'{"shape":'):
        return _shape(text, before, after)
    return text


def _ome(element: bytes, before: Size, after: Size) -> bytes:
    def renew(found: re.Match[bytes]) -> bytes:
        axis = 1 if found[2] == b"X" else 0
        if found[1] == b"Size":
            value = (
                str(after[axis]) if found[3] == str(before[axis]).encode() else found[3].decode()
            )
        else:
            value = repr(float(found[3]) * before[axis] / after[axis])
        return b'%s%s="%s"' % (found[1], found[2], value.encode())

    try:
        return _OME_SIZE.sub(renew, element)
    except ValueError:
        return element


def _shape(text: bytes, before: Size, after: Size) -> bytes:
    try:
        described = json.loads(text.rstrip(b"\0"))
        shape = [int(n) for n in described["shape"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return text
    for at in range(len(shape) - 1):
        if tuple(shape[at : at + 2]) == before:
            shape[at : at + 2] = after
            return json.dumps({**described, "shape": shape}).encode() + b"\0"
    return text


def resolution_without_unit(page: Directory, layout: Layout) -> tuple[float, float] | None:
    """Pixels to a unit, across and down, where the file leaves the unit to its description.

    ImageJ and OME write micrometres so; there the ratio of both alone would mean nothing.
    """
    if page.integers(296, layout)[:1] != (1,):
        return None
    found = []
    for tag in (282, 283):
        data = page.tags[tag].data if tag in page.tags else b""
        if len(data) != 8:
            return None
        over, under = struct.unpack(f"{layout.order}II", data)
        if not over or not under:
            return None
        found.append(over / under)
    return found[0], found[1]
