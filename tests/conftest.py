"""What the tests share: a seeded generator, the samples, networks small enough to reason about."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch is imported, and for every process that a test starts: a thread that waits for others
# sleeps. By default it spins, and beside busy processes small networks then take 40 times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser
from restore.models.network import BaseNetwork
from restore.models.upscaler import Upscaler
from restore.models.weights import save_weights

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that is kept in the user's cache folder decides what the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


class Identity(BaseNetwork):
    """Gives back what it gets; claims a halo and a grid, so that the engine has work to do."""

    channels, scale = 3, 1

    def __init__(self, halo: int = 0, multiple_of: int = 1) -> None:
        self.halo, self.multiple_of = halo, multiple_of
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        return x


@pytest.fixture
def identity() -> type[Identity]:
    return Identity


SamePicture = Callable[[Any, Any], None]


def same_picture(mine: Any, theirs: Any) -> None:
    """AssertionError unless two results are the same picture, computed in different ways.

    Floats may differ by 1e-5, samples of 8 and 16 bits by one level. A convolution library chooses
    the order of its sums by the CPU, the tensor's shape and the number of threads, and a value next
    to k + 0.5 rounds the other way: in 8 bits fewer than 100 samples in a million; at most 48 were
    measured (`benchmarks/exactness.json`). The few more that are allowed are for small pictures.
    """
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    if mine.dtype.kind == "f":
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
        return
    apart = np.abs(mine.astype(np.int64) - theirs.astype(np.int64))
    assert apart.max(initial=0) <= 1, f"{apart.max()} levels apart"
    if mine.dtype == np.uint8:
        assert np.count_nonzero(apart) <= 3 + mine.size / 10_000, (
            f"{np.count_nonzero(apart)} differ"
        )


@pytest.fixture
def assert_same_picture() -> SamePicture:
    return same_picture


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def samples() -> Path:
    return ROOT / "samples"


@pytest.fixture
def small_network() -> Denoiser:
    """Two levels, random kernels: a multiple of 2 and a halo of 12 pixels."""
    return Denoiser(3, widths=(4, 8), blocks=(1, 1), seed=1).eval().requires_grad_(False)


@pytest.fixture
def telling_network() -> Denoiser:
    """The same, and it does something with the noise level that it is told."""
    network = Denoiser(3, widths=(4, 8), blocks=(1, 1), seed=1, noise_inputs=1)
    network.level.data.normal_(generator=torch.Generator().manual_seed(1))
    return network.eval().requires_grad_(False)


@pytest.fixture
def small_upscaler() -> Upscaler:
    """A scale of 3, two levels, random kernels: close to bicubic interpolation, but not equal."""
    network = Upscaler(3, 3, widths=(4, 8), blocks=(1, 1), seed=1)
    return network.eval().requires_grad_(False)


@pytest.fixture
def upscaling_weights(tmp_path: Path, small_upscaler: Upscaler) -> Path:
    """The same as a weights file."""
    card = ModelCard("tiny-x3", "upscale", "Upscaler", small_upscaler.arguments, scale=3)
    save_weights(small_upscaler, card, tmp_path / "tiny-x3.safetensors")
    return tmp_path / "tiny-x3.safetensors"
