"""Networks made ready are kept, and the given one stays as it is."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from restore.engine.prepare import CachedNetwork, prepare, smallest_tile
from restore.engine.rows.backend import layers_of
from restore.models.denoiser import Denoiser
from restore.models.ensemble import Ensemble
from restore.models.network import Network
from restore.models.upscaler import Upscaler

CPU, FP32 = torch.device("cpu"), torch.float32


def test_a_kept_network_is_prepared_once_and_itself_untouched(small_network: Denoiser) -> None:
    kept = CachedNetwork(small_network)
    first = prepare(kept, CPU, torch.bfloat16)
    assert prepare(kept, CPU, torch.bfloat16) is first is not small_network
    assert next(small_network.parameters()).dtype == torch.float32
    assert prepare(kept, CPU, FP32) is not first


def test_layers_of_a_kept_network_are_laid_out_once(small_network: Denoiser) -> None:
    kept = CachedNetwork(small_network)
    assert layers_of(kept, FP32) is layers_of(kept, FP32)
    assert layers_of(kept, torch.bfloat16) is not layers_of(kept, FP32)
    assert layers_of(small_network, FP32) is not layers_of(small_network, FP32)
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
