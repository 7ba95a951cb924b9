"""Height and width in the headers of coded pictures, before a decoder allocates memory for them.

Sources: the specifications of PNG, WebP, JPEG, JPEG 2000, JPEG XL (ISO/IEC 18181-1) and Lerc2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from restore.image import jpeg
from restore.image.boxes import boxes

Size = tuple[int, int]
JXL_START, JXL_CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
# Ratios of width to height that a JPEG XL file may name instead of its width.
JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def coded_size(data: bytes) -> Size | None:
    """Height and width of a coded picture; None for another kind, and for a damaged header."""
    try:
        for start, size in _SIZES.items():
            if data.startswith(start):
                return size(data)
    except (struct.error, ValueError, IndexError):
        pass
    return None


def _png(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _webp(data: bytes) -> Size | None:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _jpeg(data: bytes) -> Size | None:
    at = jpeg.frame(data)
    height, width = struct.unpack_from(">HH", data, at + 5) if at else (0, 0)
    return (height, width) if at else None


def _codestream(data: bytes) -> Size:
    right, down, left, top = struct.unpack_from(">4I", data, 8)
    return down - top, right - left


def _jpeg_2000(data: bytes) -> Size | None:
    found = next((box.body for box in boxes(data) if box.type == b"jp2c"), b"")
    return _codestream(found) if found else None


def _jpeg_xl_container(data: bytes) -> Size | None:
    parts = (box for box in boxes(data) if box.type in (b"jxlc", b"jxlp"))
    first = next(parts, None)
    return _jpeg_xl(first.body[4 if first.type == b"jxlp" else 0 :]) if first else None


def _jpeg_xl(data: bytes) -> Size | None:
    if not data.startswith(JXL_START):
        return None
    if len(data) < 11:  # which the longest header of a size takes
        return None
    bits = int.from_bytes(data[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = take(3)
    if not ratio:
        return height, side()
    across, down = JXL_RATIOS[ratio - 1]
    return height, height * across // down


def _lerc(data: bytes) -> Size:
    (version,) = struct.unpack_from("<i", data, 6)
    height, width = struct.unpack_from("<ii", data, 14 if version >= 3 else 10)
    return height, width


_SIZES: dict[bytes, Callable[[bytes], Size | None]] = {
    b"\x89PNG": _png,
    b"RIFF": _webp,
    b"\xff\xd8": _jpeg,
    b"\xff\x4f\xff\x51": _codestream,
    b"\0\0\0\x0cjP  ": _jpeg_2000,
    JXL_START: _jpeg_xl,
    JXL_CONTAINER: _jpeg_xl_container,
    b"Lerc2 ": _lerc,
}
