"""Reading: against files that Pillow, OpenCV, tifffile and hand-made bytes provide."""

import io
import os
import random
import socket
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from restore.errors import ReadError, RestoreError, UnknownFormatError
from restore.image import read
from restore.image.picture import quantise
from restore.image.read import decode_image, load_image, promised_size
from restore.image.tiff import TiffRows

MODES = {
    "PNG": ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"],
    "TIFF": ["1", "L", "LA", "RGB", "RGBA", "P", "I;16", "F"],
    "BMP": ["1", "L", "RGB", "P"],
    "WEBP": ["RGB", "RGBA"],
}


def samples(shape, dtype=np.uint8, seed=0):
    top = 256 if dtype == np.uint8 else 65536
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def image_of(mode, size=(23, 17)):
    width, height = size
    bands = {"LA": (2,), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}.get(mode, ())
    if mode == "F":
        return Image.fromarray(samples((height, width)).astype(np.float32) / 255)
    if mode == "I;16":
        return Image.fromarray(samples((height, width), np.uint16))
    if mode == "P":
        return image_of("RGB", size).quantize(16)
    if mode == "1":
        return Image.fromarray(samples((height, width)) > 127)
    made = Image.fromarray(
        samples((height, width, *bands)), mode="CMYK" if mode == "CMYK" else None
    )
    return made


def encoded(image, kind, **options):
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


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


# ---- pixels


@pytest.mark.parametrize(("kind", "mode"), [(k, m) for k, ms in MODES.items() for m in ms])
def test_lossless_files_give_the_samples_that_pillow_wrote(tmp_path, kind, mode):
    image = image_of(mode)
    path = tmp_path / f"a.{kind.lower()}"
    image.save(path, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    picture = load_image(path)
    truth = np.asarray(image.convert({"1": "L", "P": "RGB"}.get(mode, mode)))
    depth = {"I;16": 16, "F": "float"}.get(mode, 8)
    assert picture.depth == depth
    assert picture.pixels.dtype == np.float32 and picture.pixels.flags.c_contiguous
    assert np.array_equal(stored(picture), truth.reshape(17, 23, -1))
    assert (picture.alpha is not None) == (mode in ("LA", "RGBA"))
    assert picture.format == kind and picture.path == path


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "GIF", "JPEG2000", "PPM"])
def test_other_formats_agree_with_pillow(tmp_path, kind):
    data = encoded(image_of("RGB", (40, 30)), kind)
    truth = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(stored(decode_image(data)), truth)


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_dark_16_bit_file_is_16_bit(kind):
    array = samples((8, 9, 3), np.uint16) % 200
    picture = decode_image(cv2.imencode(kind, array)[1].tobytes())
    assert picture.depth == 16
    assert np.array_equal(stored(picture), array[:, :, ::-1])


def test_8_bit_file_of_full_range_is_8_bit(tmp_path):
    image = Image.fromarray(np.full((4, 4, 3), 255, np.uint8))
    assert decode_image(encoded(image, "PNG")).depth == 8


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_profile_is_pillows_conversion(kind):
    data = encoded(image_of("CMYK"), kind)
    truth = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    picture = decode_image(data)
    assert np.array_equal(stored(picture), truth)
    assert picture.icc is None


def test_cmyk_with_an_unusable_profile_is_still_read():
    data = encoded(image_of("CMYK"), "TIFF", icc_profile=b"no profile")
    picture = decode_image(data)
    assert picture.channels == 3 and picture.icc is None


def test_phone_jpeg_with_a_preview_behind_it_is_read():
    first, second = image_of("RGB", (32, 16)), image_of("RGB", (8, 8))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO" and image.n_frames == 2
        truth = np.asarray(image)
    picture = decode_image(data)
    assert np.array_equal(stored(picture), truth) and picture.format == "JPEG"


# ---- refused files


def test_missing_folder_empty_and_foreign_files(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    for name, words in {
        "none.png": "does not exist",
        "": "is a folder",
        "empty.png": "is empty",
        "text.png": "not a picture",
        "nul\0byte": "cannot be read|does not exist",
    }.items():
        with pytest.raises(ReadError, match=words):
            load_image(os.path.join(tmp_path, name))


def test_file_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image_of("L"), "PNG"))
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read anything

        def refuse(*_arguments):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ReadError, match="permission"):
        load_image(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ReadError, match="regular file"):
        load_image(tmp_path / "pipe.png")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image_of("L"), "PNG"))

    def disturbed(*_arguments):
        with path.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(read, "_check_bytes", disturbed)
    with pytest.raises(ReadError, match="changed while it was read"):
        load_image(path)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused(kind):
    frames = [Image.fromarray(samples((8, 8, 3), seed=s)) for s in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ReadError, match=r"holds 3 (frames|pages)"):
        decode_image(data, name="many")


