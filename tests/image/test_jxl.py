"""JPEG XL, against samples that imagecodecs packed, and refused where its colours are not known."""

from __future__ import annotations

import random
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from restore.errors import ReadError
from restore.image import jxl
from restore.image.boxes import pack
from restore.image.picture import quantise
from restore.image.read import decode_image, promised_size
from restore.image.sizes import JXL_CONTAINER, coded_size


def samples(channels: int, dtype: Any, shape: tuple[int, int] = (45, 37)) -> Any:
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, (*shape, channels), dtype, endpoint=True)


def encoded(array: Any, **options: Any) -> bytes:
    plain = array[:, :, 0] if array.shape[2] == 1 else array
    return bytes(imagecodecs.jpegxl_encode(plain, lossless=True, **options))


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_files_give_their_samples(channels: int, dtype: Any, container: bool) -> None:
    array = samples(channels, dtype)
    data = encoded(array, usecontainer=container)
    assert data.startswith(JXL_CONTAINER) == (container or dtype == np.uint16)
    picture = decode_image(data)
    planes = [picture.pixels]
    planes += [] if picture.alpha is None else [picture.alpha[:, :, None]]
    assert np.array_equal(quantise(np.concatenate(planes, axis=2), picture.depth), array)
    assert picture.depth == 8 * np.dtype(dtype).itemsize and picture.format == "JPEGXL"
    assert (picture.alpha is not None) == (channels in (2, 4))


@pytest.mark.parametrize("shape", [(8, 8), (40, 256), (256, 8), (45, 37), (600, 9), (100, 200)])
def test_the_size_is_known_from_the_header(shape: tuple[int, int]) -> None:
    data = encoded(samples(3, np.uint8, shape))
    assert coded_size(data) == promised_size(data[:60]) == shape
    with pytest.raises(ReadError, match="beyond the limit"):
        decode_image(data, max_pixels=shape[0] * shape[1] - 1)


def test_exif_and_xmp_of_the_container_are_kept() -> None:
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "Maker", 6  # the decoder turns by its own header only
    block = tags.tobytes().removeprefix(b"Exif\0\0")
    data = encoded(samples(3, np.uint8), usecontainer=True)
    data += pack(b"Exif", bytes(4) + block) + pack(b"xml ", b"<x/>")
    picture = decode_image(data)
    found = Image.Exif()
    found.load(picture.exif or b"")
    assert found[0x010F] == "Maker" and found[0x0112] == 1 and picture.xmp == b"<x/>"
    assert picture.pixels.shape == (45, 37, 3)


def bits(*fields: tuple[int, int]) -> bytes:
    """A code stream's header of (value, bits) fields, the least significant first."""
    value = at = 0
    for number, count in fields:
        value |= number << at
        at += count
    return b"\xff\x0a" + value.to_bytes(at // 8 + 40, "little")


SMALL = [(1, 1), (0, 5), (1, 3)]  # 8 by 8 pixels
DEEP = [(0, 1), (0, 2)]  # 8 bits
BEFORE_COLOURS = [*SMALL, (0, 1), (0, 1), *DEEP, (1, 1), (0, 2), (0, 1)]


def colours(white: int, primaries: int, transfer: int) -> bytes:
    """Enumerated colours: each value from 2 on is written in 2 + 4 bits."""

    def enum(value: int) -> list[tuple[int, int]]:
        return [(value, 2)] if value < 2 else [(2, 2), (value - 2, 4)]

    fields = [(0, 1), (0, 1), *enum(0), *enum(white), *enum(primaries), (0, 1), *enum(transfer)]
    return bits(*BEFORE_COLOURS, *fields, *enum(1))


def test_colours_of_the_header_are_code_points() -> None:
    assert jxl.read_header(colours(1, 1, 13)).cicp is None
    assert jxl.read_header(colours(1, 11, 13)).cicp == (12, 13)  # Display P3
    assert jxl.read_header(colours(1, 9, 16)).cicp == (9, 16)  # BT.2100, PQ
    assert jxl.read_header(colours(11, 11, 17)).cicp == (11, 17)  # DCI-P3
    assert not jxl.read_header(colours(10, 1, 13)).known


def test_a_profile_and_an_animation_are_told_apart() -> None:
    assert jxl.read_header(bits(*BEFORE_COLOURS, (0, 1), (1, 1), (0, 2))).profile
    moving = bits(*SMALL, (0, 1), (1, 1), (0, 3), (0, 1), (0, 1), (1, 1))
    assert jxl.read_header(moving).animated
    for data in (moving, bits(*BEFORE_COLOURS, (0, 1), (1, 1), (0, 2))):
        with pytest.raises(ReadError, match="convert it to PNG first"):
            decode_image(data)


def test_mutated_files_raise_nothing_but_read_errors() -> None:
    rng = random.Random(0)
    whole = [encoded(samples(4, np.uint8)), encoded(samples(3, np.uint16))]
    for round_number in range(200):
        data = bytearray(whole[round_number % 2])
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(min(len(data), 90))] = rng.randrange(256)
        try:
            decode_image(bytes(data), max_pixels=1_000_000)
        except ReadError as error:
            assert "\n" not in str(error)
