"""Metadata changed: without stale thumbnails, with the new size, or removed on request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from restore.image import calibration, exif, xmp
from restore.image.jpeg import RESOURCES_START
from restore.image.picture import Picture

WORDS = (b"tEXt", b"zTXt", b"iTXt")
IPTC = 1028  # number of the image resource that holds IPTC's records
SMALL_PICTURES = (1033, 1036)  # numbers of the image resources that are thumbnails


def without_thumbnails(picture: Picture) -> Picture:
    """The picture without the thumbnails of its old pixels in its metadata."""
    source = dict(picture.source)
    if source.get("app13"):
        source["app13"] = [_without_resources(block) for block in source["app13"]]
    return picture.replace(
        exif=exif.without_thumbnail(picture.exif) if picture.exif else None,
        xmp=xmp.without_thumbnails(picture.xmp) if picture.xmp else None,
        source=source,
    )


def with_size(picture: Picture, height: int, width: int) -> Picture:
    """The picture with metadata that is true of it once it has this size; its pixels stay.

    Those are its dimensions in EXIF and XMP, and all that is measured in pixels: GeoTIFF's place,
    OME's and ImageJ's pixel size.
    """
    before, after = (picture.height, picture.width), (height, width)
    source = dict(picture.source)
    if (per_unit := source.get("pixels_per_unit")) and calibration.is_of_imagej(picture.exif):
        source["pixels_per_unit"] = (
            per_unit[0] * width / before[1],
            per_unit[1] * height / before[0],
        )
    return picture.replace(
        exif=calibration.with_size(picture.exif, before, after) if picture.exif else None,
        xmp=xmp.with_size(picture.xmp, height, width) if picture.xmp else None,
        source=source,
    )


def without_metadata(picture: Picture) -> Picture:
    """The picture without EXIF, XMP, IPTC and comments; the colour space stays.

    That is the ICC profile and PNG's chunks of colour; the resolution stays, too.
    """
    source: dict[str, Any] = {
        k: v for k, v in picture.source.items() if k not in ("app13", "comments")
    }
    if "chunks" in source:
        source["chunks"] = [c for c in source["chunks"] if c.type not in WORDS]
    return picture.replace(exif=None, xmp=None, source=source)


def resources(block: bytes) -> list[tuple[int, bytes]]:
    """Photoshop's image resources in an APP13 block: each one's number, and all its bytes.

    An invalid block is parsed as far as possible. Source: Adobe Photoshop
    file formats specification, "Image Resource Blocks".
    """
    found, at = [], len(RESOURCES_START)
    while (
        block.startswith(RESOURCES_START)
        and block[at : at + 4] == b"8BIM"
        and at + 12 <= len(block)
    ):
        name = block[at + 6] + 1
        head = at + 6 + name + name % 2
        end = head + 4 + int.from_bytes(block[head : head + 4], "big")
        end += (end - head) % 2
        found.append((int.from_bytes(block[at + 4 : at + 6], "big"), block[at:end]))
        at = end
    return found


def iptc_of(blocks: Iterable[bytes]) -> bytes | None:
    """The records of IPTC (IIM) in APP13 blocks; None where there are none."""
    for block in blocks:
        for number, part in resources(block):
            if number == IPTC:
                head = 6 + (part[6] + 2) // 2 * 2
                length = int.from_bytes(part[head : head + 4], "big")
                return part[head + 4 : head + 4 + length] or None
    return None


def block_of_iptc(records: bytes) -> bytes:
    """An APP13 block that holds records of IPTC."""
    resource = b"8BIM" + IPTC.to_bytes(2, "big") + b"\0\0" + len(records).to_bytes(4, "big")
    return RESOURCES_START + resource + records + bytes(len(records) % 2)


def _without_resources(block: bytes) -> bytes:
    parts = resources(block)
    if not any(number in SMALL_PICTURES for number, _ in parts):
        return block
    return RESOURCES_START + b"".join(
        part for number, part in parts if number not in SMALL_PICTURES
    )
