"""What is shown has the colours that a screen needs: sRGB, squares under what is transparent."""

from __future__ import annotations

import math

import numpy as np
from PIL import ImageCms

from restore.image.metrics import Scores
from restore.image.picture import Picture
from restore.view.pair import Pair, displayed, score_words
from restore.view.windows import Window

RED = np.zeros((16, 20, 3), np.float32)
RED[..., 0] = 200 / 255


def test_plain_pixels_are_shown_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.float32)
    assert (displayed(Picture(pixels / 255)) == pixels).all()
    grey = displayed(Picture(pixels[..., :1] / 255))
    assert (grey == pixels[..., :1]).all() and grey.shape == (9, 7, 3)


def test_a_wide_colour_space_is_converted() -> None:
    p3 = Picture(RED, source={"cicp": (12, 13)})
    assert displayed(p3)[0, 0, 0] > 210  # a Display P3 red is more than sRGB's
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(displayed(Picture(RED, icc=srgb)).astype(int) - displayed(Picture(RED))).max() < 2


def test_a_profile_of_no_use_is_passed_over() -> None:
    plain = displayed(Picture(RED))
    assert (displayed(Picture(RED, icc=b"damaged")) == plain).all()
    assert (displayed(Picture(RED, source={"cicp": (9, 16)})) == plain).all()  # HDR
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = Picture(RED[..., :1], icc=srgb)  # a profile of three channels
    assert (displayed(grey) == 200).all()


def test_transparent_parts_show_squares() -> None:
    alpha = np.zeros((16, 20), np.float32)
    alpha[:, 10:] = 1
    shown = displayed(Picture(RED, alpha=alpha))
    assert (shown[:, 10:] == (200, 0, 0)).all()
    assert len(np.unique(shown[:, :10])) == 2


def test_a_window_is_the_same_place_of_the_whole() -> None:
    alpha = np.random.default_rng(0).random((16, 20), np.float32).round()
    alpha[:8] = 1
    picture = Picture(RED, alpha=alpha)
    assert (displayed(picture, Window(2, 3, 5, 9)) == displayed(picture)[2:7, 3:12]).all()


def test_scores_in_words() -> None:
    assert score_words(None) == ""
    assert score_words(Scores(30.126, 0.9, "")) == "PSNR 30.13 dB, SSIM 0.9000"
    assert score_words(Scores(30.126, math.nan, "")) == "PSNR 30.13 dB"
    assert score_words(Scores(math.inf, 1.0, "")) == "equal to the reference"


def test_the_pictures_of_a_pair_have_names() -> None:
    one, other = Picture(RED), Picture(RED)
    assert list(Pair("a", one, other).pictures) == ["before", "after"]
    pair = Pair("a", one, other, one, labels=("picture", "wanted"))
    assert list(pair.pictures) == ["picture", "wanted", "reference"]
