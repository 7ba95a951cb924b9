"""A picture in bands of rows is the untiled one, whatever its size and the bands'."""

from __future__ import annotations

import random

import pytest
import torch

from restore.engine.rows import layers as laid_out
from restore.engine.rows.layers import Layers
from restore.engine.rows.stream import NotFiniteError, Stream
from restore.engine.rows.workers import Workers
from restore.models.denoiser import Denoiser
from restore.models.unet import UNet


def streamed(layers: Layers, picture: torch.Tensor, threads: int = 1) -> torch.Tensor:
    height, width, channels = picture.shape
    result = torch.full((height * layers.scale, width * layers.scale, channels), torch.nan)
    at = 0

    def write(row: int, column: int, found: torch.Tensor) -> None:
        place = result[row : row + found.shape[0], column : column + found.shape[1]]
        assert place.shape == found.shape
        assert place.isnan().all()  # each pixel once
        place.copy_(found)

    with Workers(threads) as workers:
        flow = Stream(layers, width, workers, write)
        while at < height:
            end = min(height, at + (flow.rows if at else flow.first_rows))
            flow.push(picture[at:end], end == height)
            at = end
    return result


@pytest.fixture(params=[False, True], ids=["plain", "fused"])
def fused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    from restore.engine.rows import convolution as module

    if request.param and not module.can_fuse(torch.float32):
        pytest.skip("this build of torch has no fused operators")
    monkeypatch.setattr(module, "can_fuse", lambda dtype: request.param)
    return bool(request.param)


@pytest.mark.parametrize("narrow", [1000, 2], ids=["", "some narrow"])
@pytest.mark.parametrize(
    "framed", [(4, 6, 8), (8,), ()], ids=["framed", "some framed", "not framed"]
)
@torch.inference_mode()
def test_streamed_equals_untiled_over_random_sizes(
    network: UNet,
    fused: bool,
    framed: tuple[int, ...],
    narrow: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(laid_out, "FRAMED", {torch.float32: framed})
    monkeypatch.setattr(laid_out, "NARROW_OF", {torch.float32: 4 * narrow})
    monkeypatch.setattr(laid_out, "NARROW", 24)
    monkeypatch.setattr(laid_out, "NARROW_WORTH", 2)
    monkeypatch.setattr(laid_out, "FEWEST_ROWS", 16)
    monkeypatch.setattr(laid_out, "SHORT_BYTES", 1)
    monkeypatch.setattr(laid_out, "BAND_BYTES", 1)  # bands of 16 rows: many in a small picture
    monkeypatch.setattr(laid_out, "STRIP_BYTES", 1)  # strips as narrow as they may be
    monkeypatch.setattr(laid_out, "WORTH", 2)
    layers = Layers(network, torch.float32)
    draw = random.Random(f"{framed} {narrow}")  # other sizes for each layout
    many_bands = many_strips = 0
    for _ in range(4):
        height, width = (4 * draw.randint(1, most) for most in (40, 60))
        picture = torch.rand(height, width, network.channels)
        whole = network(picture.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        found = streamed(layers, picture, draw.randint(1, 3))
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)
        many_bands += height > 60
        many_strips += len(layers.strips(width, 0, layers.encoder[0], 1)) > 2
    assert many_bands > 1
    assert many_strips > 1


@torch.inference_mode()
def test_in_half_precision_it_is_as_far_from_float32_as_the_network_itself() -> None:
    network = Denoiser(3, widths=(8, 16), blocks=(1, 1), seed=2).eval()
    picture = torch.rand(96, 64, 3)
    given = picture.permute(2, 0, 1)[None]
    exact = network(given)[0].permute(1, 2, 0)
    half = network.to(torch.bfloat16)(given)[0].permute(1, 2, 0)
    found = streamed(Layers(network, torch.bfloat16), picture)
    assert (found - exact).abs().mean() < 1.5 * (half - exact).abs().mean()


@torch.inference_mode()
def test_an_overflow_is_reported_and_never_written() -> None:
    network = Denoiser(3, widths=(4, 8), blocks=(1, 1), seed=2).eval()
    network.tail.weight.data.fill_(3e38)
    with pytest.raises(NotFiniteError):
        streamed(Layers(network, torch.bfloat16), torch.rand(16, 16, 3))


@torch.inference_mode()
def test_what_waits_inside_stays_within_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laid_out, "BAND_BYTES", 1)
    network = Denoiser(3, widths=(4, 8, 8), blocks=(1, 2, 1), seed=1).eval()
    layers = Layers(network, torch.float32)
    flow, most = Stream(layers, 16, Workers(1), lambda *_: None), 0
    for at in range(0, 800, 8):
        flow.push(torch.rand(8 if at else flow.first_rows, 16, 3), False)
        most = max(most, flow._level.skips.count)
    assert most <= layers.lags(layers.bands(16))[0] + 2 * flow.rows
    assert layers.peak_bytes(10**6, 16) == layers.peak_bytes(10**7, 16)  # not with the height


@torch.inference_mode()
def test_a_network_that_was_told_the_noise_level(telling_network: Denoiser, fused: bool) -> None:
    picture = torch.rand(96, 40, 3)
    plane = picture.permute(2, 0, 1)[None]
    whole = telling_network(plane, torch.tensor([40.0]))[0].permute(1, 2, 0)
    found = streamed(Layers(telling_network.conditioned_on(40), torch.float32), picture)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)
    blind = streamed(Layers(telling_network, torch.float32), picture)
    assert (blind - whole).abs().max() > 1e-3
