"""The boxes of a JPEG 2000 file that hold its profile, resolution, EXIF, XMP and IPTC.

Pillow codes the pixels and ignores these boxes. Sources: JPEG 2000 part 1, annex I; for EXIF, XMP
and IPTC the UUIDs that Adobe and ExifTool use.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from restore.image.boxes import boxes, pack

SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
EXIF = b"JpgTiffExif->JP2"
XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
ICC_METHOD = b"\x02\x00\x00"  # a restricted profile, precedence 0, no approximation


class Metadata(NamedTuple):
    """The metadata of a file, each None where it is missing; IPTC as its records (IIM)."""

    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None
    iptc: bytes | None = None


def read_metadata(data: bytes) -> Metadata:
    """The metadata of a file; a bare code stream has none."""
    icc = exif = xmp = iptc = None
    for kind, body, *_ in boxes(data) if data.startswith(SIGNATURE) else ():
        if kind == b"jp2h":
            profiles = [b[3:] for k, b, *_ in boxes(body) if k == b"colr" and b[:1] == b"\x02"]
            icc = icc or next(iter(profiles), None)
        elif kind == b"uuid" and body[:16] == EXIF:
            exif = body[16:].removeprefix(b"Exif\0\0") or None
        elif kind == b"uuid" and body[:16] == XMP:
            xmp = body[16:] or None
        elif kind == b"uuid" and body[:16] == IPTC:
            iptc = body[16:] or None
    return Metadata(icc, exif, xmp, iptc)


def bits_of_samples(data: bytes) -> list[int]:
    """Bits of a sample of each channel, by the first code stream; a cut header may end anywhere."""
    start = data.find(b"\xff\x4f\xff\x51")
    rest = data[start + 41 :] if start >= 0 else b""
    return [(p & 0x7F) + 1 for p in rest[1 : 1 + 3 * rest[0] : 3]] if rest else []


def up_to_white(data: bytes, channels: int) -> list[float]:
    """By how much the samples of each channel fall short of white: Pillow only shifts them.

    To 8 bits those of fewer, to 16 those of 9 to 15. Those of a palette (more channels than the
    code stream has) are whole.
    """
    bits = bits_of_samples(data)
    if len(bits) < channels:
        return [1.0] * channels
    return [_short_of_white(each) for each in bits[:channels]]


def _short_of_white(bits: int) -> float:
    to = 8 if bits <= 8 else 16
    return ((1 << to) - 1) / ((1 << to) - (1 << max(0, to - bits)))


def with_metadata(data: bytes, metadata: Metadata, dpi: tuple[float, float] | None) -> bytes:
    """The file with metadata added: profile and resolution in its header, the rest at its end."""
    parts = [
        (kind, _header(body, metadata.icc, dpi) if kind == b"jp2h" else body)
        for kind, body, *_ in boxes(data)
    ]
    kept = ((EXIF, metadata.exif), (XMP, metadata.xmp), (IPTC, metadata.iptc))
    for mark, body in kept:
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
