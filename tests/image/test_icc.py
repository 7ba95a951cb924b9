"""Colour spaces given by numbers: kept, or turned into a profile that littlecms reads the same."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from restore.errors import WriteError
from restore.image import icc, png
from restore.image.boxes import primary_properties
from restore.image.picture import Picture
from restore.image.png import Chunk
from restore.image.read import decode_image
from restore.image.write import check_format, encode_image

P3 = 12, 13
ALL = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "JPEG2000")


def picture(channels: int = 3, **source: Any) -> Picture:
    values = np.random.default_rng(0).random((16, 20, channels)).astype(np.float32)
    return Picture(values, source=source)


def with_chunks(image: Image.Image, *chunks: Chunk) -> bytes:
    memory = io.BytesIO()
    image.save(memory, "PNG")
    return png.with_chunks(memory.getvalue(), chunks)


def primaries(profile: bytes) -> Any:
    """The primaries of a profile as littlecms has them, adapted to D50: XYZ in rows."""
    read: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    return np.array([read.red_colorant[0], read.green_colorant[0], read.blue_colorant[0]])


def test_a_made_profile_is_that_of_the_published_space() -> None:
    """Display P3 and sRGB, adapted to D50; sRGB's curve by littlecms, level by level."""
    p3 = icc.make_profile(icc.PRIMARIES[12], icc.SRGB_CURVE, grey=False)
    expected = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
    np.testing.assert_allclose(primaries(p3), expected, atol=2e-4)
    levels = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    for grey in (False, True):
        profile = icc.make_profile(icc.SRGB_PRIMARIES, icc.SRGB_CURVE, grey=grey)
        image = levels if grey else levels.convert("RGB")
        same = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
        assert same is not None
        assert np.abs(np.asarray(same)[..., 0].astype(int) - np.asarray(levels)).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ALL)
def test_code_points_are_kept_or_become_a_profile(kind: str, channels: int) -> None:
    """They were dropped: wide gamut was labelled sRGB with the same numbers."""
    again = decode_image(encode_image(picture(channels, cicp=P3), kind))
    if kind in ("PNG", "AVIF"):
        assert again.source["cicp"] == P3 and again.icc is None
        third = decode_image(encode_image(again, kind))
        assert third.source["cicp"] == P3
    else:
        assert again.icc == icc.make_profile(icc.PRIMARIES[12], icc.SRGB_CURVE, channels == 1)


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("kind", ALL)
def test_hdr_is_kept_or_refused_before_the_network_runs(kind: str, transfer: int) -> None:
    hdr = picture(cicp=(9, transfer))
    if kind in ("PNG", "AVIF"):
        assert decode_image(encode_image(hdr, kind)).source["cicp"] == (9, transfer)
    else:
        with pytest.raises(WriteError, match="is HDR"):
            check_format(kind, hdr)


def test_unknown_code_points_are_refused_where_only_a_profile_would_do() -> None:
    with pytest.raises(WriteError, match="code points 10, 9"):
        check_format("JPEG", picture(cicp=(10, 9)))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "AVIF", "JPEG2000"])
def test_the_gamma_and_chromaticities_of_a_png_become_a_profile(kind: str) -> None:
    image = Image.new("RGB", (20, 16), (90, 120, 30))
    points = [round(v * 100_000) for v in icc.PRIMARIES[9]]
    chunks = Chunk(b"gAMA", struct.pack(">I", 100_000)), Chunk(b"cHRM", struct.pack(">8I", *points))
    first = decode_image(with_chunks(image, *chunks))
    again = decode_image(encode_image(first, kind))
    assert again.icc == icc.make_profile(icc.PRIMARIES[9], (1.0,), grey=False)
    same = decode_image(encode_image(first, "PNG"))
    assert same.icc is None and same.source["chunks"] == list(chunks)


def test_a_png_that_says_srgb_in_numbers_gets_no_profile() -> None:
    image = Image.new("RGB", (20, 16), (90, 120, 30))
    points = [round(v * 100_000) for v in icc.SRGB_PRIMARIES]
    for chunks in (
        [Chunk(b"gAMA", struct.pack(">I", 45_455)), Chunk(b"cHRM", struct.pack(">8I", *points))],
        [Chunk(b"sRGB", b"\0"), Chunk(b"gAMA", struct.pack(">I", 100_000))],
        [Chunk(b"cICP", b"\x01\x0d\0\x01")],
        [Chunk(b"gAMA", b"\0\0\0\0"), Chunk(b"cHRM", bytes(32))],  # nonsense
    ):
        assert (
            decode_image(encode_image(decode_image(with_chunks(image, *chunks)), "JPEG")).icc
            is None
        )


def test_the_code_points_of_an_avif_are_those_of_the_picture() -> None:
    data = encode_image(picture(cicp=P3), "AVIF")
    found = [b.body for b in primary_properties(data) if b.type == b"colr"]
    assert [struct.unpack(">HH", body[4:8]) for body in found] == [P3]


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 3])
def test_avif_of_more_than_8_bits_is_read_at_its_depth(bits: int, channels: int) -> None:
    """Pillow cuts it to 8."""
    imagecodecs = pytest.importorskip("imagecodecs")
    top = 2**bits - 1
    ramp = np.linspace(0, top, 64 * 64).round().astype(np.uint16).reshape(64, 64, 1)
    samples = np.repeat(ramp, channels, axis=2)
    stored = samples[:, :, 0] if channels == 1 else samples
    data = imagecodecs.avif_encode(stored, level=100, bitspersample=bits)
    found = decode_image(bytes(data))
    assert found.depth == 16 and found.channels == channels
    np.testing.assert_allclose(found.pixels, samples / top, atol=1.5 / top)
    assert found.pixels.max() == 1 and len(np.unique(found.pixels)) > 256
