"""PCA against data whose components are known, NumPy's SVD, and angles chosen beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from restore.autoencoders.pca import COMPONENTS, compress, fit_pca, principal_angles
from restore.errors import InputError


@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 65, 65)])  # by eigenvectors, and by SVD
def test_known_components_are_found(
    shape: tuple[int, int, int], generator: torch.Generator
) -> None:
    size = math.prod(shape)
    basis = torch.linalg.qr(torch.randn(size, 2, generator=generator)).Q.T
    codes = torch.randn(50, 2, generator=generator) * torch.tensor([5.0, 1.0])
    x = (codes @ basis + 0.3).view(-1, *shape)
    pca = fit_pca(x, 2)
    assert torch.allclose(pca(x), x, atol=1e-4)
    centred = (x.flatten(1) - x.flatten(1).mean(0)).double()
    first = np.linalg.svd(centred.numpy(), full_matrices=False)[2][0]
    assert abs(float(pca.components[0].double() @ torch.from_numpy(first))) > 0.9999
    left = (x - pca.keep(1)(x)).square().sum() / (x - x.mean(0)).square().sum()
    singular = np.linalg.svd(centred.numpy(), compute_uv=False)
    assert float(left) == pytest.approx(singular[1] ** 2 / (singular**2).sum(), rel=1e-3)


@pytest.mark.parametrize("degrees", [0.0, 0.001, 30.0, 60.0, 90.0])
def test_angles_between_known_planes(degrees: float) -> None:
    angle = math.radians(degrees)
    a = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.float64)
    b = torch.tensor([[2.0, 0, 0, 0], [1, math.cos(angle), math.sin(angle), 0]])
    b = b.double()
    b[1, 1:3] = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert principal_angles(a, b).tolist() == pytest.approx([0.0, degrees], abs=1e-5)


@pytest.mark.parametrize("components", [0, 5, 13])
def test_more_components_than_there_are_are_refused(components: int) -> None:
    with pytest.raises(InputError, match="have 1 to 4 principal"):
        fit_pca(torch.rand(4, 1, 3, 4), components)


def test_a_compressed_picture_comes_closer_with_each_component(rng: np.random.Generator) -> None:
    pixels = rng.random((20, 30, 3)).astype(np.float32)
    assert COMPONENTS == (1, 5, 9, 13, 17, 21, 25, 29)  # of the classic figure
    errors = [float(((compress(pixels, n) - pixels) ** 2).sum()) for n in (1, 5, 9, 20)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(0, abs=1e-6)
    # what is left after k components is the sum of the squares of the other singular values
    plane = pixels[:, :, 0].astype(float)
    singular = np.linalg.svd(plane - plane.mean(0), compute_uv=False)
    from_one = fit_pca(torch.from_numpy(pixels[:, :, 0]), 5)(torch.from_numpy(pixels[:, :, 0]))
    error = float(((from_one.numpy() - plane) ** 2).sum())
    assert error == pytest.approx((singular[5:] ** 2).sum(), rel=1e-4)
