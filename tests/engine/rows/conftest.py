"""The networks that the row engine is tested with."""

from __future__ import annotations

import pytest

from restore.models.denoiser import Denoiser
from restore.models.unet import UNet
from restore.models.upscaler import Upscaler

NETWORKS = [
    Denoiser(widths=(4, 8, 8), blocks=(1, 2, 1), seed=1),
    Denoiser(widths=(6,), blocks=(1,), seed=1),
    Denoiser(channels=1, widths=(4, 8), blocks=(2, 1), seed=1),
    Upscaler(2, widths=(4, 8), blocks=(2, 1), seed=1),
    Upscaler(3, channels=1, widths=(4, 8), blocks=(1, 1), seed=1),
    Upscaler(4, widths=(6,), blocks=(1,), seed=1),
]


@pytest.fixture(
    params=NETWORKS, ids=lambda n: f"{type(n).__name__}-{n.scale}-{n.arguments['widths']}"
)
def network(request: pytest.FixtureRequest) -> UNet:
    """Each kind of network: one level and several, grey and colour, all scales."""
    found: UNet = request.param
    return found
