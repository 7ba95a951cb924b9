"""Tile arithmetic against its definition, over thousands of random cases."""

from __future__ import annotations

import random

import numpy as np
import pytest

from restore.engine.tiling import choose_window, round_up, split_axis
from restore.errors import InputError


def random_axis(draw: random.Random) -> tuple[int, int, int, int]:
    multiple = draw.choice([1, 2, 4, 8, 16])
    length = multiple * draw.randint(1, 200)
    halo = draw.randint(0, 90)
    window = 2 * round_up(halo, multiple) + multiple + draw.randint(0, 900)
    return length, window, halo, multiple


def test_each_pixel_is_kept_once_and_far_from_every_artificial_border() -> None:
    draw = random.Random(0)
    for _ in range(5000):
        length, window, halo, multiple = random_axis(draw)
        position = 0
        spans = split_axis(length, window, halo, multiple)
        for span in spans:
            assert span.first == position < span.last
            position = span.last
            assert span.start % multiple == 0
            assert span.start >= 0 and span.start + span.window <= length
            assert span.start == 0 or span.first - span.start >= halo
            end = span.start + span.window
            assert end == length or end - span.last >= halo
            assert span.window == spans[0].window <= window
        assert position == length


def test_no_window_could_be_spared() -> None:
    draw = random.Random(1)
    for _ in range(1000):
        length, window, halo, multiple = random_axis(draw)
        window, halo = min(window // multiple * multiple, length), round_up(halo, multiple)
        spans = split_axis(length, window, halo, multiple)
        covered_by_fewer = window + (len(spans) - 2) * (window - 2 * halo)
        assert len(spans) == 1 or covered_by_fewer < length


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_write_and_crop_agree_for_every_scale(scale: int) -> None:
    for span in split_axis(96, 40, 8, 8):
        write, crop = span.write(scale), span.crop(scale)
        assert write.stop - write.start == crop.stop - crop.start
        assert write.start - scale * span.start == crop.start


def test_two_axes_cover_a_picture_once() -> None:
    count = np.zeros((96, 200), int)
    for rows in split_axis(96, 48, 10, 4):
        for columns in split_axis(200, 64, 10, 4):
            count[rows.write(), columns.write()] += 1
    assert (count == 1).all()


def test_a_window_that_is_all_halo_is_refused_with_the_smallest_that_works() -> None:
    with pytest.raises(InputError, match="at least 168"):
        split_axis(1000, 160, 80, 8)
    assert len(split_axis(1000, 168, 80, 8)) > 1


def test_off_grid_lengths_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="pad the picture first"):
        split_axis(1001, 512, 80, 8)


def test_chosen_windows_respect_the_budget_and_beat_squares() -> None:
    draw = random.Random(2)
    for _ in range(300):
        height, width = draw.randint(1, 6000), draw.randint(1, 6000)
        budget = draw.choice([2**18, 2**20, 2**22])
        rows, columns = choose_window(height, width, budget, 80, 8)
        assert rows * columns <= budget
        assert rows % 8 == columns % 8 == 0
        cost = computed(height, width, (rows, columns))
        side = int(budget**0.5) // 8 * 8
        assert cost <= computed(height, width, (side, side))


def computed(height: int, width: int, window: tuple[int, int]) -> int:
    sides = zip((height, width), window, strict=True)
    spans = [split_axis(round_up(side, 8), most, 80, 8) for side, most in sides]
    return sum(s.window for s in spans[0]) * sum(s.window for s in spans[1])


def test_a_picture_within_the_budget_is_one_window() -> None:
    assert choose_window(1000, 1000, 2**20, 80, 8) == (1000, 1000)
    assert choose_window(1, 1, 2**20, 80, 8) == (8, 8)


def test_too_small_a_budget_gives_the_smallest_window_that_works() -> None:
    assert choose_window(1000, 1000, 100, 80, 8) == (168, 168)
