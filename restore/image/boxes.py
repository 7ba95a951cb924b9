"""Boxes of the ISO base media file format: JPEG 2000, HEIF and AVIF are made of them.

Sources: ISO/IEC 14496-12 (boxes), 23008-12 (items and their properties).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

MOST_PROPERTIES = 10_000


class Box(NamedTuple):
    """A box: its type of four letters, its content, where that begins, and its length as stated."""

    type: bytes
    body: bytes
    start: int
    size: int


def boxes(
    data: bytes, start: int = 0, end: int | None = None, *, whole: bool = True
) -> Iterator[Box]:
    """The boxes between two positions of a file, up to the first incomplete one.

    whole: False gives that one, too, as far as it is there
    """
    at, end = start, len(data) if end is None else end
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1 and at + 16 <= end:
            (length,), head = struct.unpack_from(">Q", data, at + 8), 16
        stop = at + length if length else end
        if (length and length < head) or (whole and stop > end):
            return
        yield Box(kind, data[at + head : stop], at + head, stop - at - head)
        at = stop


def pack(kind: bytes, body: bytes) -> bytes:
    """A box as the bytes of a file."""
    if len(body) + 8 < 2**32:
        return struct.pack(">I4s", len(body) + 8, kind) + body
    return struct.pack(">I4sQ", 1, kind, len(body) + 16) + body


def primary_properties(data: bytes) -> list[Box]:
    """The properties of the primary item of a HEIF or AVIF file, which is the picture itself.

    Other items (alpha, thumbnails, gain maps) have properties of the same types. An empty list
    where the file has no items, or a damaged list of them.
    """
    try:
        return _primary_properties(data)
    except (struct.error, IndexError):
        return []


def image_extent(data: bytes) -> tuple[int, int]:
    """Height and width of the primary item as stored; (0, 0) where they are not stated."""
    for box in primary_properties(data):
        if box.type == b"ispe" and len(box.body) >= 12:
            width, height = struct.unpack_from(">II", box.body, 4)
            return height, width
    return 0, 0


def _primary_properties(data: bytes) -> list[Box]:
    meta = _first(boxes(data), b"meta")
    inside = list(boxes(data, meta.start + 4, meta.start + len(meta.body))) if meta else []
    primary, listed = _first(inside, b"pitm"), _first(inside, b"iprp")
    if primary is None or listed is None:
        return []
    number = int.from_bytes(primary.body[4 : 6 if primary.body[0] == 0 else 8], "big")
    parts = list(boxes(data, listed.start, listed.start + len(listed.body)))
    container = _first(parts, b"ipco")
    if container is None:
        return []
    properties = list(boxes(data, container.start, container.start + len(container.body)))
    indices = [i for box in parts if box.type == b"ipma" for i in _associated(box.body, number)]
    return [properties[i - 1] for i in indices if 1 <= i <= len(properties)]


def _associated(body: bytes, item: int) -> list[int]:
    """The properties' numbers, from 1 on, that an `ipma` box associates with an item."""
    version, wide = body[0], body[3] & 1
    (count,) = struct.unpack_from(">I", body, 4)
    at, found = 8, []
    for _ in range(min(count, MOST_PROPERTIES)):
        size = 2 if version == 0 else 4
        number, entries = int.from_bytes(body[at : at + size], "big"), body[at + size]
        at += size + 1
        for _ in range(entries):
            index = struct.unpack_from(">H", body, at)[0] & 0x7FFF if wide else body[at] & 0x7F
            at += 2 if wide else 1
            if number == item:
                found.append(index)
    return found


def _first(found: Iterator[Box] | list[Box], kind: bytes) -> Box | None:
    return next((box for box in found if box.type == kind), None)
