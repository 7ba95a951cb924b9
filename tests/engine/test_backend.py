"""Sources, sinks and padding: rows in any pieces, from any start, each delivered once."""

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
    padded_array,
)
from restore.engine.tiling import split_axis
from restore.image.picture import Pixels

PIXELS = np.random.default_rng(0).random((20, 9, 3), np.float32)


def collected(start: int = 0) -> tuple[OrderedSink, list[tuple[int, Pixels]]]:
    rows: list[tuple[int, Pixels]] = []
    return OrderedSink(9, lambda first, band: rows.append((first, band)), start), rows


def test_columns_become_whole_rows_in_order() -> None:
    sink, rows = collected()
    for first, last in ((0, 8), (8, 9), (9, 20)):
        for columns in (slice(4, 9), slice(0, 4)):  # threads finish in any order
            sink.write(first, columns, PIXELS[first:last, columns])
    assert [first for first, _ in rows] == [0, 8, 9]
    np.testing.assert_array_equal(np.concatenate([band for _, band in rows]), PIXELS)


def test_rows_that_were_delivered_are_not_delivered_again() -> None:
    told: list[int] = []
    rows: list[tuple[int, Pixels]] = []
    sink = OrderedSink(9, lambda first, band: rows.append((first, band)), 2, told.append)
    sink.write(2, slice(0, 9), PIXELS[2:7])
    sink.write(7, slice(0, 4), PIXELS[7:12, :4])  # interrupted in the middle of a band
    assert sink.restart() == 7 and told == [7]
    sink.write(6, slice(0, 9), PIXELS[6:20])  # the engine goes back to its grid
    assert [first for first, _ in rows] == [2, 7]
    np.testing.assert_array_equal(np.concatenate([band for _, band in rows]), PIXELS[2:])


@pytest.mark.filterwarnings("error")
def test_a_read_only_array_is_given_in_a_form_that_torch_takes() -> None:
    pixels = PIXELS.view()
    pixels.flags.writeable = False
    rows = ArraySource(pixels).read(3, 9)
    torch.from_numpy(rows)
    np.testing.assert_array_equal(rows, PIXELS[3:9])
    assert ArraySource(PIXELS).read(3, 9).base is PIXELS  # nothing is copied without need


def test_an_array_takes_any_part_again_and_again() -> None:
    target = np.zeros_like(PIXELS)
    sink = ArraySink(target)
    sink.write(3, slice(2, 5), PIXELS[3:6, 2:5])
    assert sink.restart() == 0
    sink.write(0, slice(0, 9), PIXELS)
    np.testing.assert_array_equal(target, PIXELS)


@pytest.mark.parametrize("border", [0, 4])
def test_padded_rows_are_the_same_in_any_pieces(border: int) -> None:
    rows = PaddedRows(ArraySource(PIXELS), 4, border)
    whole = rows.read(0, rows.height)
    assert whole.shape == (20 + 2 * border, 12 + 2 * border, 3)
    pieces = [rows.read(at, min(at + 3, rows.height)) for at in range(0, rows.height, 3)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(whole[border : border + 20, border : border + 9], PIXELS)


def test_a_plan_counts_its_tiles() -> None:
    rows, columns = split_axis(96, 40, 8, 8), split_axis(64, 40, 8, 8)
    plan = Plan(rows, columns, 1, torch.device("cpu"), torch.float32, 0)
    assert plan.tiles == len(rows) * len(columns) > 4
    assert plan.window == (rows[0].window, columns[0].window)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 3), (8, 8), (17, 1)])
def test_padding_mirrors_and_reaches_the_grid(height: int, width: int) -> None:
    pixels = np.random.default_rng(0).random((height, width, 3), np.float32)
    for border in (0, 8):
        padded = padded_array(pixels, 8, border)
        assert padded.shape[0] % 8 == padded.shape[1] % 8 == 0
        inner = padded[border:, border:]
        assert np.array_equal(inner[:height, :width], pixels)
        if inner.shape[0] > height:
            assert np.array_equal(inner[height, :width], pixels[height - 1])
        if border:
            assert np.array_equal(padded[border - 1, border : border + width], pixels[0])
