"""JPEG XL: decoded by imagecodecs, with what its header says of colours, alpha and metadata.

Source: ISO/IEC 18181-1 (header) and 18181-2 (boxes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from restore.errors import ReadError
from restore.image import color, exif, icc, xmp
from restore.image.boxes import boxes
from restore.image.picture import Picture
from restore.image.sizes import JXL_CONTAINER, JXL_START

ALPHA, SPOT_COLOUR, COLOUR_FILTER = 0, 2, 5  # types of extra channels
GREY, XYB = 1, 2  # colour spaces
CUSTOM = 2
HEADER = 4096  # bytes of the code stream that hold the header, with names of channels
PRIMARIES = {1: 1, 9: 9, 11: 12}  # to code points; P3 has the white of D65 here
WHITE_D65, WHITE_DCI = 1, 11


class _Bits:
    """Bits of a header, the least significant first."""

    def __init__(self, data: bytes) -> None:
        self.bits, self.left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self.left:
            raise ValueError("the header of a JPEG XL file ends early")
        value = self.bits & ((1 << count) - 1)
        self.bits >>= count
        self.left -= count
        return value

    def choice(self, *options: tuple[int, int]) -> int:
        """One of four: (what is added, bits that follow)."""
        start, count = options[self.take(2)]
        return start + self.take(count)

    def enum(self) -> int:
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))


@dataclass
class Header:
    """What matters of an image header; `cicp` is None for sRGB."""

    cicp: icc.Cicp | None = None
    profile: bool = False
    animated: bool = False
    alpha: bool = False
    premultiplied: bool = False
    others: int = 0  # extra channels that are not alpha
    known: bool = True


def is_jpeg_xl(data: bytes) -> bool:
    """Whether a file is JPEG XL, bare or in a container."""
    return data.startswith((JXL_START, JXL_CONTAINER))


def read_header(data: bytes) -> Header:
    """The header of a file. Raises ValueError where it ends early."""
    stream = data
    if data.startswith(JXL_CONTAINER):
        parts = (box for box in boxes(data, whole=False) if box.type in (b"jxlc", b"jxlp"))
        stream = b"".join(b.body[4 if b.type == b"jxlp" else 0 :][:HEADER] for b in parts)
    bits = _Bits(stream[2:HEADER])
    _skip_size(bits)
    found = Header()
    if bits.take(1):  # all as usual: 8 bits, sRGB
        return found
    if bits.take(1):
        bits.take(3)  # orientation, which the decoder applies
        if bits.take(1):
            _skip_size(bits)
        if bits.take(1):  # a preview
            found.known = False
            return found
        if bits.take(1):
            found.animated = True
            return found
    _skip_depth(bits)
    bits.take(1)
    for _ in range(bits.choice((0, 0), (1, 0), (2, 4), (1, 12))):
        _read_extra(bits, found)
    bits.take(1)  # XYB inside
    _read_colours(bits, found)
    return found


def _skip_size(bits: _Bits) -> None:
    small = bits.take(1)

    def skip_side() -> None:
        if small:
            bits.take(5)
        else:
            bits.choice((1, 9), (1, 13), (1, 18), (1, 30))

    skip_side()
    if not bits.take(3):  # else the width follows from a ratio
        skip_side()


def _skip_depth(bits: _Bits) -> None:
    if bits.take(1):
        bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
    else:
        bits.choice((8, 0), (10, 0), (12, 0), (1, 6))


def _read_extra(bits: _Bits, found: Header) -> None:
    """One extra channel's description."""
    if bits.take(1):  # alpha of 8 bits
        found.alpha = True
        return
    kind = bits.enum()
    _skip_depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))  # its name
    if kind == ALPHA and not found.alpha:
        found.alpha, found.premultiplied = True, bool(bits.take(1))
    elif kind == ALPHA:
        bits.take(1)
    else:
        found.others += 1
        if kind == SPOT_COLOUR:
            bits.take(64)
        elif kind == COLOUR_FILTER:
            bits.choice((1, 0), (0, 2), (3, 4), (19, 8))


def _read_colours(bits: _Bits, found: Header) -> None:
    if bits.take(1):  # sRGB
        return
    found.profile = bool(bits.take(1))
    space = bits.enum()
    if found.profile or space == XYB:
        return
    white = bits.enum()
    primaries = 1 if space == GREY or white == CUSTOM else bits.enum()
    usual = white == WHITE_D65 and primaries in PRIMARIES
    if not usual and (white, primaries) != (WHITE_DCI, 11):
        found.known = False
        return
    if bits.take(1):  # a gamma
        found.known = False
        return
    codes = PRIMARIES[primaries] if white == WHITE_D65 else 11, bits.enum()
    found.cicp = None if codes in icc.SRGB_CODES else codes


def decode(data: bytes, name: str) -> Picture:
    """The picture in a file, upright. The size is to be checked before.

    Raises ReadError for what cannot be read without loss; other errors are the library's.
    """
    import imagecodecs

    about = read_header(data)
    refused = {
        "is an animation": about.animated,
        "has a colour profile, which is not read from JPEG XL": about.profile,
        "has colours that are encoded in a way that is not read": not about.known,
        "has premultiplied transparency": about.premultiplied,
        "has extra channels that are not transparency": bool(about.others),
    }
    for words, found in refused.items():
        if found:
            raise ReadError(f"{name} {words}; convert it to PNG first")
    samples = np.asarray(imagecodecs.jpegxl_decode(data))
    samples = samples[:, :, np.newaxis] if samples.ndim == 2 else samples
    source: dict[str, Any] = {"cicp": about.cicp} if about.cicp else {}
    exif_block, packet = _metadata(data)
    return Picture(
        *color.split(samples),
        exif=exif.without_rotation(exif_block) if exif_block else None,
        xmp=xmp.without_rotation(packet) if packet else None,
        format="JPEGXL",
        source=source,
    )


def _metadata(data: bytes) -> tuple[bytes | None, bytes | None]:
    """EXIF and XMP of the container's boxes; those that are packed with Brotli are left out."""
    block = packet = None
    for box in boxes(data) if data.startswith(JXL_CONTAINER) else ():
        if box.type == b"Exif" and len(box.body) > 4:
            block = block or box.body[4 + int.from_bytes(box.body[:4], "big") :]
        elif box.type == b"xml ":
            packet = packet or box.body
    return block or None, packet or None
