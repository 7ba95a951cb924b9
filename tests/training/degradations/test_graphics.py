"""Made graphics: even colours and sharp edges, 8 bits, the same from one seed."""

from __future__ import annotations

import torch

from restore.training.degradations.graphics import SIZES, draw_graphics, text_sheets


def test_they_are_8_bit_pictures_of_the_size_asked_for(generator: torch.Generator) -> None:
    graphics = draw_graphics(6, 48, generator)
    assert graphics.shape == (6, 3, 48, 48)
    assert graphics.min() >= 0 and graphics.max() <= 1
    torch.testing.assert_close(graphics * 255, (graphics * 255).round(), atol=1e-3, rtol=0)


def test_most_of_a_graphic_is_even_and_its_edges_are_sharp(generator: torch.Generator) -> None:
    graphics = draw_graphics(24, 64, generator)
    steps = graphics.diff(dim=3).abs().amax(1)
    assert (steps < 1e-6).float().mean() > 0.4
    assert (steps > 0.2).any()


def test_a_seed_decides_what_is_drawn() -> None:
    first, again, other = (
        draw_graphics(3, 32, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first, again)
    assert (first - other).abs().max() > 0.1


def test_there_is_text_of_every_size() -> None:
    sheets = text_sheets()
    assert len(sheets) == len(SIZES)
    assert all(0.02 < float(sheet.mean()) < 0.6 for sheet in sheets)
