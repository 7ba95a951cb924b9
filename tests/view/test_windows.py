"""The windows are where most changed and where texture is finest, and stay within the picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from restore.image.picture import Picture
from restore.view.windows import (
    CHANGE,
    TEXTURE,
    Window,
    change_map,
    choose_windows,
    difference,
)


def flat(height: int, width: int, channels: int = 3) -> Picture:
    return Picture(np.full((height, width, channels), 0.5, np.float32))


def with_noise(picture: Picture, top: int, left: int, side: int, level: float) -> Picture:
    pixels = picture.pixels.copy()
    part = pixels[top : top + side, left : left + side]
    part += np.random.default_rng(0).normal(0, level, part.shape).astype(np.float32)
    return picture.replace(pixels=pixels)


def covers(window: Window, top: int, left: int, side: int) -> float:
    """The share of a square that lies in a window."""
    rows = min(window.top + window.height, top + side) - max(window.top, top)
    columns = min(window.left + window.width, left + side) - max(window.left, left)
    return max(0, rows) * max(0, columns) / side**2


def test_the_first_is_where_most_changed_and_the_second_where_texture_is_finest() -> None:
    textured = with_noise(flat(600, 900), 400, 100, 96, 0.3)  # in both: nothing changed there
    changed = with_noise(textured, 40, 700, 48, 0.02)
    first, second = choose_windows(textured, changed, 120, 2)
    assert first.why == CHANGE and covers(first, 40, 700, 48) > 0.9
    assert second.why == TEXTURE and covers(second, 400, 100, 96) > 0.9


def test_weak_texture_everywhere_counts_more_than_one_sharp_edge() -> None:
    pixels = flat(400, 400).pixels.copy()
    pixels[200:, :150] = 1  # an edge
    picture = with_noise(Picture(pixels), 250, 250, 100, 0.02)
    window = choose_windows(picture, picture, 100, 1)[0]
    assert window.why == TEXTURE and covers(window, 250, 250, 100) > 0.8


def test_a_picture_without_a_change_has_windows_of_texture_alone() -> None:
    picture = with_noise(flat(300, 300), 0, 0, 300, 0.1)
    assert {window.why for window in choose_windows(picture, picture, 64, 3)} == {TEXTURE}


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 500), (500, 3), (64, 64), (65, 64), (130, 131), (1000, 70)]
)
def test_windows_lie_within_the_picture_and_apart(size: tuple[int, int]) -> None:
    before = with_noise(flat(*size), 0, 0, max(size), 0.1)
    windows = choose_windows(before, flat(*size), 64, 4)
    assert 1 <= len(windows) <= 4
    for window in windows:
        assert (window.height, window.width) == (min(64, size[0]), min(64, size[1]))
        assert 0 <= window.top <= size[0] - window.height
        assert 0 <= window.left <= size[1] - window.width
    for one, other in itertools.combinations(windows, 2):
        below = abs(one.top - other.top) >= one.height
        assert below or abs(one.left - other.left) >= one.width


def test_a_picture_that_fits_is_one_window_without_a_reason() -> None:
    assert choose_windows(flat(40, 64), flat(40, 64), 64, 3) == [Window(0, 0, 40, 64)]


def test_the_map_is_the_root_mean_square_of_blocks_up_to_the_border() -> None:
    rng = np.random.default_rng(0)
    before, after = (Picture(rng.random((701, 403, 3), np.float32)) for _ in range(2))
    found = change_map(before, after, 100)  # blocks of 8 pixels, the last ones of 5 and 3
    squares = ((before.pixels.astype(float) - after.pixels) ** 2).mean(2)
    assert found.shape == (88, 51)
    assert found[0, 0] == pytest.approx(255 * squares[:8, :8].mean() ** 0.5)
    assert found[-1, -1] == pytest.approx(255 * squares[696:, 400:].mean() ** 0.5)


def test_grey_and_colour_are_compared_as_colour() -> None:
    assert difference(flat(2, 2, 1), flat(2, 2, 3)).shape == (2, 2, 3)
