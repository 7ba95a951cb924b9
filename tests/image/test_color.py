"""Colours, against Pillow and LittleCMS; the colour under alpha."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from restore.image.color import as_grey, as_rgb, bleed, cmyk_to_rgb, join, planes, split
from restore.image.picture import quantise
from restore.image.read import decode_image


def array(*shape):
    return np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8)


def test_grey_is_pillows_luma():
    colours = array(40, 50, 3)
    found = as_grey(split(colours).pixels)
    assert found.shape == (40, 50, 1) and found.dtype == np.float32
    truth = np.asarray(Image.fromarray(colours).convert("L")).astype(int)
    assert np.abs(quantise(found, 8)[:, :, 0] - truth).max() <= 1
    neutral = np.full((2, 2, 3), 0.5, np.float32)
    assert np.allclose(as_grey(neutral), 0.5, atol=1e-6)


def test_grey_and_colour_there_and_back():
    grey = split(array(4, 5, 1)).pixels
    colour = as_rgb(grey)
    assert colour.shape == (4, 5, 3)
    assert all(np.array_equal(colour[:, :, c], grey[:, :, 0]) for c in range(3))


@pytest.mark.parametrize("change", [as_grey, as_rgb])
@pytest.mark.parametrize("channels", [1, 3])
def test_adapting_always_copies(change, channels):
    pixels = split(array(4, 5, channels)).pixels
    assert not np.shares_memory(change(pixels), pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_split_and_join(channels):
    samples = array(6, 7, channels)
    found = split(samples)
    assert found.depth == 8 and found.pixels.flags.c_contiguous
    assert np.array_equal(join(found.pixels, found.alpha, 8), samples)
    floats = samples / np.float32(255)
    assert np.array_equal(join(found.pixels, found.alpha, "float"), floats)


def profile_by_cyan_alone():
    """A CMYK profile by hand (ICC.1:2022, lut8Type): lightness is what cyan leaves, no colour."""
    straight = bytes(range(256))
    grid = b"".join(bytes([0 if c else 255, 128, 128]) for c in (0, 1) for _ in range(8))
    one = struct.pack(">I", 1 << 16)
    matrix = b"".join(one if i % 4 == 0 else b"\0\0\0\0" for i in range(9))
    table = b"mft1\0\0\0\0\4\3\2\0" + matrix + straight * 4 + grid + straight * 3
    header = bytearray(128)
    header[:4] = struct.pack(">I", 128 + 16 + len(table))
    header[8:12], header[12:16] = b"\2\x40\0\0", b"prtr"
    header[16:20], header[20:24], header[36:40] = b"CMYK", b"Lab ", b"acsp"
    header[68:80] = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)  # D50
    return bytes(header) + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(kind):
    inks = array(8, 16, 4)
    inks[:, :8, 0], inks[:, 8:, 0] = 0, 255
    image = Image.fromarray(inks, mode="CMYK")
    image.info["icc_profile"] = profile_by_cyan_alone()
    truth = np.repeat([255, 0], 8)[None, :, None] * np.ones((8, 1, 3), int)
    found = quantise(planes(image).pixels, 8)
    assert np.abs(found - truth).max() <= 1
    memory = io.BytesIO()
    image.save(memory, kind, icc_profile=image.info["icc_profile"], quality=100)
    picture = decode_image(memory.getvalue())
    assert picture.icc is None  # the pixels are sRGB now
    assert np.abs(quantise(picture.pixels, 8) - truth).max() <= (40 if kind == "JPEG" else 1)


@pytest.mark.parametrize("icc", [None, b"damaged"])
def test_cmyk_without_a_usable_profile_is_converted_plainly(icc):
    image = Image.fromarray(array(4, 5, 4), mode="CMYK")
    assert np.array_equal(np.asarray(cmyk_to_rgb(image, icc)), np.asarray(image.convert("RGB")))


def test_profile_of_another_colour_space_is_not_usable():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(array(4, 5, 4), mode="CMYK")
    assert np.array_equal(np.asarray(cmyk_to_rgb(image, icc)), np.asarray(image.convert("RGB")))


def test_visible_pixels_keep_their_colour_and_invisible_ones_take_the_nearest() -> None:
    pixels = np.zeros((20, 31, 3), np.float32)
    alpha = np.zeros((20, 31), np.float32)
    pixels[:, :8], alpha[:, :8] = (1, 0, 0), 1
    pixels[:, 24:], alpha[:, 24:] = (0, 0, 1), 0.5
    filled = bleed(pixels, alpha)
    assert np.array_equal(filled[alpha > 0], pixels[alpha > 0])
    np.testing.assert_allclose(filled[:, 8:12], np.broadcast_to((1, 0, 0), (20, 4, 3)), atol=1e-6)
    np.testing.assert_allclose(filled[:, 20:24], np.broadcast_to((0, 0, 1), (20, 4, 3)), atol=1e-6)
    assert not pixels[:, 8:24].any()  # the input is not touched


def test_a_single_visible_pixel_colours_all() -> None:
    pixels, alpha = np.zeros((9, 5, 1), np.float32), np.zeros((9, 5), np.float32)
    pixels[7, 2], alpha[7, 2] = 0.6, 0.1
    np.testing.assert_allclose(bleed(pixels, alpha), 0.6, atol=1e-6)


def test_nothing_visible_and_nothing_hidden_stay(rng: np.random.Generator) -> None:
    pixels = rng.random((4, 4, 3), np.float32)
    for alpha in (np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)):
        assert np.array_equal(bleed(pixels, alpha), pixels)
