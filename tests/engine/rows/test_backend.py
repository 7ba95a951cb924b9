"""Rows read and written in bands give the whole picture, also from the middle on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.engine.backend import (
    ArraySink,
    ArraySource,
    OrderedSink,
    PaddedRows,
    Plan,
    mirrored,
)
from restore.engine.compute import Resources
from restore.engine.rows import layers as module
from restore.engine.rows.backend import RowBackend, stream_columns
from restore.engine.rows.layers import Layers
from restore.engine.run import run_array
from restore.engine.tiling import Span, round_up, split_axis
from restore.image.picture import Pixels
from restore.models.denoiser import Denoiser


def padded(pixels: Pixels, multiple: int, border: int) -> Pixels:
    """As numpy pads."""
    sides = [side + border for side in pixels.shape[:2]]
    after = [round_up(side + border, multiple) - side for side in sides]
    return np.pad(pixels, ((border, after[0]), (border, after[1]), (0, 0)), mode="symmetric")


@pytest.mark.parametrize("length", [1, 2, 3, 5, 17])
def test_mirrored_as_numpy_does(length: int) -> None:
    for padded in range(length, length + 9):
        for border in (0, 3, 8):
            wanted = np.pad(np.arange(length), (border, padded - length), mode="symmetric")
            assert np.array_equal(mirrored(length, border + padded, border), wanted)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (16, 9), (3, 16)])
def test_rows_of_a_mirrored_picture(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).random((*size, 3), np.float32)
    for border in (0, 8):
        source = PaddedRows(ArraySource(pixels), 8, border)
        wanted = padded(pixels, 8, border)
        assert (source.height, source.width) == wanted.shape[:2]
        for first in range(source.height):
            assert np.array_equal(source.read(first, source.height), wanted[first:])
            assert np.array_equal(source.read(0, first + 1), wanted[: first + 1])


@pytest.mark.parametrize("border", [0, 8])
@pytest.mark.parametrize("start", [0, 8, 56, 104])
def test_columns_and_a_later_start_give_the_rows_of_the_whole(
    start: int, border: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BAND_BYTES", 1)
    network = Denoiser(3, widths=(4, 8), blocks=(1, 1), seed=1).eval()
    pixels = np.random.default_rng(0).random((107, 90, 3), np.float32)
    source = PaddedRows(ArraySource(pixels), 2, border)
    given = torch.from_numpy(padded(pixels, 2, border)).permute(2, 0, 1)[None]
    whole = network(given)[0].permute(1, 2, 0).detach().numpy()
    whole = whole[border : border + 107, border : border + 90]
    found = np.zeros_like(pixels)
    seen: list[tuple[int, int]] = []

    class Sink(ArraySink):
        def write(self, first: int, columns: slice, pixels: Pixels) -> None:
            assert not found[first : first + len(pixels), columns].any()  # each pixel once
            super().write(first, columns, pixels)

    columns = split_axis(source.width, 60, network.halo, 2)
    assert len(columns) > 1
    stream_columns(
        Layers(network, torch.float32),
        source,
        columns,
        Sink(found),
        start=start,
        halo=network.halo,
        report=lambda *said: seen.append(said),
    )
    np.testing.assert_allclose(found[start:], whole[start:], rtol=0, atol=1e-5)
    assert not found[:start].any()
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_ordered_sink_gets_whole_rows_of_a_single_strip_in_columns(
    small_network: Denoiser,
) -> None:
    """With a memory in between, a strip as high as the picture was written column by column."""
    pixels = np.random.default_rng(0).random((107, 200, 3), np.float32)
    source = PaddedRows(ArraySource(pixels), small_network.multiple_of, small_network.border)
    rows = [Span(0, source.height, 0, source.height)]
    columns = split_axis(source.width, 100, small_network.halo, small_network.multiple_of)
    assert len(columns) > 1
    found: list[Pixels] = []
    sink = OrderedSink(200, lambda first, rows: found.append(rows.copy()))
    plan = Plan(rows, columns, 1, torch.device("cpu"), torch.float32, 0)
    RowBackend().run(small_network, source, sink, plan)
    whole = run_array(small_network, pixels, Resources(torch.device("cpu"), torch.float32)).pixels
    np.testing.assert_allclose(np.concatenate(found), whole, rtol=0, atol=1e-5)
