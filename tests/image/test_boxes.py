"""Boxes of HEIF, AVIF and JPEG 2000: a property is that of the item it is associated with."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from restore.image.boxes import boxes, pack, primary_properties
from restore.image.read import decode_image


def avif(mode: str = "RGBA") -> bytes:
    memory = io.BytesIO()
    colour = {"L": 90, "RGB": (200, 40, 150), "RGBA": (200, 40, 150, 128)}[mode]
    Image.new(mode, (16, 12), colour).save(memory, "AVIF", quality=100, subsampling="4:4:4")
    return memory.getvalue()


def with_properties_in_another_order(data: bytes) -> bytes:
    """The file with the last of the properties first, as libheif writes it; nothing else moves."""
    outer = {box.type: box for box in boxes(data)}
    meta = outer[b"meta"]
    inside = {box.type: box for box in boxes(data, meta.start + 4, meta.start + len(meta.body))}
    listed = inside[b"iprp"]
    parts = {box.type: box for box in boxes(data, listed.start, listed.start + len(listed.body))}
    properties = [pack(box.type, box.body) for box in boxes(parts[b"ipco"].body)]
    count, cut = len(properties), 4
    moved = properties[cut:] + properties[:cut]
    changed = bytearray(data)
    start = parts[b"ipco"].start
    changed[start : start + len(parts[b"ipco"].body)] = b"".join(moved)
    at = parts[b"ipma"].start + 8
    for _ in range(struct.unpack_from(">I", data, parts[b"ipma"].start + 4)[0]):
        entries = data[at + 2]
        for place in range(at + 3, at + 3 + entries):
            index = (data[place] & 0x7F) - 1
            changed[place] = data[place] & 0x80 | ((index - cut) % count + 1)
        at += 3 + entries
    return bytes(changed)


def test_colour_with_transparency_stays_colour_whatever_comes_first_in_the_file() -> None:
    """The first `av1C` was taken, which may be that of the alpha, and the picture came out grey."""
    data = avif()
    moved = with_properties_in_another_order(data)
    assert moved != data and len(moved) == len(data)
    picture = decode_image(moved)
    assert picture.channels == 3 and picture.alpha is not None
    np.testing.assert_array_equal(picture.pixels, decode_image(data).pixels)
    assert [b.type for b in primary_properties(moved)] == [b.type for b in primary_properties(data)]


def test_damaged_lists_of_properties_are_empty() -> None:
    data = avif()
    for cut in range(0, 450, 7):
        assert isinstance(primary_properties(data[:cut]), list)
    assert primary_properties(b"") == []
