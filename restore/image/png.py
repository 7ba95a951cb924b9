"""PNG files as chunks: checked, listed, inserted; and samples of 16 bits, which Pillow cuts to 8.

Source: PNG specification, third edition (W3C, 2025).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from restore.errors import ReadError
from restore.image import icc as icc_module
from restore.image.jpeg import RESOURCES_START
from restore.image.metadata import block_of_iptc

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
# Chunks that stay true when the pixels change: colour, and text.
KEPT = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tEXt", b"zTXt", b"iTXt")
LARGEST_TEXT = 2**26  # bytes that a text or a profile may unpack to
IPTC_KEYWORD = b"Raw profile type iptc"  # of all of Photoshop's resources
RAW_PROFILES = {
    b"Raw profile type exif": "exif",
    b"Raw profile type APP1": "exif",
    b"Raw profile type xmp": "xmp",
    IPTC_KEYWORD: "iptc",
}
DIGITS = 72  # hexadecimal ones in a line of a raw profile
XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Deflate cannot shrink by more than 1032:1 (zlib's technical notes).
MOST_SHRUNK = 1032
READ_AT_ONCE = 1 << 14
# First row, first column, and steps of the passes of an interlaced picture.
ADAM7 = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)
)  # fmt: skip


class Chunk(NamedTuple):
    """One chunk: its type of four letters, and its data."""

    type: bytes
    data: bytes


def chunks(data: bytes, name: str) -> list[Chunk]:
    """The chunks of a whole PNG file, up to IEND; pixels (IDAT) come with empty data.

    Raises ReadError for a file that ends early, a critical chunk whose checksum does not fit, and
    a header whose size its pixels cannot fill.
    """
    found, packed = [], 0
    for kind, body, checksum in _walk(data):
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(body, zlib.crc32(kind)) != checksum:
            raise ReadError(f"{name} is damaged: the checksum of a part of it does not fit")
        pixels = kind == b"IDAT"
        packed += len(body) if pixels else 0
        found.append(Chunk(kind, b"" if pixels else bytes(body)))
        if kind == b"IEND":
            _check_header(found[0], packed, name)
            return found
    raise ReadError(f"{name} is truncated: the PNG file ends before its last part; copy it again")


def _walk(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Type, data and checksum of each whole chunk."""
    at, view = len(SIGNATURE), memoryview(data)
    while at + 12 <= len(data):
        end = at + 12 + int(struct.unpack_from(">I", data, at)[0])
        if end > len(data):
            return
        yield (
            data[at + 4 : at + 8],
            view[at + 8 : end - 4],
            struct.unpack_from(">I", data, end - 4)[0],
        )
        at = end


def check_pixels(data: bytes, name: str) -> None:
    """ReadError where the packed pixels end early: Pillow would fill the rest with black.

    Call it after the size in the header has been checked.
    """
    missing, unpacker = 0, zlib.decompressobj()
    try:
        for kind, body, _ in _walk(data):
            if kind == b"IHDR":
                missing = _unpacked_size(*struct.unpack(">IIBBBBB", body))
            for at in range(0, len(body) if kind == b"IDAT" else 0, READ_AT_ONCE):
                missing -= len(unpacker.decompress(body[at : at + READ_AT_ONCE]))
                if missing <= 0:
                    return
    except zlib.error as error:
        raise ReadError(f"{name} is damaged: its pixels cannot be unpacked ({error})") from error
    raise ReadError(f"{name} is truncated: {missing} bytes of its unpacked pixels are missing")


def _unpacked_size(
    width: int, height: int, bits: int, colour: int, _packing: int, _filter: int, interlaced: int
) -> int:
    """Bytes of all rows, each behind its filter type."""
    size = 0
    for top, left, down, across in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = ceil((width - left) / across), ceil((height - top) / down)
        if columns > 0 and rows > 0:
            size += rows * (1 + ceil(columns * bits * CHANNELS.get(colour, 1) / 8))
    return size


