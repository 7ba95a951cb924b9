"""The boxes of a JPEG 2000 file that hold its profile, resolution, EXIF and XMP.

Pillow codes the pixels and ignores these boxes. Sources: JPEG 2000 part 1, annex I; for EXIF and
XMP the UUIDs that Adobe and ExifTool use.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from restore.image.boxes import boxes, pack

SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
EXIF = b"JpgTiffExif->JP2"
XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
ICC_METHOD = b"\x02\x00\x00"  # a restricted profile, precedence 0, no approximation


class Metadata(NamedTuple):
    """The metadata of a file, each None where it is missing."""

    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None


def read_metadata(data: bytes) -> Metadata:
    """The metadata of a file; a bare code stream has none."""
    icc = exif = xmp = None
    for kind, body, *_ in boxes(data) if data.startswith(SIGNATURE) else ():
        if kind == b"jp2h":
            profiles = [b[3:] for k, b, *_ in boxes(body) if k == b"colr" and b[:1] == b"\x02"]
            icc = icc or next(iter(profiles), None)
        elif kind == b"uuid" and body[:16] == EXIF:
            exif = body[16:].removeprefix(b"Exif\0\0") or None
        elif kind == b"uuid" and body[:16] == XMP:
            xmp = body[16:] or None
    return Metadata(icc, exif, xmp)


def bits_of_samples(data: bytes) -> list[int]:
    """Bits of a sample of each channel, by the first code stream; a cut header may end anywhere."""
    start = data.find(b"\xff\x4f\xff\x51")
    rest = data[start + 41 :] if start >= 0 else b""
    return [(p & 0x7F) + 1 for p in rest[1 : 1 + 3 * rest[0] : 3]] if rest else []


def up_to_white(data: bytes) -> float:
    """By how much samples of 9 to 15 bits fall short of white, which Pillow only shifts to 16."""
    bits = max(bits_of_samples(data), default=16)
    return 65535 / (65536 - (1 << (16 - bits))) if 8 < bits < 16 else 1.0


def with_metadata(data: bytes, metadata: Metadata, dpi: tuple[float, float] | None) -> bytes:
    """The file with metadata added: profile and resolution in its header, the rest at its end."""
    parts = [
        (kind, _header(body, metadata.icc, dpi) if kind == b"jp2h" else body)
        for kind, body, *_ in boxes(data)
    ]
    for mark, body in ((EXIF, metadata.exif), (XMP, metadata.xmp)):
        if body:
            parts.append((b"uuid", mark + body))
    return b"".join(pack(kind, body) for kind, body in parts)


def _header(body: bytes, icc: bytes | None, dpi: tuple[float, float] | None) -> bytes:
    parts = [(kind, content) for kind, content, *_ in boxes(body)]
    if icc:
        parts = [(k, ICC_METHOD + icc if k == b"colr" else b) for k, b in parts]
    if dpi:  # dots per metre as numerator, denominator and power of ten, down before across
        across, down = (round(value / 0.0254 * 100) for value in dpi)
        exponents = [0, 0]
        sizes = [down, across]
        for axis in (0, 1):  # numerators have 16 bits
            while sizes[axis] > 65535:
                sizes[axis], exponents[axis] = round(sizes[axis] / 10), exponents[axis] + 1
        body = struct.pack(">HHHHbb", sizes[0], 100, sizes[1], 100, *exponents)
        parts.append((b"res ", pack(b"resc", body)))
    return b"".join(pack(kind, body) for kind, body in parts)
