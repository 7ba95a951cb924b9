"""JPEG: metadata that goes over several segments is kept whole; 12 bits are read."""

from __future__ import annotations

import hashlib
import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from restore.errors import ReadError, WriteError
from restore.image import icc, jpeg
from restore.image.picture import Picture
from restore.image.read import decode_image
from restore.image.write import check_format, encode_image

HEAD = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
TAIL = b"</rdf:RDF></x:xmpmeta>"


def description(name: bytes, text: bytes) -> bytes:
    return b'<rdf:Description rdf:about="" xmlns:a="urn:a" a:%s="%s"/>' % (name, text)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def file(*segments: bytes) -> bytes:
    memory = io.BytesIO()
    Image.new("RGB", (20, 16), (90, 120, 30)).save(memory, "JPEG")
    data = memory.getvalue()
    return data[:2] + b"".join(segments) + data[2:]


def with_extended_xmp(text: bytes) -> bytes:
    extension = HEAD + description(b"long", text) + TAIL
    name = hashlib.md5(extension).hexdigest().upper().encode()
    note = b' xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"' % name
    main = HEAD + description(b"short", b"here").replace(b"/>", note + b"/>") + TAIL
    parts = [segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + main)]
    for at in range(0, len(extension), 60_000):
        place = len(extension).to_bytes(4, "big") + at.to_bytes(4, "big")
        body = b"http://ns.adobe.com/xmp/extension/\0" + name + place + extension[at : at + 60_000]
        parts.append(segment(0xE1, body))
    return file(parts[0], *reversed(parts[1:]))  # they may come in any order


@pytest.mark.parametrize("length", [10, 70_000, 200_000])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_extended_xmp_is_kept_whole(kind: str, length: int) -> None:
    text = b"A" * length
    first = decode_image(with_extended_xmp(text))
    assert first.xmp is not None and text in first.xmp and b'a:short="here"' in first.xmp
    data = encode_image(first, kind)
    again = decode_image(data)
    assert again.xmp is not None and b"HasExtendedXMP" not in again.xmp
    assert again.xmp.count(text) == 1 and again.xmp.count(b'a:short="here"') == 1
    if kind == "JPEG" and length > 65_000:  # what matters most stays where all readers look
        main = next(b for m, b in jpeg.segments(data) if b.startswith(b"http://ns.adobe.com/xap"))
        assert b'a:short="here"' in main


def test_an_extension_with_a_hole_is_left_out() -> None:
    data = with_extended_xmp(b"A" * 200_000)
    parts = [segment(m, b) for m, b in jpeg.segments(data) if m == 0xE1]
    picture = decode_image(file(*parts[:2], *parts[3:]))
    assert picture.xmp is not None and b'a:short="here"' in picture.xmp


def test_resources_over_several_segments_are_kept_whole() -> None:
    big = b"8BIM\x0b\xb7\0\0" + (100_000).to_bytes(4, "big") + bytes(range(250)) * 400
    words = b"8BIM\x04\x04\0\0\0\0\0\x06\x1c\x02\x19\0\x01k"
    start, whole = b"Photoshop 3.0\0", big + words
    halves = [segment(0xED, start + whole[at : at + 60_000]) for at in range(0, len(whole), 60_000)]
    other = segment(0xED, b"Adobe_CM\0words")
    first = decode_image(file(halves[0], other, halves[1]))
    assert first.source["app13"] == [start + whole, b"Adobe_CM\0words"]
    again = decode_image(encode_image(first, "JPEG"))
    assert again.source["app13"] == first.source["app13"]


def test_every_comment_is_kept() -> None:
    first = decode_image(file(segment(0xFE, b"caption one"), segment(0xFE, b"caption two")))
    again = decode_image(encode_image(first, "JPEG"))
    assert again.source["comments"] == [b"caption one", b"caption two"]


def test_exif_over_two_segments_is_put_together() -> None:
    tags = Image.Exif()
    tags[0x010F] = "Maker" * 100
    block = tags.tobytes().removeprefix(b"Exif\0\0")
    halves = [segment(0xE1, b"Exif\0\0" + part) for part in (block[:60], block[60:])]
    assert decode_image(file(*halves)).exif == block


