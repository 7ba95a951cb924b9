"""A network's layers laid out for streaming: strips that keep each column once."""

from __future__ import annotations

import pytest
import torch

from restore.engine.rows import layers as laid_out
from restore.engine.rows.layers import Layers, can_stream
from restore.models.denoiser import Denoiser
from restore.models.unet import UNet


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("narrow", [1000, 1], ids=["", "narrow"])
@pytest.mark.parametrize("framed", [(4, 6, 8), ()], ids=["framed", "not framed"])
def test_strips_keep_each_column_once_with_what_it_depends_on(
    network: UNet,
    threads: int,
    framed: tuple[int, ...],
    narrow: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(laid_out, "FRAMED", {torch.float32: framed})
    monkeypatch.setattr(laid_out, "NARROW_OF", {torch.float32: 2 * narrow})
    monkeypatch.setattr(laid_out, "NARROW", 40)
    monkeypatch.setattr(laid_out, "SHORT_BYTES", 256)
    monkeypatch.setattr(laid_out, "STRIP_BYTES", 256)
    layers = Layers(network, torch.float32)
    for level, chain in [*enumerate(layers.encoder), *enumerate(layers.decoder)]:
        for width in range(4, 400, 4):
            spans = layers.strips(width, level, chain, threads)
            cuts = [0, *(span.last for span in spans)]
            assert [span.first for span in spans] == cuts[:-1]
            assert cuts[-1] == width
            for span in spans:
                end = span.start + span.window
                assert span.start == 0 or span.first - span.start >= chain.reach
                assert end == width or end - span.last >= chain.reach
                assert 0 <= span.start < end <= width
                if level < len(layers.downs):  # the next level's columns begin with an even one
                    assert not any(n % 2 for n in (span.start, span.first, span.last, end))


def test_only_networks_whose_layers_are_known_are_streamed() -> None:
    class Other(Denoiser):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    assert can_stream(Denoiser(widths=(4,), blocks=(1,)))
    assert not can_stream(Other(widths=(4,), blocks=(1,)))
    assert not can_stream(object())
