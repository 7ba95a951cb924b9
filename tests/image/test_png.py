"""PNG files made by hand, chunk by chunk: depths, transparency, damage."""

import io
import shutil
import struct
import subprocess
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from restore.errors import ReadError
from restore.image.metadata import without_metadata, without_thumbnails
from restore.image.picture import Picture, quantise
from restore.image.read import decode_image
from restore.image.write import encode_image


def samples(shape, dtype=np.uint8, seed=0):
    top = 256 if dtype == np.uint8 else 65536
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def stored(picture):
    """A picture's samples as an integer array, alpha last."""
    planes = [picture.pixels]
    planes += [] if picture.alpha is None else [picture.alpha[:, :, None]]
    return quantise(np.concatenate(planes, axis=2), picture.depth)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, bits, colour, *more):
    """A PNG file made by hand: `rows` are the packed bytes of each row."""
    width = {1: 8, 2: 4, 4: 2, 8: 1}.get(bits, 1) * len(rows[0]) if bits < 16 else None
    width = width or len(rows[0]) // (2 * {0: 1, 4: 2, 2: 3, 6: 4}[colour])
    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(r) for r in rows))
    parts = [chunk(b"IHDR", head), *more, chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_every_bit(channels):
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    array = samples((9, 7, channels), np.uint16)
    picture = decode_image(png([r.astype(">u2").tobytes() for r in array], 16, colour))
    assert picture.depth == 16
    assert np.array_equal(stored(picture), array)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_transparent_grey_of_low_depth(bits):
    row = np.arange(2**bits, dtype=np.uint8).repeat(8 // bits if bits < 8 else 1)
    packed = np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes()
    key = min(1, 2**bits - 1)
    data = png([packed], bits, 0, chunk(b"tRNS", struct.pack(">H", key)))
    picture = decode_image(data)
    assert np.array_equal(stored(picture)[0, :, 0], row * (255 // (2**bits - 1)))
    assert np.array_equal(picture.alpha[0], (row != key).astype(np.float32))


@pytest.mark.parametrize("colour", [0, 2])
def test_transparent_colour_of_16_bit_png(colour):
    array = samples((5, 6, 3 if colour else 1), np.uint16)
    key = chunk(b"tRNS", array[2, 3].astype(">u2").tobytes())
    picture = decode_image(png([r.astype(">u2").tobytes() for r in array], 16, colour, key))
    truth = np.ones((5, 6), np.float32)
    truth[2, 3] = 0
    assert np.array_equal(picture.alpha, truth)
    assert np.array_equal(quantise(picture.pixels, 16), array)


def test_palette_with_transparency():
    image = Image.fromarray(samples((17, 23, 3))).quantize(8)
    memory = io.BytesIO()
    image.save(memory, "PNG", transparency=3)
    data = memory.getvalue()
    picture = decode_image(data)
    indices = np.asarray(image)
    assert np.array_equal(picture.alpha, (indices != 3).astype(np.float32))
    colours = np.asarray(image.convert("RGB"))
    assert np.array_equal(stored(picture)[..., :3], colours)


def test_interlaced_16_bit_png():
    data = cv2.imencode(".png", samples((9, 9, 3), np.uint16))[1].tobytes()
    truth = stored(decode_image(data))
    # Adam7 by hand: the passes' origins and steps.
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    raw = b""
    for y, x, dy, dx in (*passes, (1, 0, 2, 1)):
        raw += b"".join(b"\0" + r.astype(">u2").tobytes() for r in truth[y::dy, x::dx])
    head = struct.pack(">IIBBBBB", 9, 9, 16, 2, 0, 0, 1)
    made = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    assert np.array_equal(stored(decode_image(b"\x89PNG\r\n\x1a\n" + made)), truth)


@pytest.mark.parametrize("bits", [8, 16])
def test_png_whose_stream_is_short_is_refused(bits):
    rows = samples((24, 24 * 3 * bits // 8))
    body = zlib.compress(b"".join(b"\0" + r.tobytes() for r in rows[:12]))
    head = struct.pack(">IIBBBBB", 24, 24, bits, 2, 0, 0, 0)
    made = chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    with pytest.raises(ReadError, match="truncated"):
        decode_image(b"\x89PNG\r\n\x1a\n" + made)


def test_wrong_checksum_is_damage():
    data = bytearray(cv2.imencode(".png", samples((24, 24, 3), np.uint16))[1].tobytes())
    data[60] ^= 1
    with pytest.raises(ReadError, match="checksum"):
        decode_image(bytes(data))


def test_text_and_profiles_of_more_than_a_megabyte_are_read():
    """Pillow's own limit called such a healthy file damaged."""
    text, profile = b"A" * 3_000_000, bytes(range(256)) * 8000
    words = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text))
    long = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x>" + text + b"</x>"))
    colours = chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))
    for bits in (8, 16):
        rows = samples((4, 12 * bits // 8))
        picture = decode_image(png(rows, bits, 0 if bits == 8 else 2, words, long, colours))
        assert picture.icc == profile and picture.xmp == b"<x>" + text + b"</x>"
        assert [c.type for c in picture.source["chunks"]] == [b"zTXt"]


def test_text_that_unpacks_to_more_than_the_bound_is_refused():
    bomb = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(80_000_000), 9))
    with pytest.raises(ReadError, match="text or a profile of more than"):
        decode_image(png(samples((4, 12)), 8, 0, bomb))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("keyword", ["exif", "APP1"])
def test_exif_in_a_raw_profile_turns_the_picture_and_is_kept(packed, keyword):
    """ImageMagick and ExifTool write it so; the JPEG of such a file lay on its side."""
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "Maker"
    block = tags.tobytes()
    digits = "\n".join(block.hex()[at : at + 72] for at in range(0, 2 * len(block), 72))
    text = f"\n{keyword}\n{len(block):8}\n{digits}\n".encode()
    name = f"Raw profile type {keyword}".encode()
    body = b"zTXt", name + b"\0\0" + zlib.compress(text)
    made = chunk(*body) if packed else chunk(b"tEXt", name + b"\0" + text)
    array = samples((4, 6), seed=3)
    picture = decode_image(png(array, 8, 0, made))
    assert np.array_equal(stored(picture)[:, :, 0], np.rot90(array, -1))
    again = decode_image(encode_image(picture, "JPEG"))
    assert (again.height, again.width) == (6, 4)
    found = Image.Exif()
    found.load(again.exif)
    assert found[0x010F] == "Maker" and found.get(0x0112, 1) == 1
    assert not decode_image(encode_image(picture, "PNG")).source["chunks"]  # not twice


def test_a_damaged_raw_profile_is_no_reason_to_refuse_the_picture():
    for text in (b"", b"\nexif\n", b"\nexif\n 4\nzzzz", b"\nexif\n 4\nabc"):
        data = png(samples((4, 6)), 8, 0, chunk(b"tEXt", b"Raw profile type exif\0" + text))
        assert decode_image(data).exif is None


RECORDS = b"\x1c\x02\x19\0\x01k"  # one keyword, "k"
RESOURCE = b"8BIM\x04\x04\0\0\0\0\0\x06" + RECORDS


@pytest.mark.parametrize("block", [RESOURCE, RECORDS], ids=["resource", "records alone"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "JPEG2000"])
def test_iptc_in_a_raw_profile_reaches_other_files(kind, block):
    text = f"\niptc\n{len(block):8}\n{block.hex()}\n".encode()
    data = png(samples((4, 6)), 8, 0, chunk(b"tEXt", b"Raw profile type iptc\0" + text))
    again = decode_image(encode_image(decode_image(data), kind))
    assert again.source["app13"] == [b"Photoshop 3.0\0" + RESOURCE]


def test_iptc_of_a_jpeg_is_kept_by_png_without_thumbnails():
    thumbnail = b"8BIM\x04\x0c\0\0\0\0\0\x1d" + bytes(30)
    many = RESOURCE * 40  # lines of digits
    source = {"app13": [b"Photoshop 3.0\0" + many + thumbnail, b"Adobe_CM\0"]}
    picture = without_thumbnails(Picture(np.zeros((4, 6, 3), np.float32), source=source))
    data = encode_image(picture, "PNG")
    again = decode_image(data)
    assert again.source["app13"] == [b"Photoshop 3.0\0" + many] and not again.source["chunks"]
    assert encode_image(again, "PNG") == data  # once, not once more
    assert b"Raw profile" not in encode_image(without_metadata(again), "PNG")


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_reads_the_iptc_of_a_png(tmp_path):
    picture = Picture(
        np.zeros((4, 6, 3), np.float32), source={"app13": [b"Photoshop 3.0\0" + RESOURCE]}
    )
    (tmp_path / "a.png").write_bytes(encode_image(picture, "PNG"))
    words = ["exiftool", "-IPTC:Keywords", "-s3", "-warning", str(tmp_path / "a.png")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["k"], done.stderr