@pytest.mark.parametrize("what", ["exif", "xmp", "comment"])
def test_metadata_too_long_for_a_jpeg_is_refused_before_anything_is_done(what: str) -> None:
    long = b"A" * 70_000
    blank = np.zeros((4, 4, 3), np.float32)
    picture = {
        "exif": Picture(blank, exif=b"II*\0" + long),
        "xmp": Picture(blank, xmp=long),  # no packet that could be split
        "comment": Picture(blank, source={"comments": [long]}),
    }[what]
    with pytest.raises(WriteError, match="too long for JPEG"):
        check_format("JPEG", picture)
    if what != "comment":
        check_format("PNG", picture)


def test_a_gain_map_that_is_left_out_is_no_longer_announced() -> None:
    said = HEAD + b'<rdf:Description xmlns:hdrgm="urn:h" hdrgm:Version="1.0"/>' + TAIL
    picture = decode_image(file(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + said)))
    assert picture.xmp is not None and b"Version" not in picture.xmp
    assert len(picture.notes) == 1 and "second picture" in picture.notes[0]
    assert not decode_image(encode_image(picture, "JPEG")).notes


def test_metadata_behind_stray_bytes_is_kept() -> None:
    """Found in a corpus: decoders pass over them, and XMP, profile and pixels were not found."""
    comments = [segment(0xFE, b"before"), b"\0" * 16, segment(0xFE, b"behind"), b"stray"]
    picture = decode_image(file(*comments))
    assert picture.source["comments"] == [b"before", b"behind"]
    whole = file(*comments)
    assert whole[jpeg.start_of_scan(whole) :][:2] == b"\xff\xda"


def test_a_second_xmp_packet_or_exif_block_is_left_out_with_a_word() -> None:
    """One of each is what a JPEG may have; some editors have appended another."""
    packets = [HEAD + description(b"short", text) + TAIL for text in (b"one", b"two")]
    start = b"http://ns.adobe.com/xap/1.0/\0"
    first, second = (segment(0xE1, start + packet) for packet in packets)
    found = decode_image(file(first, second))
    assert found.xmp == packets[0]
    assert found.notes == ("a second XMP packet is left out",)
    assert decode_image(file(first, first)).notes == ()  # nothing is lost
    blocks = [b"II*\0\x08\0\0\0\0\0" + tail for tail in (bytes(4), b"two!")]
    doubled = file(*(segment(0xE1, b"Exif\0\0" + block) for block in blocks))
    assert decode_image(doubled).notes == ("a second EXIF block is left out",)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_12_bits_are_read_with_all_metadata(channels, lossless):
    """Pillow refuses them."""
    ramp = np.linspace(0, 4095, 48 * 64).round().astype(np.uint16).reshape(48, 64)
    deep = ramp if channels == 1 else np.stack([ramp, ramp[::-1], ramp // 2], 2)
    encode = imagecodecs.ljpeg_encode if channels == 1 else imagecodecs.jpeg8_encode
    options = {} if channels == 1 else {"lossless": lossless, "level": 99}
    data = bytes(encode(deep, bitspersample=12, **options))
    profile = icc.make_profile(icc.PRIMARIES[12], icc.SRGB_CURVE, grey=channels == 1)
    exif = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\3\0\0\0\0\0\0"  # upside down
    for marker, body in ((0xE2, b"ICC_PROFILE\0\1\1" + profile), (0xE1, b"Exif\0\0" + exif)):
        segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
        data = data[:2] + segment + data[2:]
    found = decode_image(data)
    assert found.depth == 16 and found.channels == channels and found.icc == profile
    upright = found.pixels[::-1, ::-1] * 4095
    error = np.abs(upright - deep.reshape(48, 64, channels)).max()
    assert error < (0.1 if lossless or channels == 1 else 80)
    with pytest.raises(ReadError, match="truncated"):
        decode_image(data[:-100])


def test_cmyk_of_12_bits_is_refused():
    data = bytes(
        imagecodecs.jpeg8_encode(np.zeros((8, 8, 4), np.uint16), bitspersample=12, lossless=True)
    )
    with pytest.raises(ReadError, match="more than 8 bits"):
        decode_image(data)
