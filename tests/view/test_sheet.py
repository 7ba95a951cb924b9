"""The sheet: windows at 100 %, a column for each picture, labels that fit."""

from __future__ import annotations

import numpy as np
import pytest

from restore.image.metrics import Scores
from restore.image.picture import Picture
from restore.view.pair import Pair, displayed
from restore.view.sheet import GAP, MARGIN, SIDE, draw_sheet
from restore.view.windows import choose_windows


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Picture:
    return Picture(np.random.default_rng(seed).random((height, width, channels), np.float32))


def place_of(part: np.ndarray, sheet: np.ndarray, left: int) -> int:
    """The row at which a part begins in a column of the sheet; -1 if it is not there."""
    column = sheet[:, left : left + part.shape[1]]
    for top in np.flatnonzero((column[:, 0] == part[0, 0]).all(1)):
        if (column[top : top + len(part)] == part).all():
            return int(top)
    return -1


def test_every_picture_is_there_pixel_by_pixel() -> None:
    one, other, wanted = (noise(120, 280, seed=seed) for seed in range(3))
    scores = Scores(20.0, 0.5, "RGB, 8 bit, no border")
    sheet = np.asarray(draw_sheet(Pair("a.png", one, other, wanted, scores, scores)))
    lefts = [MARGIN + column * (280 + GAP) for column in range(3)]
    tops = {
        place_of(displayed(p), sheet, left)
        for p, left in zip((one, other, wanted), lefts, strict=True)
    }
    assert len(tops) == 1 and tops.pop() > 0
    assert sheet.shape[1] == 2 * MARGIN + 3 * 280 + 2 * GAP


def test_of_a_large_picture_the_windows_are_there_in_their_order() -> None:
    before, after = noise(900, 1300), noise(900, 1300, seed=1)
    sheet = np.asarray(draw_sheet(Pair("a.png", before, after)))
    windows = choose_windows(before, after, SIDE, 3)
    tops = [place_of(displayed(before, window), sheet, MARGIN) for window in windows]
    assert len(tops) == 3 and tops == sorted(tops) and tops[0] > 0
    assert place_of(displayed(after, windows[0]), sheet, MARGIN + SIDE + GAP) == tops[0]


@pytest.mark.parametrize("size", [(1, 1), (5, 2000), (2000, 4)])
def test_pictures_of_odd_sizes_have_a_sheet(size: tuple[int, int]) -> None:
    sheet = draw_sheet(Pair("a", noise(*size, channels=1), noise(*size)))
    assert sheet.width > size[1] or sheet.width > SIDE


def test_a_name_of_any_length_and_letters_does_not_change_the_size() -> None:
    one, other = noise(80, 90), noise(80, 90, seed=1)
    sizes = {
        draw_sheet(Pair(name, one, other)).size
        for name in ("a", "\x00\n\u202e" * 9, "é漢字Ж" * 99, "")
    }
    assert len(sizes) == 1
