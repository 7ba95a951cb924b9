"""Writing: read back by Pillow, OpenCV and tifffile, and by our own reader."""

import io
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from restore.errors import InputError, WriteError
from restore.image.picture import Picture, quantise
from restore.image.read import decode_image, load_image
from restore.image.write import check_writable, encode_image, save_image

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:title>Stra\xc3\x9fe</dc:title></x:xmpmeta>'
KINDS = [("PNG", 8), ("PNG", 16), ("TIFF", 8), ("TIFF", 16), ("TIFF", "float")]


def exif_block(order=None):
    """An EXIF block of Pillow's, with tags in all the directories that cameras use."""
    tags = Image.Exif()
    tags.endian = order or "<"
    tags[271], tags[272], tags[306] = "Maker", "Model 1", "2026:10:25 12:00:00"
    tags[0x8769] = {33434: 0.004, 36867: "2026:10:25 12:00:00", 37500: b"maker's note" * 9}
    tags[0x8769][0xA005] = {1: "R98"}
    tags[0x8825] = {1: "N", 2: (52.0, 31.0, 12.5), 3: "E", 4: (13.0, 24.0, 3.25)}
    block = tags.tobytes().removeprefix(b"Exif\0\0")
    return block


def picture_of(channels=3, alpha=False, depth=8, size=(13, 19), **more):
    rng = np.random.default_rng(channels + 7 * alpha)
    levels = {8: 255, 16: 65535, "float": 65535}[depth]
    values = rng.integers(0, levels + 1, (*size, channels + alpha)).astype(np.float32) / levels
    values = values.astype(np.float32)
    if depth == "float":
        values[0, 0, 0], values[0, 1, 0] = -0.25, 1.5
    found = np.ascontiguousarray(values[..., :channels])
    return Picture(found, values[..., -1].copy() if alpha else None, depth, **more)


def same_pixels(a, b):
    alphas = (a.alpha is None) == (b.alpha is None)
    if a.alpha is not None and alphas:
        alphas = np.array_equal(quantise(a.alpha, a.depth), quantise(b.alpha, a.depth))
    pixels = np.array_equal(quantise(a.pixels, a.depth), quantise(b.pixels, a.depth))
    return a.depth == b.depth and pixels and alphas


def entries(block):
    """All that Pillow reads of an EXIF block."""
    tags = Image.Exif()
    tags.load(block)
    below = {k: {n: v for n, v in tags.get_ifd(k).items() if n != 0xA005} for k in (0x8769, 0x8825)}
    return {k: v for k, v in tags.items() if k not in below}, below, tags.get_ifd(0xA005)


# ---- round trips


@pytest.mark.parametrize(("kind", "depth"), KINDS)
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_lossless_round_trip_of_pixels_and_metadata(tmp_path, kind, depth, alpha, channels, order):
    block = exif_block(order)
    first = picture_of(channels, alpha, depth, icc=ICC, exif=block, xmp=XMP)
    path = tmp_path / f"größe.{kind.lower()}"
    assert save_image(first, path) == path
    second = load_image(path)
    assert same_pixels(first, second) and second.channels == channels
    assert (second.icc, second.xmp) == (ICC, XMP)
    assert entries(second.exif) == entries(block)
    save_image(second, path, overwrite=True)
    third = load_image(path)
    assert same_pixels(second, third)
    assert (third.icc, third.exif, third.xmp) == (second.icc, second.exif, second.xmp)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_metadata_goes_byte_for_byte_where_blocks_are_kept_whole(kind):
    first = picture_of(icc=ICC, exif=exif_block(), xmp=XMP)
    data = encode_image(first, kind)
    second = decode_image(data)
    assert (second.icc, second.exif, second.xmp) == (first.icc, first.exif, first.xmp)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == ICC and image.getexif()[271] == "Maker"
        assert image.info["xmp"] == XMP


