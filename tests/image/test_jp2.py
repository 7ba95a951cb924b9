"""JPEG 2000: samples of any number of bits, and IPTC in a box of its own."""

from __future__ import annotations

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from restore.errors import ReadError
from restore.image import jp2
from restore.image.boxes import boxes, pack
from restore.image.color import join, split
from restore.image.metadata import block_of_iptc, iptc_of, without_metadata
from restore.image.picture import Picture
from restore.image.read import decode_image
from restore.image.write import encode_image

RECORDS = b"\x1c\x02\x19\0\x05words"  # one keyword
OTHER = b"8BIM\x03\xed\0\0\0\0\0\x02ab"  # a resource that is not IPTC's


def encoded(bits: int, signed: bool, channels: int, container: str = "j2k") -> tuple[bytes, Any]:
    """A lossless file of a ramp of all values, and the ramp in [0, 1]."""
    ramp = np.linspace(0, (1 << bits) - 1, 64).round().astype(np.int64).reshape(8, 8)
    kind = f"{'' if signed else 'u'}int{8 if bits <= 8 else 16}"
    samples = (ramp - (1 << (bits - 1) if signed else 0)).astype(kind)
    if channels > 1:
        samples = np.repeat(samples[:, :, None], channels, axis=2)
    data = imagecodecs.jpeg2k_encode(
        samples, level=0, reversible=True, bitspersample=bits, codecformat=container
    )
    return bytes(data), ramp / ((1 << bits) - 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8, 9, 12, 15, 16])
def test_white_is_white_whatever_the_bits(bits: int, signed: bool, channels: int) -> None:
    """Samples of less than 8 bits came out darker: white of 4 bits was 240 of 255."""
    for container in ("j2k", "jp2") if bits > 8 else ("j2k",):
        data, expected = encoded(bits, signed, channels, container)
        found = decode_image(data)
        assert found.depth == (8 if bits <= 8 else 16) and found.channels == channels
        expected = np.repeat(expected[..., None], channels, 2)
        np.testing.assert_allclose(found.pixels, expected, atol=1e-6 if bits <= 8 else 2e-5)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_samples_are_written_and_read_bit_by_bit(channels: int) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (12, 17, channels), np.uint16)
    first = Picture(*split(samples))
    data = encode_image(first, "JPEG2000")
    again = decode_image(data)
    assert again.depth == 16 and np.array_equal(join(again.pixels, again.alpha, 16), samples)
    assert np.array_equal(imagecodecs.jpeg2k_decode(data).reshape(samples.shape), samples)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == {1: "I;16", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    eight = decode_image(encode_image(first, "JPEG2000", depth=8))
    assert eight.depth == 8 and np.abs(eight.pixels - first.pixels).max() < 0.51 / 255


def test_alpha_is_declared_in_a_deep_file_as_in_one_of_8_bits() -> None:
    """imagecodecs does not say what a fourth channel is, so that others take it for ink."""
    picture = Picture(np.zeros((8, 9, 3), np.float32), np.ones((8, 9), np.float32))
    declared = []
    for depth in (8, 16):
        header = next(
            b for b in boxes(encode_image(picture, "JPEG2000", depth=depth)) if b.type == b"jp2h"
        )
        declared += [
            sorted(b.body[2 + at : 8 + at] for at in range(0, len(b.body) - 2, 6))
            for b in boxes(header.body)
            if b.type == b"cdef"
        ]
    assert len(declared) == 2 and declared[0] == declared[1]


def test_channels_of_different_bits_are_refused() -> None:
    data, _ = encoded(12, False, 3)
    at = data.index(b"\xff\x4f\xff\x51") + 42
    assert data[at : at + 9] == bytes([11, 1, 1] * 3)
    for changed in (bytes([11, 1, 1, 9, 1, 1, 11, 1, 1]), bytes([11, 1, 1, 11, 2, 2, 11, 2, 2])):
        with pytest.raises(ReadError, match="channels differ"):
            decode_image(data[:at] + changed + data[at + 9 :])


def test_a_palette_of_few_bits_is_refused() -> None:
    """Pillow takes the places in it for samples and shifts them."""
    data, _ = encoded(4, False, 1, "jp2")
    palette = struct.pack(">HB", 16, 3) + b"\7\7\7" + bytes(range(48))
    mapping = b"".join(struct.pack(">HBB", 0, 1, channel) for channel in range(3))
    parts = []
    for box in boxes(data):
        body = box.body
        if box.type == b"jp2h":
            body = body.replace(b"colr\1\0\0\0\0\0\x11", b"colr\1\0\0\0\0\0\x10")  # sRGB
            body += pack(b"pclr", palette) + pack(b"cmap", mapping)
        parts.append(pack(box.type, body))
    with pytest.raises(ReadError, match="palette of less than 8 bits"):
        decode_image(b"".join(parts))


@pytest.mark.parametrize("kind", ["JPEG2000", "JPEG", "TIFF"])
def test_iptc_is_kept_from_jpeg_2000_and_to_it(kind: str) -> None:
    """It was lost: the box that holds it was not read."""
    block = b"Photoshop 3.0\0" + OTHER + block_of_iptc(RECORDS).removeprefix(b"Photoshop 3.0\0")
    first = Picture(np.zeros((8, 9, 3), np.float32), source={"app13": [block]})
    file = encode_image(first, "JPEG2000")
    assert [b.body[16:] for b in boxes(file) if b.body[:16] == jp2.IPTC] == [RECORDS]
    again = decode_image(encode_image(decode_image(file), kind))
    assert iptc_of(again.source["app13"]) == RECORDS
    stripped = encode_image(without_metadata(again), "JPEG2000")
    assert RECORDS not in stripped


def test_records_of_odd_and_of_damaged_resources() -> None:
    assert iptc_of([block_of_iptc(b"odd")]) == b"odd"
    assert iptc_of([b"Photoshop 3.0\0" + OTHER, b"Adobe_CM\0", b""]) is None
    whole = block_of_iptc(RECORDS)
    for cut in range(len(whole)):
        found = iptc_of([whole[:cut]])
        assert found is None or RECORDS.startswith(found)
