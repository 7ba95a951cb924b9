"""Procedural patterns and graphics: seeded, in range, of the pitch and contrast asked for."""

from __future__ import annotations

import pytest
import torch

from restore.training.degradations.graphics import draw_graphics
from restore.training.degradations.patterns import (
    FAMILIES,
    coverage,
    demosaiced,
    draw_designs,
    draw_patterns,
    one_pattern,
    patterned,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_there_at_every_pitch(family: str) -> None:
    for pitch in (3, 6, 12):
        picture = one_pattern(family, 96, pitch, 20, 0.6)
        assert picture.shape == (1, 3, 96, 96)
        assert torch.equal(picture[:, 0], picture[:, 2])
        assert picture.min() >= 0.15 and picture.max() <= 0.85
        assert picture.std() * 255 > 4


def test_contrast_and_colour_are_those_asked_for() -> None:
    picture = one_pattern("checkerboard", 64, 8, 0, 0.4, colour=(1.0, 0.5, 0.0))
    reach = picture.amax((0, 2, 3)) - picture.amin((0, 2, 3))
    torch.testing.assert_close(reach, torch.tensor([0.4, 0.2, 0.0]), atol=0.01, rtol=0)


@pytest.mark.parametrize("pitch", [4, 8])
def test_a_grating_has_its_pitch(pitch: int) -> None:
    line = one_pattern("grating", 64, pitch)[0, 0, 0]
    spectrum = torch.fft.rfft(line - line.mean()).abs()
    assert int(spectrum.argmax()) == 64 // pitch


def test_turned_by_a_right_angle_columns_are_rows() -> None:
    upright, lying = (one_pattern("grating", 64, 6, angle)[0, 0] for angle in (0, 90))
    assert upright.std(0).max() < 1e-3 < upright.std(1).min()
    assert lying.std(1).max() < 1e-3 < lying.std(0).min()


@pytest.mark.parametrize("make", [draw_patterns, draw_graphics])
def test_drawn_alike_from_one_seed_and_of_8_bits(make: object) -> None:
    assert callable(make)
    first, second = (make(24, 48, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, second)
    assert first.shape == (24, 3, 48, 48)
    assert first.min() >= 0 and first.max() <= 1
    torch.testing.assert_close(first * 255, (first * 255).round(), atol=1e-4, rtol=0)
    assert len({round(float(p.mean()), 4) for p in first}) > 20


def test_designs_keep_to_their_ranges(generator: torch.Generator) -> None:
    designs = draw_designs(400, generator)
    assert designs.pitch.min() >= 2 and designs.pitch.max() <= 12
    assert len(designs.family.unique()) == len(FAMILIES) >= 12
    share = coverage(designs, 16, 24)
    assert share.shape == (400, 1, 16, 24)
    assert share.min() >= 0 and share.max() <= 1


def test_demosaicing_keeps_what_is_even_and_blurs_what_is_fine() -> None:
    even = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(demosaiced(even), even)
    fine = one_pattern("checkerboard", 32, 2, 0, 0.5)
    assert demosaiced(fine).std() < fine.std()


def test_a_pattern_in_a_photograph_leaves_a_part_of_it(generator: torch.Generator) -> None:
    photographs = torch.rand(20, 3, 1, 1, generator=generator).expand(-1, -1, 48, 48)
    found = patterned(photographs, generator)
    assert found.min() >= 0 and found.max() <= 1
    same = (found - photographs).abs().amax(1) < 1e-3
    assert 0.1 < same.float().mean() < 0.9
