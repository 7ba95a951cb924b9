"""The picture itself, and the conversions of its values."""

import dataclasses

import numpy as np
import pytest

from restore.errors import InputError
from restore.image.picture import Picture, check_range, dequantise, quantise


@pytest.mark.parametrize(("depth", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_every_stored_level_survives(depth, dtype):
    levels = np.arange(2**depth, dtype=dtype)
    floats = dequantise(levels)
    assert floats.dtype == np.float32 and floats[0] == 0 and floats[-1] == 1
    assert np.array_equal(quantise(floats, depth), levels)
    assert np.array_equal(quantise(floats.astype(np.float64), depth), levels)


def test_values_are_rounded_and_clipped_never_truncated():
    floats = np.array([-1, -0.001, 0.4999 / 255, 0.5001 / 255, 254.6 / 255, 1, 7], np.float32)
    assert quantise(floats, 8).tolist() == [0, 0, 0, 1, 255, 255, 255]


def test_floats_stay_and_are_copied():
    floats = np.array([-0.5, 1.5], np.float32)
    kept = quantise(floats, "float")
    assert np.array_equal(kept, floats) and not np.shares_memory(kept, floats)
    assert not np.shares_memory(dequantise(floats), floats)
    assert dequantise(np.array([True, False])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint32, np.complex64])
def test_samples_of_unknown_range(dtype):
    with pytest.raises(InputError, match="no known range"):
        dequantise(np.zeros(3, dtype))


def test_range_of_floats():
    for value in (5.01, -4.01, 255, np.nan, np.inf):
        with pytest.raises(InputError, match="the words"):
            check_range(np.array([0.0, value]), "the words")
    for fine in (np.array([-4.0, 5.0]), np.array([255], np.uint8), np.zeros(0)):
        assert check_range(fine, "") is None


def test_picture_says_its_size():
    picture = Picture(np.zeros((500, 2000, 3), np.float32))
    assert (picture.height, picture.width, picture.channels) == (500, 2000, 3)
    assert picture.megapixels == 1.0


def test_picture_cannot_be_changed_but_replaced():
    picture = Picture(np.zeros((2, 3, 1), np.float32), icc=b"profile")
    with pytest.raises(dataclasses.FrozenInstanceError):
        picture.depth = 16
    other = picture.replace(depth=16)
    assert (picture.depth, other.depth, other.icc) == (8, 16, b"profile")
    assert other.pixels is picture.pixels


def test_pictures_can_be_compared_hashed_and_shown():
    picture = Picture(np.zeros((2, 3, 1), np.float32), exif=b"x" * 10_000)
    assert picture == picture and picture != picture.replace()
    assert len({picture, picture}) == 1
    assert len(repr(picture)) < 200
