"""The tile backend: tiled equals untiled."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from restore.engine.backend import ArraySink, ArraySource, OrderedSink
from restore.engine.compute import Resources
from restore.engine.run import run, run_array
from restore.errors import InputError
from restore.image.picture import Pixels, quantise
from restore.models.denoiser import Denoiser
from restore.models.weights import load_model

CPU, FP32 = torch.device("cpu"), torch.float32


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


def test_identity_comes_back_bit_for_bit_over_random_sizes_and_tiles(identity: Any) -> None:
    draw = random.Random(0)
    for case in range(300):
        height, width = draw.randint(1, 90), draw.randint(1, 90)
        multiple, halo = draw.choice([1, 2, 4, 8]), draw.randint(0, 12)
        tile = draw.choice([None, 2 * (halo + multiple) + multiple + draw.randint(0, 60)])
        pixels = picture(height, width, case)
        output = run_array(identity(halo, multiple), pixels, Resources(CPU, FP32, tile=tile))
        assert np.array_equal(output.pixels, pixels), (height, width, multiple, halo, tile)


def test_a_network_tiled_equals_untiled_over_random_sizes_and_tiles(
    small_network: Denoiser, assert_same_picture: Callable[..., None]
) -> None:
    draw = random.Random(1)
    tiled_cases = 0
    for case in range(200):
        pixels = picture(draw.randint(1, 120), draw.randint(1, 120), case)
        tile = 2 * small_network.halo + 2 + draw.randint(0, 60)
        whole = run_array(small_network, pixels, Resources(CPU, FP32))
        tiled = run_array(small_network, pixels, Resources(CPU, FP32, tile=tile))
        tiled_cases += tiled.plan.tiles > 1
        assert_same_picture(tiled.pixels, whole.pixels)
        assert_same_picture(quantise(tiled.pixels, 8), quantise(whole.pixels, 8))
    assert tiled_cases > 100


@pytest.mark.parametrize(("height", "width", "tile"), [(400, 410, 376), (500, 250, 400)])
def test_the_shipped_network_tiled_equals_untiled(
    height: int, width: int, tile: int, assert_same_picture: Callable[..., None]
) -> None:
    network = load_model("denoise-gaussian")
    clean = np.linspace(0, 1, height * width * 3, dtype=np.float32).reshape(height, width, 3)
    pixels = clean + 0.1 * (picture(height, width) - 0.5)
    whole = run_array(network, pixels, Resources(CPU, FP32))
    tiled = run_array(network, pixels, Resources(CPU, FP32, tile=tile))
    assert whole.plan.tiles == 1 < tiled.plan.tiles
    assert_same_picture(tiled.pixels, whole.pixels)
    assert_same_picture(quantise(tiled.pixels, 8), quantise(whole.pixels, 8))


def test_a_halo_that_lies_would_be_noticed(small_network: Denoiser) -> None:
    pixels = picture(64, 64)
    whole = run_array(small_network, pixels, Resources(CPU, FP32)).pixels
    small_network.halo = 2
    assert (
        np.abs(run_array(small_network, pixels, Resources(CPU, FP32, tile=24)).pixels - whole).max()
        > 1e-4
    )


def test_windows_are_all_alike_and_come_in_batches(identity: Any) -> None:
    network = identity(4, 4)
    run_array(network, picture(200, 300), Resources(CPU, FP32, tile=64))
    assert len({shape[1:] for shape in network.shapes}) == 1
    assert max(shape[0] for shape in network.shapes) > 1


def test_a_tile_below_the_minimum_is_refused_with_the_minimum(small_network: Denoiser) -> None:
    with pytest.raises(InputError, match="smallest for this model is 26"):
        run_array(small_network, picture(100, 100), Resources(CPU, FP32, tile=10))


def test_progress_counts_every_tile(identity: Any) -> None:
    seen: list[tuple[int, int]] = []
    output = run_array(
        identity(4, 4),
        picture(100, 100),
        Resources(CPU, FP32, tile=40),
        report=lambda *s: seen.append(s),
    )
    assert seen[-1] == (output.plan.tiles,) * 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["small_network", "small_upscaler"])
@pytest.mark.parametrize("ordered", [False, True])
def test_on_cuda_tiles_are_the_cpus_picture(
    name: str, ordered: bool, request: pytest.FixtureRequest
) -> None:
    network, cuda = request.getfixturevalue(name), torch.device("cuda")
    pixels, bands = picture(300, 310), list[Pixels]()
    wanted = run_array(network, pixels, Resources(CPU, FP32)).pixels
    found = np.empty_like(wanted)
    in_order = OrderedSink(wanted.shape[1], lambda first, rows: bands.append(rows.copy()))
    sink = in_order if ordered else ArraySink(found)
    assert run(network, ArraySource(pixels), sink, Resources(cuda, FP32, tile=96)).tiles > 9
    found = np.concatenate(bands) if ordered else found
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    half = run_array(network, pixels, Resources(cuda, torch.float16)).pixels
    assert np.abs(half - wanted).max() < 4 / 255