def test_deep_colour_that_pillow_would_cut_is_refused():
    ppm = b"P6 2 1 65535\n" + samples((1, 2, 3), np.uint16).astype(">u2").tobytes()
    jp2 = bytearray(encoded(image_of("RGB"), "JPEG2000"))
    precision = jp2.find(b"\xff\x4f\xff\x51") + 42  # JPEG 2000 part 1, A.5.1: bits less one
    assert jp2[precision] == 7
    jp2[precision] = 15
    for data in (ppm, bytes(jp2)):
        with pytest.raises(ReadError, match="more than 8 bits"):
            decode_image(data)


def test_a_jpeg_2000_cut_anywhere_in_its_header_is_refused():
    """Found by the fuzzer: the depth was looked for behind the end of a header that was cut."""
    data = encoded(image_of("RGB"), "JPEG2000")
    start = data.find(b"\xff\x4f\xff\x51")
    for length in range(start, start + 60):
        with pytest.raises(ReadError):
            decode_image(data[:length])


def test_16_bit_pgm_is_16_bit():
    array = samples((3, 4), np.uint16)
    picture = decode_image(b"P5 4 3 65535\n" + array.astype(">u2").tobytes())
    assert picture.depth == 16 and np.array_equal(stored(picture)[:, :, 0], array)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG"])
def test_header_of_a_bomb_is_refused_before_it_is_decoded(kind):
    data = encoded(Image.new("L", (4000, 3000)), kind)
    with pytest.raises(ReadError, match="4000 x 3000 pixels, beyond the limit of 1000000"):
        decode_image(data, max_pixels=1_000_000)
    assert decode_image(data).width == 4000


