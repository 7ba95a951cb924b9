"""The denoiser's declared geometry is its real one."""

from __future__ import annotations

import pytest
import torch

from restore.errors import UnknownModelError
from restore.models.denoiser import Denoiser, halo_radius
from restore.models.weights import load_model

SHAPES = [((4, 8), (1, 1)), ((4, 8, 8), (1, 2, 1)), ((2, 2, 4, 4), (1, 1, 2, 2)), ((6,), (2,))]


def everywhere_positive(network: Denoiser) -> Denoiser:
    """Kernels made positive: then no ReLU and no cancellation can hide a dependence."""
    for parameter in network.parameters():
        parameter.data.abs_()
    return network.double().eval().requires_grad_(False)


def changes_tile(network: Denoiser, length: int, tile: int, pixel: int, axis: int) -> bool:
    """Whether the output cell that begins at `tile` depends on one pixel of a long thin picture.

    The others are black, for what reaches the cell from afar may be 1e-20 of what is there.
    """
    shape = [1, 3, network.multiple_of, network.multiple_of]
    shape[2 + axis] = length
    x = torch.zeros(shape, dtype=torch.float64)
    touched = x.clone()
    touched.select(2 + axis, pixel)[0, 0, 0] += 1.0
    cell = slice(tile, tile + network.multiple_of)
    before, after = (
        network(y)[:, :, cell] if axis == 0 else network(y)[:, :, :, cell] for y in (x, touched)
    )
    return not torch.equal(before, after)


@pytest.mark.parametrize(("widths", "blocks"), SHAPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_halo_is_what_one_pixel_perturbations_measure(
    widths: tuple[int, ...], blocks: tuple[int, ...], axis: int
) -> None:
    network = everywhere_positive(Denoiser(3, widths, blocks))
    radius, grid = halo_radius(blocks), network.multiple_of
    tile = network.halo + 2 * grid
    length = 2 * tile + grid
    assert changes_tile(network, length, tile, tile - radius, axis)
    assert not changes_tile(network, length, tile, tile - radius - 1, axis)
    assert changes_tile(network, length, tile, tile + grid - 1 + radius, axis)
    assert not changes_tile(network, length, tile, tile + grid + radius, axis)
    assert network.halo % grid == 0
    assert radius <= network.halo < radius + grid


def test_default_size_and_reach_are_the_documented_ones() -> None:
    network = Denoiser()
    assert sum(p.numel() for p in network.parameters()) == 4_069_056
    assert (network.multiple_of, halo_radius((1, 1, 2, 2)), network.halo) == (8, 79, 80)


def test_sizes_off_the_grid_do_not_pass() -> None:
    network = Denoiser(3, (4, 8, 8), (1, 1, 1))
    assert network(torch.zeros(1, 3, 8, 12)).shape == (1, 3, 8, 12)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 3, 8, 14))


def test_bias_free_means_scale_equivariant() -> None:
    network = Denoiser(3, (4, 8), (1, 1)).double()
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(network(7 * x), 7 * network(x))


def test_the_shipped_network_declares_its_true_halo() -> None:
    try:
        network = everywhere_positive(load_model("denoise-gaussian"))
    except UnknownModelError:
        pytest.fail("the package ships no denoise-gaussian weights")
    tile, grid = network.halo + grid_of(network), grid_of(network)
    assert not changes_tile(network, 2 * tile + grid, tile, tile - network.halo - 1, 1)
    assert changes_tile(network, 2 * tile + grid, tile, tile - network.halo + grid - 1, 1)


def grid_of(network: Denoiser) -> int:
    return network.multiple_of


def test_contradicting_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="one count of blocks"):
        Denoiser(3, (4, 8), (1,))


def telling(seed: int = 0) -> Denoiser:
    """A network that does something with what it is told."""
    network = Denoiser(3, (4, 8), (1, 1), seed=seed, noise_inputs=1).double().eval()
    draw = torch.Generator().manual_seed(seed)
    network.level.data.normal_(generator=draw)
    return network.requires_grad_(False)


def test_told_once_is_told_each_time_and_told_nothing_is_blind() -> None:
    network, x = telling(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    each = network(x, torch.tensor([30.0, 60.0], dtype=torch.float64))
    for sigma, picture, answer in zip((30, 60), x, each, strict=True):
        told = network.conditioned_on(sigma)
        torch.testing.assert_close(told(picture[None])[0], answer)
        assert (told.sigma, network.sigma) == (sigma, None)
        assert network.head.bias is None
    assert not torch.allclose(each, network(x))
    torch.testing.assert_close(network(x, torch.zeros(2, dtype=torch.float64)), network(x))


def test_picture_and_noise_level_scale_together() -> None:
    network, x = telling(), torch.rand(1, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(network.conditioned_on(35)(7 * x), 7 * network.conditioned_on(5)(x))


def test_a_blind_network_cannot_be_conditioned() -> None:
    with pytest.raises(ValueError, match="conditioned on 0 numbers"):
        Denoiser(3, (4,), (1,)).conditioned_on(25)
