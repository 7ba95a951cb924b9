"""Networks made ready are kept, and the given one stays as it is."""

from __future__ import annotations

import torch

from restore.engine.prepare import CachedNetwork, prepare, smallest_tile
from restore.engine.rows.backend import layers_of
from restore.models.denoiser import Denoiser

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
