"""BMP files with bit fields, alpha and profiles, against Pillow and hand-made bytes."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from restore.errors import ReadError
from restore.image.picture import Picture, quantise
from restore.image.read import decode_image
from restore.image.write import encode_image

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def by_hand(
    values: npt.NDArray[Any], masks: tuple[int, ...], bits: int, upside_down: bool = True
) -> bytes:
    """A file of pixels `(height, width)` as integers, with the masks of their samples."""
    height, width = values.shape
    rows = np.zeros((height, (width * bits + 31) // 32 * 4), np.uint8)
    stored = values[::-1] if upside_down else values
    rows[:, : width * bits // 8] = (
        stored.astype(f"<u{bits // 8}").view(np.uint8).reshape(height, -1)
    )
    head = 56 if len(masks) == 4 else 40
    body = struct.pack(f"<{len(masks)}I", *masks)
    at = 14 + 40 + len(body)
    info = struct.pack("<IiiHHIIiiII", head, width, height if upside_down else -height, 1, bits, 3,
                       rows.size, 2835, 2835, 0, 0)  # fmt: skip
    return b"BM" + struct.pack("<IHHI", at + rows.size, 0, 0, at) + info + body + rows.tobytes()


KINDS = [
    ((0xF800, 0x07E0, 0x001F), 16),
    ((0x7C00, 0x03E0, 0x001F), 16),
    ((0x0F00, 0x00F0, 0x000F), 16),  # not known to Pillow
    ((0xFF000000, 0x00FF0000, 0x0000FF00), 32),
    ((0x000000FF, 0x0000FF00, 0x00FF0000, 0xFF000000), 32),
    ((0x3FF00000, 0x000FFC00, 0x000003FF), 32),  # 10 bits to a sample
    ((0x0F00, 0x00F0, 0x000F, 0xF000), 16),
]


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize(("masks", "bits"), KINDS)
def test_any_bit_fields_are_read(masks: tuple[int, ...], bits: int, upside_down: bool) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (5, 7), np.uint32)
    picture = decode_image(by_hand(values, masks, bits, upside_down))
    planes = [picture.pixels]
    planes += [] if picture.alpha is None else [picture.alpha[:, :, None]]
    found = np.concatenate(planes, axis=2)
    assert found.shape == (5, 7, len(masks))
    for channel, mask in enumerate(masks):
        low = (mask & -mask).bit_length() - 1
        share = ((values & mask) >> low) / (mask >> low)
        half_a_level = 0.51 / (255 if picture.depth == 8 else 65535)
        np.testing.assert_allclose(found[:, :, channel], share, atol=half_a_level)
    assert picture.depth == (16 if mask.bit_count() == 10 else 8)
    assert picture.source["dpi"] == pytest.approx((72, 72), abs=0.1)


def test_a_cut_file_is_refused() -> None:
    data = by_hand(np.zeros((5, 7), np.uint32), (0xF800, 0x07E0, 0x001F), 16)
    for length in range(30, len(data)):
        with pytest.raises(ReadError):
            decode_image(data[:length])


@pytest.mark.parametrize("icc", [None, ICC])
@pytest.mark.parametrize(("channels", "alpha"), [(1, False), (3, False), (1, True), (3, True)])
def test_alpha_and_profile_come_back(channels: int, alpha: bool, icc: bytes | None) -> None:
    rng = np.random.default_rng(1)
    values = quantise(rng.random((9, 7, channels)).astype(np.float32), 8) / np.float32(255)
    cover = quantise(rng.random((9, 7)).astype(np.float32), 8) / np.float32(255) if alpha else None
    picture = Picture(values, cover, icc=icc, source={"dpi": (300.0, 150.0)})
    data = encode_image(picture, "BMP")
    again = decode_image(data)
    np.testing.assert_array_equal(quantise(again.pixels, 8), quantise(values, 8) + np.zeros(
        again.pixels.shape, np.uint8
    ))  # fmt: skip
    assert again.channels == (3 if alpha else channels)
    assert again.icc == icc and again.source["dpi"] == pytest.approx((300, 150), abs=0.1)
    assert (again.alpha is None) == (cover is None)
    if cover is not None and again.alpha is not None:
        np.testing.assert_array_equal(quantise(again.alpha, 8), quantise(cover, 8))
    with Image.open(io.BytesIO(data)) as image:  # others read it, too
        expected = (
            np.concatenate([again.pixels, again.alpha[:, :, None]], 2) if alpha else again.pixels
        )
        found = np.asarray(image.convert("L" if channels == 1 and not alpha else image.mode))
        np.testing.assert_array_equal(found.reshape(expected.shape), quantise(expected, 8))
