"""The denoiser: a U-shaped convolutional autoencoder that predicts the noise and subtracts it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from restore.models.card import Noise
from restore.models.unet import UNet, halo_radius

BORDER = 8  # pixels


class Denoiser(UNet):
    """A bias-free residual U-Net, blind to the noise level or told it.

    The noise level, where it is told, is a constant plane beside the picture (as the noise level
    map of FFDNet, Zhang et al., IEEE TIP 2018): all its weight in the first layer comes to is one
    number for each channel there, times the level. So picture and level scale together, the network
    stays bias-free in both, and one that is told nothing is exactly the blind network.

    channels:    1 or 3, the channels of the picture
    scale:       1, the output is as large as the input
    multiple_of: height and width of the input must be multiples of this
    border:      pixels by which the engine mirrors a picture around itself first. In the corners of
                 an even bright picture the zeros of the convolutions' padding would move the
                 outermost pixels by up to 8 of 255 levels; 8 pixels further in it is 0.1
    halo:        pixels around a tile on which the tile's output can depend, a multiple of
                 `multiple_of`; true by construction, and proven by a test that perturbs pixels
    """

    noise: Noise = "white"

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 2, 2),
        seed: int | None = 0,
        tellable: bool = False,
    ) -> None:
        """Build the network; `widths`, `blocks` and `seed` as for `UNet`.

        tellable: whether it can be told the noise level
        """
        super().__init__(channels, channels, widths, blocks, seed)
        self.arguments = {"channels": channels, "widths": list(widths), "blocks": list(blocks)}
        if tellable:
            self.arguments["tellable"] = True
            self.level = nn.Parameter(torch.zeros(widths[0]))
        self.channels = channels
        self.scale = 1
        self.border = -(-BORDER // self.multiple_of) * self.multiple_of
        self.halo = -(-halo_radius(blocks) // self.multiple_of) * self.multiple_of

    @property
    def accepts_sigma(self) -> bool:
        """Whether it can be conditioned on a noise level."""
        return bool(self.arguments.get("tellable", False))

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, H, W), the same picture without its noise.

        sigma: (N,) standard deviation of the noise on the 0-255 scale, 0 where it is not known; for
               a network that is `tellable`
        The convolutions run in the precision of the kernels, the subtraction in that of the input.
        """
        offset = None
        if sigma is not None:
            offset = sigma.view(-1, 1, 1, 1) / 255 * self.level.view(1, -1, 1, 1)
        noise = self.features(self.preprocess(x).to(self.head.weight.dtype), offset)
        return self.postprocess(x, noise.to(x.dtype))

    def postprocess(
        self, x: Tensor, output: Tensor, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Tensor:
        """The picture less the noise that was found in these rows and columns of it."""
        return x[:, :, rows, columns] - output

    def conditioned_on(self, sigma: float) -> Denoiser:
        """This network, told that the noise has this level (0-255, above 0).

        It shares its kernels with this one. Raises ValueError unless the network `accepts_sigma`.
        """
        if not self.accepts_sigma:
            raise ValueError("this network cannot be conditioned on a noise level")
        other = copy.copy(self)
        other.sigma = sigma
        other._modules = dict(self._modules)
        other.head = copy.copy(self.head)
        other.head._parameters = dict(self.head._parameters)
        other.head.bias = nn.Parameter(self.level.detach() * (sigma / 255), requires_grad=False)
        return other
