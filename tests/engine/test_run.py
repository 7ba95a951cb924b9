"""The loop around the backends: a picture comes back whole or not at all, in smaller pieces."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from torch import Tensor

import restore.engine.run
from restore.engine.compute import Resources
from restore.engine.memory import tile_bytes
from restore.engine.run import run_array, run_together
from restore.errors import ModelError, OutOfMemoryError
from restore.image.picture import Pixels
from restore.models.denoiser import Denoiser
from restore.models.network import BaseNetwork, keeping

CPU, FP32 = torch.device("cpu"), torch.float32


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


def test_the_input_is_not_modified(small_network: Denoiser) -> None:
    pixels = picture(20, 20)
    before = pixels.copy()
    run_array(small_network, pixels, Resources(CPU, FP32))
    assert np.array_equal(pixels, before)


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
    RuntimeError("could not execute a primitive"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: str(e)[:16])
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


def test_before_another_try_the_device_and_the_host_get_back_what_is_not_used(
    small_network: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("device"))
    if hasattr(torch, "accelerator"):
        host = lambda: calls.append("host")  # noqa: E731 (a name for what follows)
        monkeypatch.setattr(torch.accelerator, "empty_host_cache", host, raising=False)

    def fails() -> None:
        raise torch.OutOfMemoryError

    attempt = restore.engine.run._attempt
    assert attempt(fails, CPU) is attempt(fails, torch.device("cuda"))
    assert calls == ["device", "host"][: 1 + hasattr(torch, "accelerator")]


def test_a_plan_for_which_there_is_no_room_is_not_run(
    small_network: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """oneDNN crashes the process where its own allocations fail, so it must not be tried."""
    asked: list[int] = []

    def room(count: int, device: torch.device) -> None:
        asked.append(count)
        if count > asked[0] // 2:
            raise MemoryError

    monkeypatch.setattr(restore.engine.run, "check_room", room)
    counted = Limited(small_network, 3000, RuntimeError("it was run all the same"))
    tile = 2 * 3000 * tile_bytes(counted, FP32)  # of 6,000 pixels
    run_array(counted, picture(150, 170), Resources(CPU, FP32, memory=tile))
    assert counted.refused == 0
    assert len(asked) > 1


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


def test_pictures_together_are_each_as_alone(
    small_network: Denoiser, rng: np.random.Generator
) -> None:
    pictures = [rng.random((21, 34, 3)).astype(np.float32) for _ in range(5)]
    together = run_together(keeping(small_network), pictures, Resources(CPU, FP32))
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


@pytest.mark.parametrize("streamed", [True, False])
def test_weights_that_overflow_in_float32_are_named_and_nothing_is_returned(
    small_network: Denoiser, streamed: bool
) -> None:
    broken = copy.deepcopy(small_network)
    with torch.no_grad():
        for kernel in broken.parameters():
            kernel.fill_(3e38)
    tile = None if streamed else 64
    with pytest.raises(ModelError, match="not finite even in float32"):
        run_array(broken, picture(20, 20), Resources(CPU, FP32, tile=tile))
