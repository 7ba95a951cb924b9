"""Orientation, profiles and tags: applied once, and kept byte for byte."""

import io
import struct
import threading
import warnings
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from restore.errors import ReadError
from restore.image import exif
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


def encoded(image, kind, **options):
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif_block(orientation, order="<", thumbnail=False):
    """An EXIF block by hand: orientation, a make, and a maker note at a known offset."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    entries = [
        struct.pack(order + "HHI", 0x010F, 2, 8) + struct.pack(order + "I", 100),
        struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0),
    ]
    block = start + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries)
    block += struct.pack(order + "I", 60 if thumbnail else 0)
    block = block.ljust(60, b"\0") + struct.pack(order + "HHHIII", 1, 0x0100, 4, 1, 9, 0)
    return block.ljust(100, b"\0") + b"Camera!\0" + b"MAKERNOTE"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF", "PNG16", "TIFF16"])
def test_orientation_is_applied_exactly_once(kind, orientation):
    shown = samples((12, 20, 3))
    plain = Image.fromarray(shown)
    tag = Image.Exif()
    tag[0x0112] = orientation
    if kind == "PNG16":
        wide = shown.astype(np.uint16) * 257
        data = cv2.imencode(".png", wide[..., ::-1])[1].tobytes()
        data = data[:33] + chunk(b"eXIf", tag.tobytes()[6:]) + data[33:]
    elif kind == "TIFF16":
        memory = io.BytesIO()
        extra = [(274, 3, 1, orientation, True)]
        tifffile.imwrite(memory, shown.astype(np.uint16) * 257, photometric="rgb", extratags=extra)
        data = memory.getvalue()
    else:
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(plain, kind, exif=tag, **options)
    picture = decode_image(data)
    if kind in ("JPEG", "AVIF"):
        with Image.open(io.BytesIO(data)) as image:
            truth = np.asarray(ImageOps.exif_transpose(image))
    else:
        turned = Image.fromarray(shown)
        turned.getexif()[0x0112] = orientation
        truth = np.asarray(ImageOps.exif_transpose(turned))
    found = quantise(picture.pixels, 8)
    assert np.array_equal(found, truth)
    left = Image.Exif()
    left.load(picture.exif or b"")
    assert left.get(0x0112, 1) == 1


def test_alpha_turns_with_its_pixels():
    shown = samples((6, 9, 4))
    tag = Image.Exif()
    tag[0x0112] = 6
    picture = decode_image(encoded(Image.fromarray(shown), "PNG", exif=tag))
    assert np.array_equal(stored(picture), np.rot90(shown, -1))


def test_orientation_of_xmp_counts_where_exif_has_none():
    shown = samples((6, 9, 3))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="8"/></x:xmpmeta>'
    picture = decode_image(encoded(Image.fromarray(shown), "WEBP", xmp=xmp, lossless=True))
    assert np.array_equal(stored(picture), np.rot90(shown, 1))
    assert picture.xmp == xmp.replace(b'"8"', b'"1"')


@pytest.mark.parametrize("order", ["<", ">"])
def test_taking_the_orientation_out_moves_no_other_byte(order):
    block = exif_block(6, order)
    data = encoded(Image.fromarray(samples((17, 23, 3))), "JPEG", exif=b"Exif\0\0" + block)
    found = decode_image(data).exif
    assert len(found) == len(block)
    assert [i for i in range(len(block)) if block[i] != found[i]] == [30 if order == "<" else 31]


def test_thumbnail_that_lies_on_its_side_is_unlinked():
    for turned, left in ((6, 0), (1, 60)):
        block = exif_block(turned, thumbnail=True)
        data = encoded(Image.fromarray(samples((17, 23, 3))), "JPEG", exif=b"Exif\0\0" + block)
        assert struct.unpack_from("<I", decode_image(data).exif, 34)[0] == left


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_metadata_is_kept_byte_for_byte(kind):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
    block = exif_block(1)
    options = {"icc_profile": icc, "exif": b"Exif\0\0" + block}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = info
    elif kind == "TIFF":
        options = {"icc_profile": icc, "tiffinfo": {700: xmp, 271: "Camera!"}}
    else:
        options["xmp"] = xmp
    picture = decode_image(encoded(Image.fromarray(samples((17, 23, 3))), kind, **options))
    assert (picture.icc, picture.xmp) == (icc, xmp)
    if kind == "TIFF":
        found = Image.Exif()
        found.load(picture.exif)
        assert dict(found) == {271: "Camera!"}
    else:
        assert picture.exif == block


def test_damaged_exif_is_no_obstacle():
    for block in (b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f"):
        data = encoded(Image.fromarray(samples((17, 23, 3))), "JPEG", exif=block)
        assert decode_image(data).width == 23


def test_many_threads_leave_the_warning_filters_alone():
    data = encoded(
        Image.fromarray(samples((17, 23, 3))), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"
    )
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [decode_image(data) for _ in range(30)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_tags_that_share_their_bytes_do_not_take_more_than_the_file():
    """20,000 tags of one shared value of 1 MB took 20 GB."""
    count, size = 2000, 1_000_000
    at = 8 + 2 + 12 * count + 4
    entries = b"".join(struct.pack("<HHII", 1000 + n, 7, size, at) for n in range(count))
    block = b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + bytes(size)
    with pytest.raises(ValueError, match="more bytes than"):
        exif.parse_directory(block, 8, exif.Layout("<"))
    assert exif.parse_exif(block)[1].tags == {}
    with pytest.raises(ReadError, match="more bytes than"):
        decode_image(block)


def test_pages_are_counted_without_looking_at_more_than_they_are():
    """5,000 pages took 40 seconds; directories that overlap would take as long as they like."""
    pages = 60_000
    chain = b"".join(
        struct.pack("<HHHIII", 1, 256, 4, 1, 9, 8 + 18 * (n + 1)) for n in range(pages)
    )
    data = b"II*\0" + struct.pack("<I", 8) + chain + bytes(40)
    assert exif.count_directories(data, 8, exif.Layout("<"), 1) == 1000
    with pytest.raises(ReadError):
        decode_image(data)


def test_a_picture_developed_from_a_raw_file_does_not_become_one():
    """darktable copies DNG's tags into its JPEGs; written as TIFF they could not be read."""
    tags = {
        0x010F: exif.Tag(2, b"Maker\0"),
        50706: exif.Tag(1, b"\1\1\0\0"),
        254: exif.Tag(4, b"\1\0\0\0"),
    }
    block = exif.file_header(exif.Layout("<"), 8)
    block += exif.build_directory(exif.Directory(tags), 8, exif.Layout("<"))
    picture = Picture(np.zeros((8, 9, 3), np.float32), exif=block)
    again = decode_image(encode_image(picture, "TIFF"))
    assert again.format == "TIFF" and again.pixels.shape == (8, 9, 3)
    assert exif.parse_exif(again.exif)[1].tags[0x010F].data == b"Maker\0"


