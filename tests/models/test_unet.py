"""The U-Net: its halo against perturbed pixels, its size rule, and its arguments."""

from __future__ import annotations

import pytest
import torch

from restore.models.unet import UNet, halo_radius


@pytest.mark.parametrize("blocks", [(1,), (2,), (1, 1), (2, 1), (1, 2), (1, 1, 1), (2, 1, 1)])
def test_the_halo_is_exactly_how_far_a_tile_looks(blocks: tuple[int, ...]) -> None:
    """The gradient of one cell of the stride grid reaches `halo_radius` pixels, and no further."""
    network = UNet(1, 1, [2] * len(blocks), blocks, seed=0).double()
    for kernel in network.parameters():  # positive, so that no path through a ReLU is cut
        kernel.data = kernel.data.abs() + 0.1
    grid, radius = network.multiple_of, halo_radius(blocks)
    first = -(-radius // grid) * grid + grid
    side = 2 * first + grid
    x = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    cell = slice(first, first + grid)
    network.features(x)[:, :, cell, cell].sum().backward()
    assert x.grad is not None
    for axis in (2, 3):
        used = x.grad.abs().sum(dim=(0, 1, 5 - axis)).nonzero().flatten().tolist()
        reach = max(first - used[0], used[-1] - (first + grid - 1))
        assert reach == radius
        assert used[0] > 0 and used[-1] < side - 1


def test_each_level_but_the_first_doubles_the_grid() -> None:
    assert [UNet(1, 1, [2] * n, [1] * n, seed=0).multiple_of for n in (1, 2, 3)] == [1, 2, 4]


@pytest.mark.parametrize(("widths", "blocks"), [((), ()), ((4, 8), (1,)), ((4,), (1, 1))])
def test_there_is_one_count_of_blocks_for_each_width(
    widths: tuple[int, ...], blocks: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="one count of blocks for each width"):
        UNet(1, 1, widths, blocks, seed=0)
