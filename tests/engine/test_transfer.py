"""What is sent to a device and back is what was there, in bytes where that loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.engine.tiling import split
from restore.engine.transfer import Belt, as_bytes
from restore.image.picture import dequantise

CPU = torch.device("cpu")
EIGHT = np.random.default_rng(0).integers(0, 256, (300, 40, 3), np.uint8)


def test_pictures_of_8_bits_are_known_by_their_values() -> None:
    pixels = dequantise(EIGHT)
    samples = as_bytes(pixels)
    assert samples is not None and np.array_equal(samples, EIGHT)
    other = pixels.copy()
    other[299, 39, 2] = np.nextafter(other[299, 39, 2], np.float32(2))
    assert as_bytes(other) is None
    assert as_bytes(pixels - 1) is None


@pytest.mark.parametrize("in_bytes", [True, False])
def test_windows_arrive_bit_for_bit(in_bytes: bool) -> None:
    pixels = dequantise(EIGHT)
    belt = Belt(pixels, CPU, in_bytes)
    assert (belt.source.dtype == torch.uint8) == in_bytes
    tiles = split(300, 40, (100, 40), 4, 4)
    x = belt.ready(belt.load(tiles))
    assert x.shape == (len(tiles), 3, tiles[0].rows.window, 40)
    back = belt.unload(x).arrived()
    for tile, window in zip(tiles, back, strict=True):
        assert np.array_equal(window, pixels[tile.rows.read, tile.columns.read])


def test_a_picture_of_floats_goes_as_floats() -> None:
    pixels = np.random.default_rng(0).random((8, 8, 3), np.float32)
    belt = Belt(pixels, CPU, True)
    assert belt.source.dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_windows_arrive_bit_for_bit() -> None:
    pixels = dequantise(EIGHT)
    belt = Belt(pixels, torch.device("cuda"))
    tiles = split(300, 40, (100, 40), 4, 4)
    back = belt.unload(belt.ready(belt.load(tiles))).arrived()
    for tile, window in zip(tiles, back, strict=True):
        assert np.array_equal(window, pixels[tile.rows.read, tile.columns.read])
