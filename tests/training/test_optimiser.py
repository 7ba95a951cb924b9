"""Muon's step is what it promises: orthogonal, of a known size, and bounded weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from restore.models.denoiser import Denoiser
from restore.training.optimiser import Muon, build_optimisers, orthogonalise


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (32, 32)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    result = orthogonalise(matrices)
    values = torch.linalg.svdvals(result)
    # square random matrices have singular values near zero, which five steps cannot lift to one
    lowest = 0.5 if shape[0] != shape[1] else 0.0
    assert lowest < values.min() and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    alike = torch.nn.functional.cosine_similarity(result.flatten(1), (u @ v).flatten(1))
    assert alike.min() > 0.9


def test_first_step_is_the_orthogonalised_gradient() -> None:
    kernel = nn.Parameter(torch.zeros(8, 4, 3, 3))
    kernel.grad = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    Muon([kernel], lr=0.1).step()
    expected = -0.1 * orthogonalise(kernel.grad.flatten(1)[None])[0]
    torch.testing.assert_close(kernel.detach().flatten(1), expected, atol=2e-3, rtol=0)


def test_kernels_of_one_shape_do_not_mix() -> None:
    together = [nn.Parameter(torch.zeros(8, 4, 3, 3)) for _ in range(3)]
    alone = [nn.Parameter(torch.zeros(8, 4, 3, 3)) for _ in range(3)]
    for a, b in zip(together, alone, strict=True):
        a.grad = torch.randn(8, 4, 3, 3)
        b.grad = a.grad.clone()
        Muon([b]).step()
    Muon(together).step()
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_weight_decay_bounds_the_singular_values() -> None:
    kernel = nn.Parameter(torch.zeros(8, 8, 1, 1))
    direction = torch.eye(8).view(8, 8, 1, 1)
    optimiser = Muon([kernel], lr=0.1, weight_decay=0.5)
    for _ in range(300):
        kernel.grad = -direction
        optimiser.step()
    assert torch.linalg.svdvals(kernel.detach().flatten(1)).max() < 1.3 / 0.5


def test_first_and_last_layer_go_to_adamw() -> None:
    network = Denoiser(3, (4, 8), (1, 1))
    muon, adamw = build_optimisers(network, 0.02, 0.001, 0.1)
    theirs = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert theirs == {id(network.head.weight), id(network.tail.weight)}
    counted = sum(len(g["params"]) for o in (muon, adamw) for g in o.param_groups)
    assert counted == len(list(network.parameters()))
