"""What a GIF says of its colours and of itself reaches the file that it becomes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from restore.image import gif
from restore.image.read import decode_image
from restore.image.write import encode_image

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"a" * 600 + b"</x:xmpmeta>"
TRAILER = bytes([1, *range(255, -1, -1), 0])


def blocks(data: bytes) -> bytes:
    parts = (data[at : at + 255] for at in range(0, len(data), 255))
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def file(palette: bool) -> bytes:
    """A comment, a profile and a packet before the picture."""
    memory = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(memory, "GIF")
    data = memory.getvalue()
    at = 13 + (3 << ((data[10] & 7) + 1))
    head, rest = data[:at], data[at:]
    if not palette:  # the picture is black then
        head = data[:10] + bytes([data[10] & 0x7F]) + data[11:13]
    more = b"\x21\xfe" + blocks(b"a comment")
    more += b"\x21\xff\x0bICCRGBG1012" + blocks(ICC)
    more += b"\x21\xff\x0bXMP DataXMP" + XMP + TRAILER
    return head + more + rest


@pytest.mark.parametrize("palette", [True, False])
def test_the_profile_and_the_packet_are_found(palette: bool) -> None:
    assert gif.read_metadata(file(palette)) == (ICC, XMP)


def test_they_reach_a_png() -> None:
    picture = decode_image(file(palette=True))
    again = decode_image(encode_image(picture, "PNG"))
    assert (again.icc, again.xmp) == (ICC, XMP)
    np.testing.assert_array_equal(again.pixels, picture.pixels)


def test_a_file_that_is_cut_anywhere_has_only_what_is_whole() -> None:
    whole = file(palette=True)
    for cut in range(len(whole)):
        found = gif.read_metadata(whole[:cut])
        assert found.icc in (ICC, None) and found.xmp in (XMP, None)
