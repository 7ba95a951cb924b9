"""The segments of a JPEG file that hold its metadata, also in several pieces; and deep samples.

Pillow decodes 8 bits, imagecodecs 12 bits, and up to 16 that are coded without loss.

Sources: ITU-T T.81 (markers); XMP specification part 3; Exif 3.0; Adobe, Photoshop file formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from restore.image import color
from restore.image import xmp as xmp_module

APP1, APP13, COMMENT, SCAN = 0xE1, 0xED, 0xFE, 0xDA
EXIF_START = b"Exif\0\0"
XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION_START = b"http://ns.adobe.com/xmp/extension/\0"
RESOURCES_START = b"Photoshop 3.0\0"
LARGEST = 65_533  # bytes that a segment holds
LARGEST_EXIF = LARGEST - len(EXIF_START)
LARGEST_XMP = LARGEST - len(XMP_START)
LARGEST_EXTENSION = 2**26  # bytes of all parts


class Metadata(NamedTuple):
    """The metadata of a file; `app13` are Photoshop's blocks and others of that kind.

    notes: what is left out, a sentence each
    """

    exif: bytes | None
    xmp: bytes | None
    app13: list[bytes]
    comments: list[bytes]
    notes: tuple[str, ...] = ()


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the pixels."""
    for marker, begin, end in _markers(data):
        if marker != SCAN:
            yield marker, data[begin + 4 : end]


def frame(data: bytes) -> int:
    """Where the marker of the frame is, behind which are bits and size; 0 where there is none."""
    for marker, begin, _ in _markers(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return begin
    return 0


def bits_of_samples(data: bytes) -> int:
    """Bits of a sample; 8 where the header does not say."""
    at = frame(data)
    return data[at + 4] if at and at + 4 < len(data) else 8


def as_of_8_bits(data: bytes) -> bytes:
    """A file whose header says 8 bits, as Pillow wants it, for all but the pixels."""
    at = frame(data) + 4
    return data[:at] + b"\x08" + data[at + 1 :]


def decode_deep(data: bytes, name: str) -> npt.NDArray[np.uint16]:
    """Samples of 9 to 16 bits as 16: `(height, width, 1 or 3)`. Errors are the library's."""
    import imagecodecs

    samples = np.asarray(imagecodecs.jpeg8_decode(data))
    samples = samples[:, :, np.newaxis] if samples.ndim == 2 else samples
    return color.as_16_bits(samples, bits_of_samples(data))


def start_of_scan(data: bytes) -> int:
    """Where a file's own pixels begin, behind a thumbnail that EXIF may hold."""
    return next((begin for marker, begin, _ in _markers(data) if marker == SCAN), len(data))


def _markers(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Each marker that has a content, where it begins and ends, up to that of the pixels.

    Bytes between segments are passed over, as decoders do.
    """
    at = 2
    while at >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0:
            at = data.find(b"\xff", at + 1)
        elif marker == 0xFF:  # filler
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # without content
            at += 2
        else:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield marker, at, end
            if marker == SCAN:
                return
            at = end


def read_metadata(data: bytes) -> Metadata:
    """All that the segments hold, put together where it goes over several."""
    exif = b""
    packet: bytes | None = None
    extensions: dict[bytes, list[tuple[int, int, bytes]]] = {}
    blocks: list[bytes] = []
    others: list[bytes] = []
    comments: list[bytes] = []
    notes: list[str] = []
    for marker, body in segments(data):
        if marker == COMMENT:
            comments.append(body)
        elif marker == APP13 and body.startswith(RESOURCES_START):
            blocks.append(body.removeprefix(RESOURCES_START))
        elif marker == APP13:
            others.append(body)
        elif marker == APP1 and body.startswith(EXIF_START):
            part = body.removeprefix(EXIF_START)
            if not exif or part[:4] not in (b"II*\0", b"MM\0*"):
                exif += part
            elif not exif.startswith(part):
                notes.append("a second EXIF block is left out")
        elif marker == APP1 and body.startswith(XMP_START):
            found = body.removeprefix(XMP_START)
            packet = packet or found
            if found.strip(b"\0 \n") and found != packet:
                notes.append("a second XMP packet is left out")
        elif marker == APP1 and body.startswith(EXTENSION_START):
            rest = body.removeprefix(EXTENSION_START)
            size, at = int.from_bytes(rest[32:36], "big"), int.from_bytes(rest[36:40], "big")
            extensions.setdefault(rest[:32], []).append((at, size, rest[40:]))
    joined = [RESOURCES_START + b"".join(blocks)] if blocks else []
    whole = _whole_xmp(packet, extensions)
    return Metadata(exif or None, whole, joined + others, comments, tuple(dict.fromkeys(notes)))


def _whole_xmp(
    packet: bytes | None, extensions: dict[bytes, list[tuple[int, int, bytes]]]
) -> bytes | None:
    """The packet with its extension, where all of that is there; else the packet alone."""
    name = xmp_module.extension_of(packet) if packet else None
    if packet is None or name not in extensions:
        return packet
    parts = sorted(extensions[name])
    extension, size = bytearray(), parts[0][1]
    for at, _, part in parts:
        if at != len(extension) or size > LARGEST_EXTENSION:
            return packet
        extension += part
    merged = xmp_module.merge(packet, bytes(extension)) if len(extension) == size else None
    return packet if merged is None else merged


def metadata_segments(
    xmp: bytes | None, app13: Iterable[bytes] = (), comments: Iterable[bytes] = ()
) -> bytes:
    """The segments of XMP, Photoshop's blocks and comments. Raises ValueError for what is too long.

    XMP that one segment does not hold goes on in an extension.
    """
    found = []
    if xmp:
        found += [_pack(APP1, body) for body in _xmp_bodies(xmp)]
    for block in app13:
        if not block.startswith(RESOURCES_START):
            found.append(_pack(APP13, block))
            continue
        rest, step = block.removeprefix(RESOURCES_START), LARGEST - len(RESOURCES_START)
        for at in range(0, len(rest), step):
            found.append(_pack(APP13, RESOURCES_START + rest[at : at + step]))
    found += [_pack(COMMENT, comment) for comment in comments]
    return b"".join(found)


def _xmp_bodies(xmp: bytes) -> Iterator[bytes]:
    if len(xmp) <= LARGEST_XMP:
        yield XMP_START + xmp
        return
    parts = xmp_module.split(xmp, LARGEST_XMP)
    if parts is None:
        raise ValueError(f"XMP of {len(xmp)} bytes is too long for JPEG")
    main, extension, name = parts
    yield XMP_START + main
    step = LARGEST - len(EXTENSION_START) - 40
    for at in range(0, len(extension), step):
        place = len(extension).to_bytes(4, "big") + at.to_bytes(4, "big")
        yield EXTENSION_START + name + place + extension[at : at + step]


def _pack(marker: int, body: bytes) -> bytes:
    if len(body) > LARGEST:
        raise ValueError(f"{len(body)} bytes of metadata are too long for JPEG")
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body
