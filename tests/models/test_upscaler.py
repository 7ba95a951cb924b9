"""The upscaler's declared geometry is its real one; what it promises by construction holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from restore.image.resize import imresize
from restore.models.card import ModelCard
from restore.models.upscaler import Upscaler, bicubic_kernel
from restore.models.weights import load_model, save_weights

SHAPES = [((4, 8), (1, 1)), ((4,), (2,)), ((2, 4, 4), (1, 1, 1))]


def everywhere_positive(network: Upscaler) -> Upscaler:
    """Kernels made positive: then no cancellation can hide a dependence."""
    for parameter in network.parameters():
        parameter.data.abs_()
    return network.double().eval().requires_grad_(False)


def changed(network: Upscaler, length: int, pixel: int, axis: int) -> list[bool]:
    """Which cells of the output depend on one pixel of a long thin picture.

    The picture is a parabola, above its local mean everywhere: no ReLU can hide a dependence.
    """
    shape = [1, 3, network.multiple_of, network.multiple_of]
    shape[2 + axis] = length
    ramp = torch.linspace(-1, 1, length, dtype=torch.float64)
    x = (1 - ramp**2).view(-1, 1) if axis == 0 else 1 - ramp**2
    x = x.expand(shape).contiguous()
    touched = x.clone()
    touched.select(2 + axis, pixel)[0, 0, 0] += 1e-3
    cell = network.multiple_of * network.scale
    pieces = zip(*(network(y).split(cell, 2 + axis) for y in (x, touched)), strict=True)
    return [not torch.equal(before, after) for before, after in pieces]


@pytest.mark.parametrize(("widths", "blocks"), SHAPES)
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_halo_is_what_one_pixel_perturbations_measure(
    widths: tuple[int, ...], blocks: tuple[int, ...], scale: int, axis: int
) -> None:
    network = everywhere_positive(Upscaler(scale, 3, widths, blocks))
    grid, length = network.multiple_of, 4 * network.halo + 4 * network.multiple_of
    middle = length // 2 // grid * grid
    reach = 0
    for pixel in range(middle, middle + grid):
        touched = changed(network, length, pixel, axis)
        first, last = touched.index(True) * grid, (len(touched) - touched[::-1].index(True)) * grid
        # a cell [first, first + grid) that depends on `pixel` looks so far beyond its own border
        reach = max(reach, pixel - (first + grid - 1), last - grid - pixel)
    assert network.halo - grid < reach <= network.halo
    assert network.halo % grid == 0


def test_default_size_and_reach_are_the_documented_ones() -> None:
    for scale, count in ((2, 1_843_648), (3, 1_852_288), (4, 1_864_384)):
        network = Upscaler(scale)
        assert sum(p.numel() for p in network.parameters()) == count
        assert (network.multiple_of, network.halo, network.scale) == (2, 46, scale)


def operations(network: Upscaler, height: int, width: int) -> float:
    """Multiplications and additions of a forward pass of a network of two levels."""
    lower = ("downs", "encoder.1", "ups")  # a quarter of the pixels
    kernels = [(name, p.numel()) for name, p in network.named_parameters()]
    return sum(n * height * width / (4 if name.startswith(lower) else 1) for name, n in kernels)


def test_it_has_fewer_operations_than_vdsr() -> None:
    """VDSR (Kim et al. 2016) takes 613 GMAC for 1280x720 pixels at any scale."""
    counts = [operations(Upscaler(s), 720 // s, 1280 // s) / 1e9 for s in (2, 3, 4)]
    assert [round(count) for count in counts] == [312, 139, 79]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_without_its_last_layer_it_is_matlabs_bicubic(scale: int) -> None:
    network = Upscaler(scale, 3, (4, 8), (1, 1)).requires_grad_(False)
    network.tail.weight.zero_()
    x = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16):  # of the kernels, not of the interpolation
        ours = network.to(dtype)(x)[0].permute(1, 2, 0).numpy()
        theirs = imresize(x[0].permute(1, 2, 0).numpy(), scale)
        inner = slice(2 * scale, -2 * scale)
        np.testing.assert_allclose(ours[inner, inner], theirs[inner, inner], atol=1e-6)
    assert torch.allclose(bicubic_kernel(3, scale).sum((1, 2, 3)), torch.ones(3 * scale**2))


def test_brighter_and_flatter_pictures_give_the_same_details() -> None:
    network = Upscaler(2, 3, (4, 8), (1, 1)).double()
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(network(0.3 * x + 0.2), 0.3 * network(x) + 0.2)
    even = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 8, 6)
    torch.testing.assert_close(network(even), even[:, :, :1, :1].expand(1, 3, 16, 12))


def test_the_file_gives_it_back_with_its_interpolation(tmp_path: Path) -> None:
    network = Upscaler(3, 3, (4, 8), (1, 1), seed=2).half().float().eval()
    card = ModelCard("u", "upscale", "Upscaler", network.arguments, scale=3)
    save_weights(network, card, tmp_path / "u.safetensors")
    loaded = load_model(tmp_path / "u.safetensors")
    x = torch.rand(1, 3, 8, 10)
    torch.testing.assert_close(loaded(x), network(x), atol=1e-6, rtol=0)
    assert (loaded.scale, loaded.halo) == (3, network.halo)


@pytest.mark.parametrize("scale", [0, 1, 5, 2.5])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(ValueError, match="2, 3 or 4"):
        Upscaler(scale)
