"""Networks made ready are kept, and the given one stays as it is."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from restore.engine.compute import Resources
from restore.engine.prepare import prepare, smallest_tile
from restore.engine.rows.backend import layers_of
from restore.engine.run import run_array
from restore.models.denoiser import Denoiser
from restore.models.ensemble import Ensemble
from restore.models.network import Network, keeping
from restore.models.upscaler import Upscaler

CPU, FP32 = torch.device("cpu"), torch.float32


def test_a_kept_network_is_prepared_once_and_itself_untouched(small_network: Denoiser) -> None:
    kept = keeping(small_network)
    first = prepare(kept, CPU, torch.bfloat16)
    assert prepare(kept, CPU, torch.bfloat16).tail is first.tail is not small_network.tail
    assert next(small_network.parameters()).dtype == torch.float32
    assert prepare(kept, CPU, FP32).tail is not first.tail
    assert prepare(small_network, CPU, FP32).tail is not prepare(small_network, CPU, FP32).tail


def test_layers_of_a_kept_network_are_laid_out_once(small_network: Denoiser) -> None:
    kept = keeping(small_network)
    assert layers_of(kept, FP32).ups is layers_of(kept, FP32).ups
    assert layers_of(kept, torch.bfloat16).ups is not layers_of(kept, FP32).ups
    assert layers_of(small_network, FP32).ups is not layers_of(small_network, FP32).ups


@pytest.mark.parametrize("tile", [None, 64])
def test_one_kept_network_serves_all_noise(
    telling_network: Denoiser, rng: np.random.Generator, tile: int | None
) -> None:
    """What is kept is shared by networks told different levels, which give different pictures."""
    kept, resources = keeping(telling_network), Resources(CPU, FP32, tile)
    pixels = rng.random((70, 90, 3), np.float32)
    for level in (5, 60, 5):
        told = kept.conditioned_on(level)
        assert told.prepared is kept.prepared
        alone = run_array(telling_network.conditioned_on(level), pixels, resources).pixels
        np.testing.assert_allclose(run_array(told, pixels, resources).pixels, alone, atol=1e-5)
    assert len(kept.prepared) == 1


def test_what_is_kept_is_neither_copied_nor_sent(small_network: Denoiser) -> None:
    kept = keeping(small_network)
    layers_of(kept, torch.bfloat16)
    assert small_network.prepared is None
    for other in (pickle.loads(pickle.dumps(kept)), copy.deepcopy(kept)):
        assert other.prepared == {} and len(kept.prepared) == 1
    assert smallest_tile(kept) == smallest_tile(small_network) == 2 * small_network.halo + 2


def networks() -> dict[str, Network]:
    """One of each kind that is run on a device."""
    told = Denoiser(3, (4, 8), (1, 1), noise_inputs=3).conditioned_on(10.0, 5.0, 0.0)
    return {
        "blind": Denoiser(3, (4, 8), (1, 1)),
        "told": told,
        "ensemble": Ensemble(told),
        **{f"x{scale}": Upscaler(scale, 3, (4, 8), (1, 1)) for scale in (2, 3, 4)},
    }


@pytest.mark.parametrize("name", networks())
def test_on_another_device_nothing_is_done_on_the_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On `meta`, which has no data; a CUDA graph could not be captured of a network that copies."""
    monkeypatch.setattr(torch, "autocast", lambda *given, **more: nullcontext())  # has no `meta`
    network, meta = networks()[name], torch.device("meta")
    prepared = prepare(network, meta, torch.float16)
    windows = torch.empty(2, 24, 32, 3, device=meta).permute(0, 3, 1, 2)
    output = prepared(windows)
    assert output.device == meta and output.dtype == torch.float32
    assert output.shape == (2, 3, 24 * network.scale, 32 * network.scale)
    assert isinstance(prepared, torch.nn.Module) and isinstance(network, torch.nn.Module)
    assert {kernel.dtype for kernel in prepared.parameters()} == {torch.float16}
    assert {buffer.dtype for buffer in prepared.buffers()} <= {torch.float32}
    assert {tensor.device for tensor in network.state_dict().values()} == {CPU}