def _check_header(first: Chunk, packed: int, name: str) -> None:
    if first.type != b"IHDR" or len(first.data) != 13:
        raise ReadError(f"{name} is damaged: a PNG file starts with a header of 13 bytes")
    width, height, bits, colour = struct.unpack(">IIBB", first.data[:10])
    needed = height * ((width * bits * CHANNELS.get(colour, 1) + 7) // 8)
    if needed > MOST_SHRUNK * packed + 1024:
        raise ReadError(
            f"{name} is damaged: {packed} bytes of pixels cannot fill {width} x {height} pixels"
        )


def decode16(data: bytes, parts: list[Chunk], name: str) -> npt.NDArray[np.uint16]:
    """Samples of a PNG file of 16 bits: `(height, width, 1..4)`, grey or RGB, alpha last.

    A colour that the file declares transparent (tRNS) becomes alpha.
    """
    import cv2

    read: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype != np.uint16:
        raise ReadError(f"{name} is damaged: its pixels cannot be decoded")
    samples = read[:, :, np.newaxis] if read.ndim == 2 else read
    colour = parts[0].data[9]
    if colour == 4:  # OpenCV gives grey and alpha as BGRA
        return np.ascontiguousarray(samples[:, :, [2, 3]])
    if samples.shape[2] >= 3:
        return np.ascontiguousarray(samples[:, :, [2, 1, 0, 3][: samples.shape[2]]])
    key = next((c.data for c in parts if c.type == b"tRNS"), None)
    if colour == 0 and key is not None and len(key) == 2:
        seen = samples != struct.unpack(">H", key)[0]
        return np.concatenate([samples, seen.astype(np.uint16) * 65535], axis=2)
    return np.ascontiguousarray(samples)


class Metadata(NamedTuple):
    """What a PNG file holds beside its pixels.

    source: for `Picture.source`: the resolution, colours without a profile, IPTC, and the chunks
    that are copied to a file written from this one
    """

    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None
    source: dict[str, Any]


def frames(parts: Iterable[Chunk]) -> int:
    """The number of frames: of an animation (APNG), else 1."""
    control = next((c.data for c in parts if c.type == b"acTL"), b"")
    return int.from_bytes(control[:4], "big") if len(control) == 8 else 1


def read_metadata(parts: list[Chunk], name: str) -> Metadata:
    """The metadata of a file's chunks. Raises ReadError for text that unpacks to too much."""
    first = {c.type: c.data for c in reversed(parts)}
    icc = exif = xmp = None
    source: dict[str, Any] = icc_module.colours_of_png(first)
    if b"iCCP" in first:
        _, _, packed = first[b"iCCP"].partition(b"\0")
        icc = _unpacked(packed[1:], name)
    if first.get(b"eXIf"):
        exif = first[b"eXIf"].removeprefix(b"Exif\0\0")
    kept = []
    for chunk in parts:
        if chunk.type not in KEPT:
            continue
        keyword = chunk.data.partition(b"\0")[0]
        if chunk.type == b"iTXt" and keyword == XMP_KEYWORD:
            xmp = xmp or _international_text(chunk.data, name)
        elif chunk.type in (b"tEXt", b"zTXt") and keyword in RAW_PROFILES:
            what, block = _raw_profile(keyword, _text(chunk, name))
            if what == "exif":
                exif = exif or block
            elif what == "xmp":
                xmp = xmp or block
            elif block:
                alone = block.startswith(b"\x1c")  # records of IPTC without a resource around them
                resources = block_of_iptc(block) if alone else RESOURCES_START + block
                source.setdefault("app13", [resources])
        else:
            kept.append(chunk)
    resolution = first.get(b"pHYs", b"")
    if len(resolution) == 9 and resolution[8] == 1:
        across, down = struct.unpack(">II", resolution[:8])
        if across and down:
            source["dpi"] = (across * 0.0254, down * 0.0254)
    return Metadata(icc or None, exif or None, xmp or None, {**source, "chunks": kept})


def _text(chunk: Chunk, name: str) -> bytes:
    """The text of a tEXt or zTXt chunk."""
    _, _, text = chunk.data.partition(b"\0")
    return text if chunk.type == b"tEXt" else _unpacked(text[1:], name)


def _international_text(data: bytes, name: str) -> bytes:
    """The text of an iTXt chunk, in UTF-8."""
    _, _, rest = data.partition(b"\0")
    packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    return _unpacked(text, name) if packed else text


def _unpacked(data: bytes, name: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, LARGEST_TEXT)
    except zlib.error:
        return b""  # pixels are whole without it
    if unpacker.unconsumed_tail:
        raise ReadError(f"{name} holds text or a profile of more than {LARGEST_TEXT} bytes")
    return text


def _raw_profile(keyword: bytes, text: bytes) -> tuple[str, bytes]:
    """What ImageMagick and ExifTool write as "Raw profile type": lines of hexadecimal digits."""
    lines = text.split(b"\n", 3)  # an empty line, the name, the length, the digits
    try:
        block = bytes.fromhex(lines[3].decode("ascii")) if len(lines) == 4 else b""
    except ValueError:
        block = b""
    if block.startswith(XMP_START):
        return "xmp", block.removeprefix(XMP_START)
    what = RAW_PROFILES[keyword]
    return what, block.removeprefix(b"Exif\0\0") if what == "exif" else block


def _iptc_chunk(resources: bytes) -> Chunk:
    """Photoshop's resources as ImageMagick and ExifTool write and read them in a PNG file."""
    digits = resources.hex()
    lines = [digits[at : at + DIGITS] for at in range(0, len(digits), DIGITS)]
    text = "\n".join(["", "iptc", f"{len(resources):8}", *lines, ""])
    return Chunk(b"zTXt", IPTC_KEYWORD + b"\0\0" + zlib.compress(text.encode()))


def without_metadata(data: bytes) -> bytes:
    """The file with only the chunks that its pixels need, so that no decoder's limit is met."""
    needed: list[bytes | memoryview] = [SIGNATURE]
    for kind, body, checksum in _walk(data):
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            needed += [struct.pack(">I4s", len(body), kind), body, struct.pack(">I", checksum)]
    return b"".join(needed)


def encode16(samples: npt.NDArray[np.uint16]) -> bytes:
    """A PNG file of `(height, width, 1..4)` samples of 16 bits, alpha last, without metadata."""
    from imagecodecs import PNG, png_encode

    packing = {"level": 1, "strategy": PNG.STRATEGY.RLE, "filter": PNG.FILTER.SUB}  # the fastest
    try:
        return bytes(png_encode(np.ascontiguousarray(samples), **packing))
    except RuntimeError as error:
        raise OSError(f"{error}; libpng takes up to 1,000,000 pixels to a side") from error


def pack(chunk: Chunk) -> bytes:
    """A chunk as the file's bytes: length, type, data, checksum."""
    checksum = zlib.crc32(chunk.type + chunk.data)
    return (
        struct.pack(">I", len(chunk.data)) + chunk.type + chunk.data + struct.pack(">I", checksum)
    )


def with_chunks(data: bytes, more: Iterable[Chunk]) -> bytes:
    """A PNG file with more chunks right behind its header."""
    end = len(SIGNATURE) + 12 + 13
    return data[:end] + b"".join(pack(c) for c in more) + data[end:]


def metadata_chunks(
    icc: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    dpi: tuple[float, float] | None,
    kept: Iterable[Chunk] = (),
    cicp: tuple[int, int] | None = None,
    app13: Iterable[bytes] = (),
) -> list[Chunk]:
    """The chunks that hold a picture's metadata, in an order allowed by the specification.

    app13: of which Photoshop's resources are kept
    """
    found = []
    if icc:
        found.append(Chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)))
    found += [c for c in kept if not (icc and c.type == b"sRGB")]
    if cicp and not any(c.type == b"cICP" for c in found):
        found.append(Chunk(b"cICP", bytes([*cicp, 0, 1])))
    if dpi:
        x, y = (round(v / 0.0254) for v in dpi)
        found.append(Chunk(b"pHYs", struct.pack(">IIB", x, y, 1)))
    if exif:
        found.append(Chunk(b"eXIf", exif))
    if xmp:
        found.append(Chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp))
    for block in app13:
        if block.startswith(RESOURCES_START):
            found.append(_iptc_chunk(block.removeprefix(RESOURCES_START)))
    return found