@pytest.mark.parametrize("depth", [8, 16, "float"])
@pytest.mark.parametrize(("channels", "alpha"), [(1, False), (1, True), (3, False), (3, True)])
@pytest.mark.parametrize("compression", ["none", "deflate"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_is_what_tifffile_reads(depth, channels, alpha, compression, big):
    from restore.image import tiff_write
    from restore.image.color import join

    picture = picture_of(channels, alpha, depth, exif=exif_block(">" if big else "<"))
    truth = join(picture.pixels, picture.alpha, depth)
    data = tiff_write.encode(
        truth, alpha=alpha, compression=compression, icc=ICC, exif=picture.exif, xmp=XMP, big=big
    )
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.is_bigtiff == big and len(file.pages) == 1
        page = file.pages[0]
        assert np.array_equal(page.asarray().reshape(truth.shape), truth)
        assert page.compression == {"none": 1, "deflate": 8}[compression]
        assert [int(e) for e in page.extrasamples] == ([2] if alpha else [])
        assert page.tags[34675].value == ICC and bytes(page.tags[700].value) == XMP
        assert page.tags[271].value == "Maker"
        assert page.tags[34665].value["DateTimeOriginal"] == "2026:10:25 12:00:00"
        assert page.tags[34853].value["GPSLatitudeRef"] == "N"
    assert same_pixels(picture, decode_image(data))


def test_tiff_of_many_strips():
    picture = picture_of(size=(700, 900), depth=16)
    data = encode_image(picture, "TIFF")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert len(file.pages[0].dataoffsets) > 2
        assert np.array_equal(file.asarray(), quantise(picture.pixels, 16))
    again = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(again[..., ::-1], quantise(picture.pixels, 16))


@pytest.mark.parametrize(("channels", "alpha"), [(1, False), (3, False), (3, True)])
def test_16_bit_png_is_what_opencv_reads(channels, alpha):
    picture = picture_of(channels, alpha, 16, size=(301, 1203), icc=ICC, xmp=XMP)
    data = encode_image(picture, "PNG")
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16
    found = found.reshape(301, 1203, -1)
    if channels == 3:
        colours = found[..., 2::-1]
        assert np.array_equal(colours, quantise(picture.pixels, 16))
        assert not alpha or np.array_equal(found[..., 3], quantise(picture.alpha, 16))
    else:
        assert np.array_equal(found, quantise(picture.pixels, 16))
    with Image.open(io.BytesIO(data)) as image:
        image.verify()  # every checksum


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_png_beyond_the_limit_of_libpng_is_refused(channels):
    """OpenCV returned no bytes for it, and an empty file was written."""
    wide = Picture(np.zeros((1, 1_000_001, channels), np.float32), depth=16)
    with pytest.raises(WriteError, match="1,000,000 pixels"):
        encode_image(wide, "PNG")


def test_16_bit_png_of_a_smooth_picture_is_packed():
    row = np.linspace(0, 1, 512, dtype=np.float32)
    ramp = np.add.outer(row, row)[:, :, None] / 2
    data = encode_image(Picture(ramp.astype(np.float32), depth=16), "PNG")
    assert len(data) < 512 * 512 * 2 / 4


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp(mode):
    array = np.random.default_rng(1).integers(0, 256, (11, 14, 3), np.uint8)
    image = Image.fromarray(array).convert(mode)
    memory = io.BytesIO()
    image.save(memory, "BMP", dpi=(300, 300))
    first = decode_image(memory.getvalue())
    data = encode_image(first, "BMP")
    with Image.open(io.BytesIO(data)) as again:
        assert again.mode == ("RGB" if mode in ("P", "RGB") else "L")
        assert np.array_equal(np.asarray(again), np.asarray(image.convert(again.mode)))
        assert [round(v) for v in again.info["dpi"]] == [300, 300]


def test_lossless_webp_stays_lossless_and_lossy_lossy():
    array = np.random.default_rng(1).integers(0, 256, (20, 20, 4), np.uint8)
    for lossless in (True, False):
        memory = io.BytesIO()
        Image.fromarray(array).save(memory, "WEBP", lossless=lossless, exact=True)
        first = decode_image(memory.getvalue())
        data = encode_image(first, "WEBP")
        assert (b"VP8L" in data[:64]) == lossless
        assert same_pixels(first, decode_image(data)) == lossless
    assert b"VP8L" not in encode_image(picture_of(), "WEBP")[:64]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_keeps_tables_subsampling_comment_and_iptc(mode, subsampling):
    array = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    memory = io.BytesIO()
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x05\x1c\x02\x05\0\0\0"
    options = {"quality": 63, "dpi": (300, 300), "comment": b"words", "progressive": True}
    if mode == "RGB":
        options["subsampling"] = subsampling
    marker = b"\xff\xed" + (len(iptc) + 2).to_bytes(2, "big") + iptc
    Image.fromarray(array).convert(mode).save(memory, "JPEG", extra=marker, **options)
    first = decode_image(memory.getvalue())
    data = encode_image(first, "JPEG")
    with Image.open(io.BytesIO(memory.getvalue())) as old, Image.open(io.BytesIO(data)) as new:
        assert new.mode == mode and new.quantization == old.quantization
        assert new.layer == old.layer  # sampling factors
        for key in ("dpi", "comment", "progressive"):
            assert new.info[key] == old.info[key]
        assert ("APP13", iptc) in new.applist
    with Image.open(io.BytesIO(encode_image(first, "JPEG", quality=20))) as low:
        assert max(low.quantization[0]) > max(new.quantization[0])


def test_jpeg_from_elsewhere_is_quality_95_and_full_chroma():
    picture = picture_of(size=(32, 32))
    with Image.open(io.BytesIO(encode_image(picture, "JPEG"))) as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
        truth = io.BytesIO()
        Image.fromarray(quantise(picture.pixels, 8)).save(truth, "JPEG", quality=95)
        assert image.quantization == Image.open(truth).quantization


def test_jpeg_of_another_colour_kind_than_its_source():
    colour = decode_image(encode_image(picture_of(size=(32, 32)), "JPEG"))
    grey = decode_image(encode_image(picture_of(1, size=(32, 32)), "JPEG"))
    assert grey.channels == 1
    made = decode_image(encode_image(colour.replace(pixels=grey.pixels), "JPEG"))
    assert made.channels == 1
    made = decode_image(encode_image(grey.replace(pixels=colour.pixels), "JPEG"))
    assert made.channels == 3 and np.abs(made.pixels - colour.pixels).mean() < 0.05


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_resolution_is_kept(kind):
    memory = io.BytesIO()
    Image.new("RGB", (8, 8)).save(memory, kind, dpi=(240, 120))
    data = encode_image(decode_image(memory.getvalue()), kind)
    with Image.open(io.BytesIO(data)) as image:
        assert [round(float(v), 1) for v in image.info["dpi"]] == [240, 120]


def test_colour_and_text_chunks_of_png_are_kept():
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", (100000).to_bytes(4, "big"))
    info.add_text("Title", "words")
    memory = io.BytesIO()
    Image.new("RGB", (8, 8)).save(memory, "PNG", pnginfo=info)
    first = decode_image(memory.getvalue())
    for depth in (8, 16):
        with Image.open(io.BytesIO(encode_image(first, "PNG", depth=depth))) as image:
            assert image.info["gamma"] == 1.0 and image.text["Title"] == "words"


def test_compression_of_tiff_is_kept():
    for given, kept in (("raw", 1), ("tiff_adobe_deflate", 8), ("tiff_lzw", 8)):
        memory = io.BytesIO()
        Image.new("RGB", (8, 8)).save(memory, "TIFF", compression=given)
        data = encode_image(decode_image(memory.getvalue()), "TIFF")
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            assert file.pages[0].compression == kept


def test_exif_of_a_jpeg_survives_a_way_through_tiff():
    first = picture_of(exif=exif_block(), icc=ICC, xmp=XMP)
    jpeg = decode_image(encode_image(first, "JPEG"))
    through = decode_image(encode_image(jpeg, "TIFF"))
    again = decode_image(encode_image(through, "JPEG"))
    assert entries(again.exif) == entries(first.exif)
    assert (again.icc, again.xmp) == (ICC, XMP)


def test_depth_of_each_format():
    for depth, stored in ((8, 8), (16, 16), ("float", 16)):
        assert decode_image(encode_image(picture_of(depth=depth), "PNG")).depth == stored
    for kind in ("JPEG", "WEBP", "BMP"):
        assert decode_image(encode_image(picture_of(depth=16), kind)).depth == 8
    assert decode_image(encode_image(picture_of(), "PNG", depth=16)).depth == 16
    assert decode_image(encode_image(picture_of(depth=16), "TIFF", depth="float")).depth == "float"
    with pytest.raises(WriteError, match="JPEG holds samples of 8 bits"):
        encode_image(picture_of(), "JPEG", depth=16)


# ---- refusals


@pytest.mark.parametrize("kind", ["JPEG"])
def test_alpha_is_never_dropped(kind):
    with pytest.raises(WriteError, match="use PNG, WEBP, TIFF"):
        encode_image(picture_of(alpha=True), kind)


@pytest.mark.parametrize("quality", [0, 101, -1, 50.5, True, "90"])
def test_quality_out_of_range(tmp_path, quality):
    with pytest.raises(InputError, match="1 to 100"):
        save_image(picture_of(), tmp_path / "a.jpg", quality=quality)


@pytest.mark.parametrize("kind", ["png", "tif", "bmp"])
def test_quality_of_a_lossless_format(tmp_path, kind):
    with pytest.raises(InputError, match="leave quality out"):
        save_image(picture_of(), tmp_path / f"a.{kind}", quality=90)


def test_names_of_formats(tmp_path):
    for name, format, kind in (
        ("a.JPG", None, "JPEG"),
        ("a.jfif", None, "JPEG"),
        ("a.tif", None, "TIFF"),
        ("a.jpg", "jpeg", "JPEG"),
        ("a", "WebP", "WEBP"),
        ("a.b", ".TIF", "TIFF"),
    ):
        save_image(picture_of(), tmp_path / name, format=format, overwrite=True)
        with Image.open(tmp_path / name) as image:
            assert image.format == kind
    for name, format in (("a.gif", None), ("a", None), ("a.png", "gif"), ("a.png", "")):
        with pytest.raises(WriteError, match=r"JPEG .*PNG .*WEBP .*TIFF .*BMP"):
            save_image(picture_of(), tmp_path / name, format=format)
    words = "a.jpg is the name of a JPEG file, and the format asked for is PNG"
    with pytest.raises(WriteError, match=words):
        save_image(picture_of(), tmp_path / "a.jpg", format="png", overwrite=True)


@pytest.mark.parametrize(("kind", "side"), [("JPEG", 65_500), ("WEBP", 16_383)])
def test_too_many_pixels_to_a_side(kind, side):
    longest = Picture(np.zeros((1, side, 1), np.float32))
    assert decode_image(encode_image(longest, kind)).width == side
    with pytest.raises(WriteError, match=f"ends at {side}"):
        encode_image(Picture(np.zeros((1, side + 1, 1), np.float32)), kind)
    with pytest.raises(WriteError, match=f"ends at {side}"):
        check_writable(f"a.{kind.lower()}", longest, size=(2, 2 * side))


@pytest.mark.parametrize(
    ("pixels", "alpha"),
    [((4, 4), None), ((4, 4, 2), None), ((0, 4, 3), None), ((4, 4, 3), (4, 5))],
)
def test_pictures_that_make_no_sense(tmp_path, pixels, alpha):
    made = Picture(np.zeros(pixels, np.float32), None if alpha is None else np.zeros(alpha))
    with pytest.raises(InputError, match="shape"):
        save_image(made, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_metadata_too_long_for_jpeg(tmp_path):
    with pytest.raises(WriteError, match="too long"):
        save_image(picture_of(xmp=b"x" * 70_000), tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


def refused(tmp_path, name, words, **options):
    """Refused, with the same words by the check before the work and by the saving."""
    for act in (lambda p: check_writable(p, **options), lambda p: save_image(picture_of(), p)):
        with pytest.raises(WriteError, match=words):
            act(tmp_path / name)


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "old.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    refused(tmp_path, "folder.png", "is a folder")
    refused(tmp_path, "none/a.png", "there is no folder")
    refused(tmp_path, "old.png/a.png", "there is no folder")
    refused(tmp_path, "old.png", r"exists; give --overwrite")
    refused(tmp_path, "link.png", "exists")
    refused(tmp_path, "x" * 300 + ".png", "name|cannot be written") if os.name == "posix" else None
    assert (tmp_path / "old.png").read_bytes() == b"old"


def test_folder_without_permission(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):  # the superuser may write anywhere
            monkeypatch.setattr(os, "access", lambda path, mode: False)
        refused(tmp_path, "a.png", "may not be written to")
    finally:
        tmp_path.chmod(0o700)


def test_the_picture_stays_as_it_was(tmp_path):
    picture = picture_of(alpha=True, depth="float")
    before = picture.pixels.copy(), picture.alpha.copy()
    for kind in ("PNG", "TIFF", "WEBP"):
        encode_image(picture, kind)
    assert np.array_equal(picture.pixels, before[0]) and np.array_equal(picture.alpha, before[1])


def test_the_modules_import_quickly():
    code = "import sys, restore.image.read, restore.image.write, restore.image.arrays; "
    code += "print([m for m in ('torch', 'cv2', 'tifffile') if m in sys.modules])"
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert run.stdout.strip() == "[]", run.stderr