def test_pillows_own_limit_neither_fires_nor_changes(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in ("PNG", "TIFF", "GIF", "JPEG"):
        data = encoded(image_of("RGB", (64, 64)), kind)
        assert decode_image(data).height == 64
    deep = cv2.imencode(".tiff", samples((64, 64, 3), np.uint16))[1].tobytes()
    assert decode_image(deep).height == 64
    assert Image.MAX_IMAGE_PIXELS == 100


def truncatable():
    rows = [r.astype(">u2").tobytes() for r in samples((24, 24, 3), np.uint16)]
    deep = io.BytesIO()
    array = samples((24, 24, 3), np.uint16)
    tifffile.imwrite(deep, array, photometric="rgb", compression="zlib", rowsperstrip=5)
    image = image_of("RGB", (48, 40))
    made = {k: encoded(image, k) for k in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")}
    made["JPEG progressive"] = encoded(image, "JPEG", progressive=True)
    made["TIFF LZW"] = encoded(image, "TIFF", compression="tiff_lzw")
    made["PNG 16"], made["TIFF 16"] = png(rows, 16, 2), deep.getvalue()
    made["TIFF 16 LZW"] = cv2.imencode(".tiff", array)[1].tobytes()
    made["TIFF float"] = cv2.imencode(".tiff", array.astype(np.float32) / 65535)[1].tobytes()
    return made


@pytest.mark.parametrize("host_allows", [False, True])
@pytest.mark.parametrize("kind", sorted(truncatable()))
def test_truncated_files_are_refused_at_every_length(kind, host_allows, monkeypatch):
    data = truncatable()[kind]
    if host_allows:
        if kind in ("BMP", "GIF"):
            pytest.skip("such a file bears no mark of its end that can be told")
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert decode_image(data).width > 0
    # A GIF's pixels end two bytes before the file does.
    last = len(data) - (3 if kind == "GIF" else 1)
    for length in sorted({*range(1, last, max(1, last // 60)), *range(last - 20, last + 1)}):
        with pytest.raises(ReadError):
            decode_image(data[:length], name="cut")


@pytest.mark.parametrize("kind", sorted(truncatable()))
def test_mutated_files_raise_nothing_but_read_errors(kind):
    rng = random.Random(kind)
    whole = truncatable()[kind]
    began, refused = time.process_time(), 0
    for _ in range(60):
        data = bytearray(whole)
        front = rng.random() < 0.5  # headers are where the harm is
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(min(len(data), 120) if front else len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(30)] = rng.randbytes(rng.randrange(30))
        try:
            decode_image(bytes(data), max_pixels=50_000_000)
        except ReadError as error:
            refused += 1
            assert "\n" not in str(error) and "0x" not in str(error)
    assert refused > 0
    assert time.process_time() - began < 10


def test_messages_name_the_file(tmp_path):
    path = tmp_path / "bild.png"
    path.write_bytes(truncatable()["PNG"][:-30])
    with pytest.raises(ReadError, match=r"bild\.png is truncated"):
        load_image(path)


def test_names_of_any_script(tmp_path):
    for name in ("straße ü.png", "写真.png", "שלום.png", "🌅 a b.png"):
        array = samples((5, 4, 3), np.uint16)
        (tmp_path / name).write_bytes(cv2.imencode(".png", array)[1].tobytes())
        assert np.array_equal(stored(load_image(tmp_path / name)), array[..., ::-1])
        assert load_image(str(tmp_path / name)).path == tmp_path / name


def test_a_gif_whose_second_frame_is_damaged_is_refused_in_a_sentence():
    """Pillow looks for further frames only when it is asked for their number."""
    frames = [Image.fromarray(samples((24, 24), seed=s)) for s in range(2)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    second = data.index(b"\x21\xf9\x04", data.index(b"\x2c") + 20)  # its control block
    refused = 0
    for length in range(second + 1, len(data) - 1):
        try:
            decode_image(data[:length])
        except ReadError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 5


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device here")
def test_a_device_and_a_socket_are_refused_and_not_read(tmp_path):
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s.png"))
    for name in ("zero.png", "s.png"):
        with pytest.raises(ReadError, match=r"regular file|cannot be read"):
            load_image(tmp_path / name)
    server.close()


def test_a_sparse_file_is_refused_before_it_is_read_whole(tmp_path):
    """4 GB of nothing behind a small picture were read into memory."""
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        path = tmp_path / f"a.{kind.lower()}"
        path.write_bytes(encoded(image_of("RGB"), kind))
        with path.open("r+b") as file:
            file.truncate(2**33)
        with pytest.raises(ReadError, match="bytes are too many"):
            load_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "AVIF", "JPEG2000", "TIFF"])
def test_the_size_is_known_from_the_header_alone(kind):
    data = encoded(image_of("RGB", (400, 300)), kind)
    assert promised_size(data) == (300, 400)
    if kind != "TIFF":
        assert promised_size(data[:1000]) == (300, 400)
    for cut in range(0, 200, 7):
        promised_size(data[:cut])  # raises nothing


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_alpha_that_is_no_number_of_use_is_refused_by_both_readers(tmp_path, value):
    """It was accepted, and spread over its neighbours when the picture was upscaled."""
    array = np.full((8, 8, 4), 0.5, np.float32)
    array[3, 3, 3] = value
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.raises(RestoreError, match="alpha"):
        load_image(path)
    rows = TiffRows(path)
    with pytest.raises(RestoreError, match="alpha"):
        rows[0:8]
    rows.close()


@pytest.mark.parametrize("bits", [9, 10, 12, 15, 16])
def test_white_of_a_deep_jpeg_2000_is_white(bits):
    """Pillow leaves zeros behind samples of 10 to 15 bits, and takes 9 for 8 in a container."""
    picture = decode_image(deep_jpeg_2000(bits))
    assert picture.depth == 16
    found = picture.pixels[0, ::8, 0] * ((1 << bits) - 1)
    np.testing.assert_allclose(found, [0, 1, (1 << bits) - 1], atol=0.01)


def deep_jpeg_2000(bits):
    """Black, the darkest grey, and white."""
    import imagecodecs

    values = np.array([[0, 1, (1 << bits) - 1]] * 8, np.uint16).repeat(8, axis=1)
    return bytes(imagecodecs.jpeg2k_encode(values, level=0, bitspersample=bits))


@pytest.mark.parametrize("start", [b"<svg></svg>", b"\x76\x2f\x31\x01" + bytes(40), b"%PDF-1.7"])
def test_a_format_that_is_never_read_is_told_from_damage(start: bytes) -> None:
    with pytest.raises(UnknownFormatError):
        decode_image(start)
    with pytest.raises(ReadError) as damaged:
        decode_image(b"\x89PNG\r\n\x1a\n" + bytes(40))
    assert not isinstance(damaged.value, UnknownFormatError)
