"""The denoiser: a U-shaped convolutional autoencoder that predicts the noise and subtracts it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from restore.models.unet import UNet, halo_radius


class Denoiser(UNet):
    """A bias-free residual U-Net, blind to the noise level.

    channels:    1 or 3, the channels of the picture
    scale:       1, the output is as large as the input
    multiple_of: height and width of the input must be multiples of this
    halo:        pixels around a tile on which the tile's output can depend, a multiple of
                 `multiple_of`; true by construction, and proven by a test that perturbs pixels
    """

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 2, 2),
        seed: int | None = 0,
    ) -> None:
        """Build the network; `widths`, `blocks` and `seed` as for `UNet`."""
        super().__init__(channels, channels, widths, blocks, seed)
        self.arguments = {"channels": channels, "widths": list(widths), "blocks": list(blocks)}
        self.channels = channels
        self.scale = 1
        self.halo = -(-halo_radius(blocks) // self.multiple_of) * self.multiple_of

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, H, W), the same picture without its noise.

        The convolutions run in the precision of the kernels, the subtraction in that of the input.
        """
        return x - self.features(x.to(self.head.weight.dtype)).to(x.dtype)
