"""Tiled equals untiled; a picture comes back whole or not at all."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.engine.backend import padded_array
from restore.engine.compute import Resources
from restore.engine.prepare import CachedNetwork
from restore.engine.run import run_array, run_together
from restore.errors import InputError, OutOfMemoryError
from restore.image.picture import Pixels, quantise
from restore.models.denoiser import Denoiser
from restore.models.network import BaseNetwork
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


@pytest.mark.parametrize(("height", "width", "tile"), [(300, 310, 280), (400, 250, 320)])
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


def test_the_input_is_not_modified(small_network: Denoiser) -> None:
    pixels = picture(20, 20)
    copy = pixels.copy()
    run_array(small_network, pixels, Resources(CPU, FP32))
    assert np.array_equal(pixels, copy)


class Limited(BaseNetwork):
    """The small network on a device whose memory holds so many pixels at once."""

    def __init__(self, network: Denoiser, pixels: int, error: Exception) -> None:
        self.network, self.pixels, self.error = network, pixels, error
        self.channels, self.scale = 3, 1
        self.halo, self.multiple_of = network.halo, network.multiple_of
        self.border = network.border
        self.refused = 0

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[0] * x.shape[2] * x.shape[3] > self.pixels:
            self.refused += 1
            raise self.error
        result: Tensor = self.network(x)
        return result


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: str(e)[:10])
@pytest.mark.parametrize("tile", [None, 96])
def test_out_of_memory_gives_the_same_picture_in_smaller_pieces(
    small_network: Denoiser, error: Exception, tile: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = picture(150, 170)
    whole = run_array(small_network, pixels, Resources(CPU, FP32)).pixels
    limited = Limited(small_network, 3000, error)
    with caplog.at_level(logging.WARNING):
        output = run_array(limited, pixels, Resources(CPU, FP32, tile=tile))
    assert limited.refused > 0
    assert "smaller tiles" in caplog.text
    np.testing.assert_allclose(output.pixels, whole, rtol=0, atol=1e-5)


def test_out_of_memory_for_the_smallest_tile_ends_in_words(small_network: Denoiser) -> None:
    limited = Limited(small_network, 10, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(OutOfMemoryError, match="not even a tile"):
        run_array(limited, picture(150, 170), Resources(CPU, FP32))


def test_other_errors_of_a_network_pass_through(small_network: Denoiser) -> None:
    limited = Limited(small_network, 10, RuntimeError("CUDA error: illegal access"))
    with pytest.raises(RuntimeError, match="illegal access"):
        run_array(limited, picture(50, 50), Resources(CPU, FP32))
    assert limited.refused == 1


def test_an_overflow_in_half_precision_is_computed_again_in_float32(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pixels = picture(8, 8)
    with caplog.at_level(logging.WARNING):
        output = run_array(Overflowing(), pixels, Resources(CPU, torch.bfloat16))
    assert output.plan.dtype == torch.float32
    assert np.array_equal(output.pixels, pixels)
    assert "retrying in float32" in caplog.text


class Overflowing(BaseNetwork):
    """Answers with an infinity the first time, as half precision does when it overflows."""

    channels, scale, halo, multiple_of = 3, 1, 0, 1

    calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x if self.calls > 1 else x / 0


def test_a_tile_below_the_minimum_is_refused_with_the_minimum(small_network: Denoiser) -> None:
    with pytest.raises(InputError, match="smallest for this model is 26"):
        run_array(small_network, picture(100, 100), Resources(CPU, FP32, tile=10))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 3), (8, 8), (17, 1)])
def test_padding_mirrors_and_reaches_the_grid(height: int, width: int) -> None:
    pixels = picture(height, width)
    for border in (0, 8):
        padded = padded_array(pixels, 8, border)
        assert padded.shape[0] % 8 == padded.shape[1] % 8 == 0
        inner = padded[border:, border:]
        assert np.array_equal(inner[:height, :width], pixels)
        if inner.shape[0] > height:
            assert np.array_equal(inner[height, :width], pixels[height - 1])
        if border:
            assert np.array_equal(padded[border - 1, border : border + width], pixels[0])


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


# ---- several pictures at once


def test_pictures_together_are_each_as_alone(
    small_network: Denoiser, rng: np.random.Generator
) -> None:
    pictures = [rng.random((21, 34, 3)).astype(np.float32) for _ in range(5)]
    together = run_together(CachedNetwork(small_network), pictures, Resources(CPU, FP32))
    for picture, output in zip(pictures, together, strict=True):
        alone = run_array(small_network, picture, Resources(CPU, FP32)).pixels
        np.testing.assert_allclose(output.pixels, alone, atol=1e-5)
        assert output.pixels.shape == (21, 34, 3)


def test_pictures_that_do_not_fit_together_go_one_by_one(rng: np.random.Generator) -> None:
    class Small(BaseNetwork):
        channels, scale, halo, multiple_of = 3, 1, 0, 1

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[0] > 1:
                raise torch.OutOfMemoryError
            return x

    pictures = [rng.random((6, 7, 3)).astype(np.float32) for _ in range(3)]
    outputs = run_together(Small(), pictures, Resources(CPU, FP32))
    assert all(np.array_equal(o.pixels, p) for o, p in zip(outputs, pictures, strict=True))