def test_a_pointer_of_a_signed_type_is_followed():
    """As a camera's GPS directory is pointed to: it was lost in a TIFF."""
    layout = exif.Layout(">")
    gps = exif.Directory({1: exif.Tag(2, b"N\0")})
    whole = exif.Directory({0x010F: exif.Tag(2, b"Maker\0")}, {exif.GPS: gps})
    block = exif.file_header(layout, 8) + exif.build_directory(whole, 8, layout)
    signed = block.replace(struct.pack(">HH", exif.GPS, 4), struct.pack(">HH", exif.GPS, 9))
    assert signed != block
    assert exif.parse_exif(signed)[1].below[exif.GPS].tags[1].data == b"N\0"


def block_of(directory):
    layout = exif.Layout("<")
    return exif.file_header(layout, 8) + exif.build_directory(directory, 8, layout)


def in_a_tiff(block):
    """The tags of a block as they are in a TIFF that is written with it."""
    picture = Picture(np.zeros((8, 9, 3), np.float32), exif=block)
    return exif.parse_exif(decode_image(encode_image(picture, "TIFF")).exif)[1]


def test_empty_texts_are_kept():
    """A text of no bytes, not even its closing 0, was lost in a TIFF."""
    block = block_of(exif.Directory({0x010E: exif.Tag(2, b"xxxx"), 0x010F: exif.Tag(2, b"Make\0")}))
    empty = block.replace(struct.pack("<HHI", 0x010E, 2, 4), struct.pack("<HHI", 0x010E, 2, 0))
    assert empty != block
    found = in_a_tiff(empty).tags
    assert (found[0x010E].data, found[0x010F].data) == (b"\0", b"Make\0")


def test_a_damaged_directory_costs_only_itself():
    """All of the EXIF was lost in a TIFF for one pointer that led nowhere."""
    below = exif.Directory({0x829A: exif.Tag(5, bytes(8))})
    inner = {exif.INTEROPERABILITY: exif.Directory({1: exif.Tag(2, b"R98\0")})}
    whole = exif.Directory({0x010F: exif.Tag(2, b"Maker\0")}, {exif.EXIF: below})
    below.below = inner
    block = block_of(whole)
    at = block.index(struct.pack("<HH", exif.INTEROPERABILITY, 4)) + 8
    (place,) = struct.unpack_from("<I", block, at)
    damaged = block[:place] + b"\xff\xff" + block[place + 2 :]  # 65,535 tags
    found = in_a_tiff(damaged)
    assert found.tags[0x010F].data == b"Maker\0" and 0x829A in found.below[exif.EXIF].tags
    assert exif.INTEROPERABILITY not in found.below[exif.EXIF].below


def test_an_orientation_that_is_a_text_beside_a_number_is_no_obstacle():
    tags = {0x0111: exif.Tag(2, b"6\0"), 0x0112: exif.Tag(3, b"\6\0")}
    block = block_of(exif.Directory(tags)).replace(
        struct.pack("<HH", 0x0111, 2), struct.pack("<HH", 0x0112, 2)
    )
    assert exif.orientation(block) == 6
    assert exif.orientation(exif.without_rotation(block)) == 1


def test_the_camera_and_lens_of_a_dng_are_kept():
    tags = {50_708: exif.Tag(2, b"Model\0"), 50_735: exif.Tag(2, b"278290\0")}
    tags |= {50_736: exif.Tag(5, bytes(32)), 50_715: exif.Tag(10, bytes(8))}
    found = in_a_tiff(block_of(exif.Directory(tags))).tags
    assert found.keys() & tags.keys() == {50_708, 50_735, 50_736}
