"""TIFF files as tifffile and OpenCV write them, read at their depth or refused."""

import io
import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from restore.errors import ReadError
from restore.image import exif
from restore.image.picture import quantise
from restore.image.read import decode_image
from restore.image.tiff import TiffRows
from restore.image.write import encode_image


def samples(shape, dtype=np.uint8, seed=0):
    top = 256 if dtype == np.uint8 else 65536
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def stored(picture):
    """A picture's samples as an integer array, alpha last."""
    planes = [picture.pixels]
    planes += [] if picture.alpha is None else [picture.alpha[:, :, None]]
    return quantise(np.concatenate(planes, axis=2), picture.depth)


TIFF_OPTIONS = [
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True},
    {"compression": None},
    {"compression": "zlib", "tile": (16, 32), "predictor": True},
    {"tile": (16, 16)},
    {"byteorder": ">", "compression": "zlib", "predictor": True},
    {"byteorder": ">", "bigtiff": True},
    {"bigtiff": True, "compression": "zlib", "rowsperstrip": 7},
    {"planarconfig": "separate", "rowsperstrip": 7},
    {"planarconfig": "separate", "compression": "zlib", "tile": (16, 16)},
]


@pytest.mark.parametrize("options", TIFF_OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_tiff_of_tifffile(options, dtype, channels):
    if np.dtype(dtype).kind == "f" and options.get("predictor"):
        options = {**options, "predictor": False}  # its float predictor needs another package
    if channels < 3 and "planarconfig" in options:
        pytest.skip("tifffile takes planes only of colour")
    array = samples((45, 37, channels), np.uint16)
    array = array if dtype == np.uint16 else (array / 65535).astype(dtype)
    planes = array.transpose(2, 0, 1) if "planarconfig" in options else array
    memory = io.BytesIO()
    extra = ["unassalpha"] if channels in (2, 4) else None
    photometric = "rgb" if channels > 2 else "minisblack"
    planes = planes if channels > 1 else planes[:, :, 0]
    tifffile.imwrite(memory, planes, photometric=photometric, extrasamples=extra, **options)
    picture = decode_image(memory.getvalue())
    assert picture.depth == (16 if dtype == np.uint16 else "float")
    truth = array if dtype == np.uint16 else array.astype(np.float32)
    assert np.array_equal(stored(picture), truth)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("compression", [1, 5, 8, 32946, 32773])
def test_deep_tiff_of_libtiff(dtype, compression):
    array = samples((33, 21, 3), np.uint16)
    array = array if dtype == np.uint16 else (array / 65535).astype(np.float32)
    flags = [cv2.IMWRITE_TIFF_COMPRESSION, compression]
    flags += [cv2.IMWRITE_TIFF_PREDICTOR, 2 if dtype == np.uint16 else 3]
    data = cv2.imencode(".tiff", array, flags)[1].tobytes()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages[0].compression == compression
    assert np.array_equal(stored(decode_image(data)), array[:, :, ::-1])


def test_white_is_zero_tiff_is_inverted():
    array = samples((6, 5), np.uint16)
    memory = io.BytesIO()
    tifffile.imwrite(memory, array, photometric="miniswhite")
    assert np.array_equal(stored(decode_image(memory.getvalue()))[:, :, 0], 65535 - array)


def test_premultiplied_16_bit_alpha_is_divided_out():
    array = np.full((2, 2, 4), 10000, np.uint16)
    array[..., 3] = 30000
    memory = io.BytesIO()
    tifffile.imwrite(memory, array, photometric="rgb", extrasamples=["assocalpha"])
    found = stored(decode_image(memory.getvalue()))
    assert found[0, 0].tolist() == [21845, 21845, 21845, 30000]


@pytest.mark.parametrize(
    ("dtype", "photometric", "words"),
    [
        ("uint16", "separated", "CMYK in unsigned integers of 16 bits"),
        ("uint16", "icclab", "ICC Lab in unsigned integers of 16 bits"),
        ("int32", "minisblack", "grey in signed integers of 32 bits"),
        ("complex64", "minisblack", "grey in complex numbers of 64 bits"),
        ("uint16", 40000, "an unknown colour space in unsigned integers of 16 bits"),
    ],
)
def test_kinds_of_samples_that_are_refused_are_named_in_words(dtype, photometric, words):
    memory = io.BytesIO()
    known = isinstance(photometric, str)
    shape = (5, 5, {"separated": 4, "icclab": 3}.get(photometric, 1))
    asked = photometric if known else "minisblack"
    tifffile.imwrite(memory, np.zeros(shape, dtype), photometric=asked)
    data = memory.getvalue()
    if not known:
        data = data.replace(
            struct.pack("<HHII", 262, 3, 1, 1), struct.pack("<HHII", 262, 3, 1, photometric)
        )
    with pytest.raises(
        ReadError, match=f"stores {words}, which is not read; save it as grey or RGB"
    ):
        decode_image(data)


def test_tiff_with_a_thumbnail_is_one_picture():
    memory = io.BytesIO()
    array = samples((20, 20, 3), np.uint16)
    with tifffile.TiffWriter(memory) as writer:
        writer.write(array, photometric="rgb")
        writer.write(samples((4, 4, 3)), photometric="rgb", subfiletype=1)
    assert np.array_equal(stored(decode_image(memory.getvalue())), array)


def test_camera_raw_is_refused_not_read_as_its_preview():
    pytest.importorskip("rawpy")  # without it the sentence is tested in test_camera
    memory = io.BytesIO()
    tifffile.imwrite(memory, samples((4, 4, 3)), photometric="rgb", subfiletype=1)
    with pytest.raises(ReadError, match="begins like a camera's raw file"):
        decode_image(memory.getvalue())


@pytest.mark.parametrize("dtype", [np.int16, np.uint32])
def test_tiff_of_unknown_range_is_refused(dtype):
    memory = io.BytesIO()
    tifffile.imwrite(memory, np.ones((4, 4), dtype))
    with pytest.raises(ReadError, match="save it as grey or RGB"):
        decode_image(memory.getvalue())


EXTRAS = [
    (["unspecified"], None),
    (["unassalpha", "unspecified"], 3),
    (["unspecified", "unassalpha"], 4),
    (["unspecified", "unspecified", "unspecified"], None),
]


@pytest.mark.parametrize(("extra", "alpha"), EXTRAS, ids=str)
@pytest.mark.parametrize("planes", [1, 2])
def test_extra_channels_are_left_out_with_a_word(tmp_path, extra, alpha, planes):
    """A selection saved in an editor made the whole picture unreadable."""
    array = samples((9, 7, 3 + len(extra)), np.uint16)
    stored_array = array if planes == 1 else array.transpose(2, 0, 1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored_array, photometric="rgb", extrasamples=extra, planarconfig=planes)
    picture = decode_image(path.read_bytes())
    expected = array[..., [0, 1, 2] + ([] if alpha is None else [alpha])]
    assert np.array_equal(stored(picture), expected)
    assert len(picture.notes) == 1 and "left out" in picture.notes[0]
    rows = TiffRows(path)
    assert np.array_equal(rows[2:5], expected[2:5]) and rows.metadata().notes == picture.notes
    rows.close()
    assert not decode_image(encode_image(picture, "TIFF")).notes


def test_samples_of_which_nothing_is_known_are_refused():
    for extra, count in ((None, 6), (["unspecified"] * 12, 13)):
        memory = io.BytesIO()
        array = samples((6, 6, count), np.uint16)
        tifffile.imwrite(
            memory, array, photometric="minisblack", extrasamples=extra, planarconfig=1
        )
        data = memory.getvalue()
        if extra is None:  # tifffile always writes the tag; 338 becomes 65000
            data = data.replace(b"\x52\x01\x03\0", b"\xe8\xfd\x03\0", 1)
        with pytest.raises(ReadError, match="samples to a pixel"):
            decode_image(data)


PACKINGS = ["jpeg2000", "webp", "jpegxl", "lerc", "png", "zstd", "lzma"]


@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("packing", PACKINGS)
def test_packings_that_imagecodecs_knows_are_read(packing, dtype, tile):
    """They were called damaged."""
    if packing == "webp" and dtype == np.uint16:
        pytest.skip("WebP has 8 bits")
    array = samples((48, 50, 3), dtype)
    memory = io.BytesIO()
    level = {"level": 100} if packing == "webp" else None
    tifffile.imwrite(
        memory, array, photometric="rgb", compression=packing, tile=tile, compressionargs=level
    )
    assert np.array_equal(stored(decode_image(memory.getvalue())), array)


@pytest.mark.parametrize("packing", ["jpeg2000", "webp", "jpegxl", "lerc", "png", "jpeg"])
def test_a_part_that_is_larger_than_the_header_says_is_refused_before_it_is_decoded(
    packing, monkeypatch
):
    """A few bytes of a constant picture unpack to gigabytes."""
    from restore.image import sizes

    memory = io.BytesIO()
    tifffile.imwrite(
        memory, np.zeros((64, 80, 3), np.uint8), photometric="rgb", compression=packing
    )
    data = memory.getvalue()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        part = data[page.dataoffsets[0] : page.dataoffsets[0] + page.databytecounts[0]]
        width = page.tags[256].valueoffset
    assert sizes.coded_size(part) == (64, 80)
    for cut in range(0, min(len(part), 80), 3):
        sizes.coded_size(part[:cut])  # raises nothing
    lying = data[:width] + (40).to_bytes(2, "little") + data[width + 2 :]
    monkeypatch.setattr(tifffile.TiffPage, "decode", None)  # it would be called
    with pytest.raises(ReadError, match="larger than the header says"):
        decode_image(lying)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_unknown_packing_is_named(dtype):
    memory = io.BytesIO()
    tifffile.imwrite(memory, samples((8, 8), dtype), compression="zlib")
    data = memory.getvalue()
    at = data.index(b"\x03\x01\x03\0\x01\0\0\0\x08\0") + 8
    with pytest.raises(ReadError, match="packed in a way that is not read: 12345"):
        decode_image(data[:at] + (12345).to_bytes(2, "little") + data[at + 2 :])


def test_jpeg_xr_is_named():
    memory = io.BytesIO()
    tifffile.imwrite(memory, samples((8, 8, 3)), photometric="rgb", compression="jpegxr")
    with pytest.raises(ReadError, match=r"packed in a way that is not read: (34934|22610)"):
        decode_image(memory.getvalue())


@pytest.mark.parametrize("bits", [2, 4])
def test_rgb_of_few_bits_is_read(bits):
    values = samples((9, 8, 3)) >> (8 - bits)
    unpacked = np.unpackbits(values.reshape(9, -1, 1), axis=2)[:, :, 8 - bits :]
    packed = np.packbits(unpacked.reshape(9, -1), axis=1)
    data = by_hand({258: [bits] * 3, 262: [2], 277: [3]}, packed, 8, 9)
    assert np.array_equal(stored(decode_image(data)), values * (255 // (2**bits - 1)))


def test_cmyk_with_alpha_is_read():
    inks = samples((9, 8, 5))
    data = by_hand({258: [8] * 5, 262: [5], 277: [5], 338: [2]}, inks, 8, 9)
    found = stored(decode_image(data))
    rgb = Image.frombytes("CMYK", (8, 9), inks[..., :4].tobytes()).convert("RGB")
    assert np.array_equal(found[..., :3], np.asarray(rgb))
    assert np.array_equal(found[..., 3], inks[..., 4])


@pytest.mark.parametrize("value", [255.0, float("nan"), float("inf")])
def test_float_tiff_beyond_the_range_is_refused(value):
    memory = io.BytesIO()
    tifffile.imwrite(memory, np.full((4, 4), value, np.float32))
    with pytest.raises(ReadError, match=r"divide by 255|not finite"):
        decode_image(memory.getvalue())


def by_pillow(image, **options):
    """A TIFF file of the image, and what Pillow reads back from it as grey or RGB."""
    memory = io.BytesIO()
    image.save(memory, "TIFF", **options)
    with Image.open(io.BytesIO(memory.getvalue())) as again:
        mode = again.mode if again.mode in ("L", "LA", "RGB", "RGBA") else "RGB"
        return memory.getvalue(), np.asarray(again.convert("L" if again.mode == "1" else mode))


PILLOWS_KINDS = [
    ("1", "group3"), ("1", "group4"), ("1", "tiff_ccitt"), ("1", "packbits"), ("1", None),
    ("L", "tiff_lzw"), ("L", "jpeg"), ("RGB", "jpeg"), ("RGB", "tiff_adobe_deflate"),
    ("RGB", "zstd"), ("RGB", "lzma"), ("P", "tiff_lzw"), ("P", None), ("LA", "tiff_lzw"),
    ("RGBA", "packbits"), ("CMYK", "tiff_lzw"), ("CMYK", "jpeg"), ("LAB", None), ("YCbCr", None),
    ("YCbCr", "tiff_lzw"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "packing"), PILLOWS_KINDS)
def test_kinds_that_pillow_writes_are_read_as_pillow_reads_them(mode, packing):
    rgb = Image.fromarray(samples((45, 37, 3)))
    smooth = rgb.resize((74, 90), Image.Resampling.BICUBIC)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(smooth, *profiles, outputMode="LAB")
    else:
        image = smooth.quantize(200) if mode == "P" else smooth.convert(mode)
    data, truth = by_pillow(image, **({"compression": packing} if packing else {}))
    if mode == "LAB":
        srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        truth = np.asarray(ImageCms.profileToProfile(image, *srgb, outputMode="RGB"))
    found = stored(decode_image(data))
    assert found.shape[:2] == truth.shape[:2] == (90, 74)
    # Two copies of libjpeg may round the other way.
    apart = np.abs(found.astype(int) - truth.reshape(found.shape).astype(int)).max()
    assert apart <= (3 if packing == "jpeg" else 0)


def by_hand(tags, rows, width, height):
    """A file of one uncompressed strip with these tags besides those of its size."""
    layout = exif.Layout("<")
    numbers = {256: [width], 257: [height], 259: [1], 273: [4000], 278: [height]}
    numbers |= {279: [rows.nbytes], **tags}
    directory = exif.Directory({n: exif.integers_tag(3, v, layout) for n, v in numbers.items()})
    head = exif.file_header(layout, 8) + exif.build_directory(directory, 8, layout)
    return head.ljust(4000, b"\0") + rows.tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", [0, 1, 3])
def test_samples_of_few_bits_fill_the_8(bits, photometric):
    values = samples((9, 16)) >> (8 - bits)
    packed = np.packbits(
        np.unpackbits(values[:, :, None], axis=2)[:, :, 8 - bits :].reshape(9, -1), axis=1
    )
    colours = samples((3, 2**bits), np.uint16, seed=1)
    more = {320: colours.ravel().tolist()} if photometric == 3 else {}
    data = by_hand({258: [bits], 262: [photometric], 277: [1], **more}, packed, 16, 9)
    found = stored(decode_image(data))
    full = values * (255 // (2**bits - 1))
    expected = {0: 255 - full, 1: full, 3: (colours >> 8).T[values]}[photometric]
    assert np.array_equal(found.squeeze(), expected)
    with Image.open(io.BytesIO(data)) as image:
        pillows = np.asarray(image.convert("RGB" if photometric == 3 else "L"))
    assert np.array_equal(pillows, expected)


@pytest.mark.parametrize("in_tag", [False, True])
def test_both_readers_know_an_orientation_that_only_xmp_tells(tmp_path, in_tag):
    """In memory such a file was turned upright, and in rows it stayed on its side."""
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/' tiff:Orientation='6'/>"
    extra = [(700, 1, len(xmp), xmp, True)]
    extra += [(274, 3, 1, 1, True)] if in_tag else []  # the tag has the last word
    tifffile.imwrite(
        tmp_path / "a.tif", samples((6, 8, 3)), photometric="rgb", extratags=extra, metadata=None
    )
    picture = decode_image((tmp_path / "a.tif").read_bytes())
    assert picture.pixels.shape == ((6, 8, 3) if in_tag else (8, 6, 3))
    if in_tag:
        TiffRows(tmp_path / "a.tif").close()
    else:
        with pytest.raises(ReadError, match="stored turned"):
            TiffRows(tmp_path / "a.tif")


def test_a_file_that_is_rewritten_while_its_rows_are_read_is_refused(tmp_path):
    """The result was half of the old file and half of the new one."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, samples((40, 8, 3)), photometric="rgb", rowsperstrip=8)
    rows = TiffRows(path)
    assert rows[0:8].shape == (8, 8, 3)
    tifffile.imwrite(path, samples((40, 8, 3), seed=1), photometric="rgb", rowsperstrip=8)
    with pytest.raises(ReadError, match="changed while it was read"):
        rows[8:40]
    rows.close()


def test_photoshops_resources_are_kept_and_its_layers_left_out_with_a_word():
    """The layers hold the old pixels; paths, IPTC and copyright flag stay true."""
    keyword = b"8BIM\x04\x04\0\0\0\0\0\x06\x1c\x02\x19\0\x01k"
    memory = io.BytesIO()
    tifffile.imwrite(
        memory,
        samples((20, 30, 3)),
        photometric="rgb",
        extratags=[(34377, 1, len(keyword), keyword), (37724, 7, 4, b"8BPS")],
    )
    first = decode_image(memory.getvalue())
    assert len(first.notes) == 1 and "layers" in first.notes[0]
    data = encode_image(first, "TIFF")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages[0].tags[34377].value == keyword
        assert 37724 not in file.pages[0].tags
    as_jpeg = decode_image(encode_image(first, "JPEG"))
    assert as_jpeg.source["app13"] == [b"Photoshop 3.0\0" + keyword]
    back = decode_image(encode_image(as_jpeg, "TIFF"))
    assert back.source["app13"] == as_jpeg.source["app13"] and not back.notes
