"""BMP files beyond what Pillow does: any bit fields, alpha, and a colour profile.

Source: Microsoft, "Bitmap storage" and BITMAPV5HEADER.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from restore.errors import ReadError

BIT_FIELDS, ALPHA_BIT_FIELDS = 3, 6
V5 = 124  # bytes of the header
EMBEDDED, SRGB = 0x4D424544, 0x73524742  # "MBED", "sRGB"
MASKS = (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)  # red, green, blue, alpha


def profile(data: bytes) -> bytes | None:
    """The ICC profile in a file with a header of version 5, or None."""
    if len(data) < 14 + V5 or struct.unpack_from("<I", data, 14)[0] < V5:
        return None
    space, (at, size) = struct.unpack_from("<I", data, 70)[0], struct.unpack_from("<II", data, 126)
    found = data[14 + at : 14 + at + size]
    return found if space == EMBEDDED and size and len(found) == size else None


def has_bit_fields(data: bytes) -> bool:
    """Whether the samples of a pixel are given by masks."""
    if len(data) < 66 or struct.unpack_from("<I", data, 14)[0] < 40:
        return False
    bits, packing = struct.unpack_from("<HI", data, 28)
    return packing in (BIT_FIELDS, ALPHA_BIT_FIELDS) and bits in (16, 32)


def size(data: bytes) -> tuple[int, int]:
    """Height and width of a file with bit fields."""
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(height), max(width, 0)


def decode_bit_fields(data: bytes, name: str) -> npt.NDArray[Any]:
    """Samples `(height, width, 3 or 4)`: uint8, or uint16 where a mask has more than 8 bits.

    Raises ReadError for a truncated file. The size is to be checked before.
    """
    (at,) = struct.unpack_from("<I", data, 10)
    head, _, signed, _, bits, packing = struct.unpack_from("<IiiHHI", data, 14)
    height, width = size(data)
    with_alpha = head >= 56 or packing == ALPHA_BIT_FIELDS
    masks = struct.unpack_from("<4I" if with_alpha else "<3I", data, 54)
    row = (width * bits + 31) // 32 * 4
    if len(data) < at + row * height:
        raise ReadError(f"{name} is truncated: {at + row * height - len(data)} bytes are missing")
    rows = np.frombuffer(data, np.uint8, row * height, at).reshape(height, row)
    pixels = np.ascontiguousarray(rows[:, : width * bits // 8]).view(f"<u{bits // 8}")
    pixels = pixels.astype(np.uint32)[:: 1 if signed < 0 else -1]
    if not all(masks[:3]):
        raise ReadError(f"{name} is damaged: a colour of it has no bits")
    used = masks if len(masks) == 4 and masks[3] else masks[:3]
    deep = any(mask.bit_count() > 8 for mask in used)
    top, dtype = (65535, np.uint16) if deep else (255, np.uint8)
    planes = []
    for mask in used:
        values = (pixels & np.uint32(mask)) >> np.uint32((mask & -mask).bit_length() - 1)
        planes.append(np.rint(values * (top / ((1 << mask.bit_count()) - 1))).astype(dtype))
    return np.stack(planes, axis=2)


def encode(
    samples: npt.NDArray[np.uint8], icc: bytes | None, dpi: tuple[float, float] | None
) -> bytes:
    """A file of version 5 of `(height, width, 1, 3 or 4)` samples, alpha last, with its profile."""
    height, width, channels = samples.shape
    stored = samples if channels == 1 else samples[:, :, [2, 1, 0, 3][:channels]]
    bits = 8 * channels
    row = (width * bits + 31) // 32 * 4
    rows = np.zeros((height, row), np.uint8)
    rows[:, : width * channels] = stored[::-1].reshape(height, -1)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1)
    grey[:, 3] = 0
    palette = grey.tobytes() if channels == 1 else b""
    across, down = (round(v / 0.0254) for v in dpi) if dpi else (0, 0)
    at = 14 + V5 + len(palette)
    profile_at = V5 + len(palette) + rows.size
    head = struct.pack("<IiiHHIIiiII", V5, width, height, 1, bits,
                       BIT_FIELDS if channels == 4 else 0, rows.size, across, down,
                       256 if palette else 0, 0)  # fmt: skip
    head += struct.pack("<4I", *(MASKS if channels == 4 else (0, 0, 0, 0)))
    head += struct.pack("<I", EMBEDDED if icc else SRGB) + bytes(36 + 12)
    head += struct.pack("<4I", 4, profile_at if icc else 0, len(icc or b""), 0)  # 4: pictures
    file = b"BM" + struct.pack("<IHHI", at + rows.size + len(icc or b""), 0, 0, at)
    return file + head + palette + rows.tobytes() + (icc or b"")
