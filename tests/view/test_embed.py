"""Pictures in a page: exact where that fits, and never more than the bytes that there are."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from restore.image.picture import Picture
from restore.view.embed import data_uri, embed
from restore.view.pair import Pair, displayed


def make_pair(height: int, width: int, reference: bool = False) -> Pair:
    rng = np.random.default_rng(0)
    before = Picture(rng.random((height, width, 3), np.float32))
    after = Picture((0.5 + 0.1 * before.pixels).astype(np.float32))
    return Pair("a", before, after, after if reference else None)


def decoded(uri: str) -> np.ndarray:
    kind, data = uri.split(",", 1)
    assert kind in ("data:image/webp;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_what_fits_is_stored_whole_and_without_loss() -> None:
    pair = make_pair(90, 120, reference=True)
    (view,) = embed(pair, 1_600_000)
    assert (view.height, view.width) == (90, 120) and "without loss" in view.coding
    for source, picture in zip(view.sources, pair.pictures.values(), strict=True):
        assert (decoded(source) == displayed(picture)).all()


def test_what_does_not_fit_without_loss_is_a_jpeg_and_windows_follow() -> None:
    pair = make_pair(600, 700)
    views = embed(pair, 1_600_000)
    assert views[0].short == "whole picture" and "JPEG" in views[0].coding
    assert {view.short for view in views[1:]} <= {"largest change", "finest texture"}
    assert decoded(views[0].sources[0]).shape == (600, 700, 3)


@pytest.mark.parametrize("budget", [0, 5_000, 40_000, 90_000, 400_000, 2_000_000])
@pytest.mark.parametrize("size", [(64, 64), (500, 700)], ids=str)
def test_the_bytes_suffice(size: tuple[int, int], budget: int) -> None:
    views = embed(make_pair(*size), budget)
    assert sum(view.size for view in views) <= budget
    if budget >= 90_000:
        assert views


def test_more_bytes_are_never_used_for_a_smaller_part() -> None:
    pair = make_pair(500, 700)
    areas = []
    for budget in (60_000, 150_000, 400_000, 3_000_000):
        views = embed(pair, budget)
        areas.append(max((view.height * view.width for view in views), default=0))
    assert areas == sorted(areas) and areas[0] > 0


def test_colour_of_a_jpeg_has_full_resolution() -> None:
    samples = np.zeros((32, 32, 3), np.uint8)
    samples[:, ::2] = (255, 0, 0)
    samples[:, 1::2] = (0, 0, 255)
    found = decoded(data_uri(samples, 95)).astype(int)
    assert np.abs(found - samples).mean() < 12  # columns of one pixel keep their colours
