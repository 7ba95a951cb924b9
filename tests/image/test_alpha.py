"""Colour spreads under what is invisible, and what is visible stays."""

from __future__ import annotations

import numpy as np

from restore.image.alpha import bleed


def test_visible_pixels_keep_their_colour_and_invisible_ones_take_the_nearest() -> None:
    pixels = np.zeros((20, 31, 3), np.float32)
    alpha = np.zeros((20, 31), np.float32)
    pixels[:, :8], alpha[:, :8] = (1, 0, 0), 1
    pixels[:, 24:], alpha[:, 24:] = (0, 0, 1), 0.5
    filled = bleed(pixels, alpha)
    assert np.array_equal(filled[alpha > 0], pixels[alpha > 0])
    np.testing.assert_allclose(filled[:, 8:12], np.broadcast_to((1, 0, 0), (20, 4, 3)), atol=1e-6)
    np.testing.assert_allclose(filled[:, 20:24], np.broadcast_to((0, 0, 1), (20, 4, 3)), atol=1e-6)
    assert not pixels[:, 8:24].any()  # the input is not touched


def test_a_single_visible_pixel_colours_all() -> None:
    pixels, alpha = np.zeros((9, 5, 1), np.float32), np.zeros((9, 5), np.float32)
    pixels[7, 2], alpha[7, 2] = 0.6, 0.1
    np.testing.assert_allclose(bleed(pixels, alpha), 0.6, atol=1e-6)


def test_nothing_visible_and_nothing_hidden_stay(rng: np.random.Generator) -> None:
    pixels = rng.random((4, 4, 3), np.float32)
    for alpha in (np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)):
        assert np.array_equal(bleed(pixels, alpha), pixels)
