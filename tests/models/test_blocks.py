"""The building blocks: sizes, no additive constants, a start near the identity."""

from __future__ import annotations

import torch

from restore.models.blocks import ResidualBlock, conv3x3, down, initialise, up


def test_they_keep_halve_and_double_the_size() -> None:
    x = torch.rand(2, 4, 10, 12)
    assert conv3x3(4, 6)(x).shape == (2, 6, 10, 12)
    assert down(4, 6)(x).shape == (2, 6, 5, 6)
    assert up(4, 6)(x).shape == (2, 6, 20, 24)


def test_they_have_no_additive_constants() -> None:
    for block in (conv3x3(3, 3), down(3, 3), up(3, 3), ResidualBlock(3)):
        zero = block(torch.zeros(1, 3, 4, 4))
        assert not zero.any()
        assert all("bias" not in name for name, _ in block.named_parameters())


def test_a_fresh_residual_block_is_close_to_the_identity_and_its_seed_decides() -> None:
    blocks = [ResidualBlock(8) for _ in range(2)]
    for block in blocks:
        initialise(block, torch.Generator().manual_seed(3))
    x = torch.rand(1, 8, 9, 9)
    with torch.no_grad():
        first, second = (block(x.clone()) for block in blocks)
    torch.testing.assert_close(first, second)
    assert 0 < (first - x).square().mean() < 0.1 * x.square().mean()
