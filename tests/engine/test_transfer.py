"""What is sent to a device and back is what was there, in bytes where that loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.engine.transfer import Transfer, as_bytes
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
    transfer = Transfer(pixels, CPU, in_bytes)
    assert (transfer.source.dtype == torch.uint8) == in_bytes
    columns = [slice(0, 16), slice(12, 28), slice(24, 40)]
    x = transfer.ready(transfer.load(columns))
    assert x.shape == (3, 3, 300, 16)
    back = transfer.unload(x).arrived()
    for span, window in zip(columns, back, strict=True):
        assert np.array_equal(window, pixels[:, span])


def test_a_picture_of_floats_goes_as_floats() -> None:
    pixels = np.random.default_rng(0).random((8, 8, 3), np.float32)
    transfer = Transfer(pixels, CPU, True)
    assert transfer.source.dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_windows_arrive_bit_for_bit() -> None:
    pixels = dequantise(EIGHT)
    transfer = Transfer(pixels, torch.device("cuda"))
    columns = [slice(0, 16), slice(12, 28), slice(24, 40)]
    back = transfer.unload(transfer.ready(transfer.load(columns))).arrived()
    for span, window in zip(columns, back, strict=True):
        assert np.array_equal(window, pixels[:, span])
