"""JPEG 2000: the boxes that hold profile, resolution, EXIF, XMP and IPTC; and deep samples.

Pillow codes pixels of 8 bits and ignores these boxes; imagecodecs codes deeper ones. Sources: JPEG
2000 part 1, annexes A and I; for EXIF, XMP and IPTC the UUIDs that Adobe and ExifTool use.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from restore.errors import ReadError
from restore.image import color
from restore.image.boxes import boxes, pack

SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
EXIF = b"JpgTiffExif->JP2"
XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
# What each channel is, where the last one is alpha: number, kind, and the colour that it is of.
ALPHA = {
    2: struct.pack(">H6H", 2, 0, 0, 1, 1, 1, 0),
    4: struct.pack(">H12H", 4, 0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 1, 0),
}
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


class Channel(NamedTuple):
    """How the samples of a channel are stored; steps: pixels between them, down and across."""

    bits: int
    signed: bool
    steps: bytes


def channels_of(data: bytes) -> list[Channel]:
    """The channels of the first code stream; a cut header may end anywhere."""
    start = data.find(b"\xff\x4f\xff\x51")
    rest = data[start + 41 :] if start >= 0 else b""
    parts = [rest[at : at + 3] for at in range(1, 1 + 3 * rest[0], 3)] if rest else []
    return [Channel((p[0] & 0x7F) + 1, p[0] > 0x7F, p[1:]) for p in parts if p]


def bits_of_samples(data: bytes) -> list[int]:
    """Bits of a sample of each channel."""
    return [channel.bits for channel in channels_of(data)]


def deepest(data: bytes) -> int:
    """The most bits that a sample has; 8 where the header does not say."""
    return max(bits_of_samples(data), default=8)


def decode_deep(data: bytes, name: str) -> npt.NDArray[np.uint16]:
    """Samples of 9 to 16 bits as 16: `(height, width, 1..4)`, grey or RGB, alpha last.

    Raises ReadError for channels that are stored in different ways; other errors are the library's.
    """
    import imagecodecs

    stored = channels_of(data)
    bits, signed, _ = stored[0]
    if len(set(stored)) > 1 or len(stored) > 4 or bits > 16:
        raise ReadError(
            f"{name} is a JPEG2000 of more than 8 bits whose channels differ in their samples, or "
            "have more than 16 bits, which is not read; save it as PNG or TIFF"
        )
    samples = np.asarray(imagecodecs.jpeg2k_decode(data))
    samples = samples[:, :, np.newaxis] if samples.ndim == 2 else samples
    shifted = samples.astype(np.int32) + (1 << (bits - 1)) if signed else samples
    return color.as_16_bits(shifted, bits)


def encode_deep(samples: npt.NDArray[np.uint16]) -> bytes:
    """A lossless file of `(height, width, 1..4)` samples of 16 bits, alpha last."""
    from imagecodecs import jpeg2k_encode

    plain = samples[:, :, 0] if samples.shape[2] == 1 else np.ascontiguousarray(samples)
    try:
        data = bytes(jpeg2k_encode(plain, level=0, codecformat="jp2", reversible=True))
    except RuntimeError as error:
        raise OSError(str(error)) from error
    alpha = ALPHA.get(samples.shape[2], b"")
    return b"".join(
        pack(kind, body + pack(b"cdef", alpha) if alpha and kind == b"jp2h" else body)
        for kind, body, *_ in boxes(data)
    )


def up_to_white(data: bytes, channels: int) -> list[float]:
    """By how much samples of less than 8 bits fall short of white: Pillow only shifts them.

    Those of a palette (more channels than the code stream has) are whole.
    """
    bits = bits_of_samples(data)
    if len(bits) < channels:
        return [1.0] * channels
    return [255 / (256 - (1 << max(0, 8 - each))) for each in bits[:channels]]


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
