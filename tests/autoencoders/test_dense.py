"""The linear, vanilla and stacked autoencoders: widths and layer-wise training."""

from __future__ import annotations

import pytest
import torch

from restore.autoencoders.dense import StackedAutoencoder, VanillaAutoencoder
from restore.errors import InputError


def test_the_vanilla_autoencoder_has_the_widths_of_the_textbook() -> None:
    network = VanillaAutoencoder((1, 28, 28))
    widths = [tuple(p.shape) for p in network.parameters() if p.ndim == 2]
    assert widths == [(128, 784), (32, 128), (128, 32), (784, 128)]


def test_the_stacked_autoencoder_trains_layer_by_layer_and_then_as_a_whole() -> None:
    network = StackedAutoencoder((1, 12, 12), 4, hidden=(20, 10), pretrain=0.3)
    phases = network.phases()
    assert [p.name for p in phases] == ["layer 1", "layer 2", "layer 3", "fine-tuning"]
    assert sum(p.share for p in phases) == pytest.approx(1)
    shapes = [[tuple(q.shape) for q in p.parameters if q.ndim == 2] for p in phases[:3]]
    assert shapes == [[(20, 144), (144, 20)], [(10, 20), (20, 10)], [(4, 10), (10, 4)]]
    phases[1].loss(torch.rand(3, 1, 12, 12), None).total.backward()
    touched = {name for name, p in network.named_parameters() if p.grad is not None}
    assert touched == {
        f"{s}.{i}.{k}" for s in ("encoder", "decoder") for i in (2,) for k in ("weight", "bias")
    }
    weights = network.state_dict()
    torch.testing.assert_close(weights["encoder.2.weight"].T, weights["decoder.2.weight"])  # tied
    scratch = StackedAutoencoder((1, 12, 12), 4, pretrain=0.0)
    assert [p.name for p in scratch.phases()] == ["fine-tuning"]
    with pytest.raises(InputError, match="below 1"):
        StackedAutoencoder((1, 12, 12), 4, pretrain=1.0)
