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
    """A bias-free residual U-Net, blind or conditioned on the noise.

    A noise level acts as a constant plane beside the picture (the noise level map of FFDNet, Zhang
    et al., IEEE TIP 2018). In the first layer such a plane comes to one number for each channel,
    times the level. So picture and level scale together, the network stays bias-free in both, and
    without a level it is exactly the blind network. Where several numbers describe the noise (see
    `restore.models.noise_level`) each is such a plane.

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
        noise_inputs: int = 0,
    ) -> None:
        """Build the network; `widths`, `blocks` and `seed` as for `UNet`.

        noise_inputs: how many numbers about the noise it is conditioned on; 0: none
        """
        super().__init__(channels, channels, widths, blocks, seed)
        self.arguments = {"channels": channels, "widths": list(widths), "blocks": list(blocks)}
        if noise_inputs:
            self.arguments["noise_inputs"] = int(noise_inputs)
            shape = (widths[0],) if noise_inputs == 1 else (noise_inputs, widths[0])
            self.level = nn.Parameter(torch.zeros(shape))
        self.channels = channels
        self.scale = 1
        self.border = -(-BORDER // self.multiple_of) * self.multiple_of
        self.halo = -(-halo_radius(blocks) // self.multiple_of) * self.multiple_of

    @property
    def noise_inputs(self) -> int:
        """How many numbers about the noise it is conditioned on; 0: none."""
        return int(self.arguments.get("noise_inputs", 0))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, H, W), the same picture without its noise.

        noise: (N,) standard deviation of the noise on the 0-255 scale, 0 where it is not known; or
               (N, noise_inputs) numbers on that scale, 0 where there is no noise
        The convolutions run in the precision of the kernels, the subtraction in that of the input.
        """
        offset = None
        if noise is not None:
            given = noise.view(len(x), -1) / 255
            offset = (given @ self.level.view(given.shape[1], -1)).view(len(x), -1, 1, 1)
        found = self.features(self.preprocess(x).to(self.head.weight.dtype), offset)
        return self.postprocess(x, found.to(x.dtype))

    def postprocess(
        self, x: Tensor, output: Tensor, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Tensor:
        """The picture less the noise that was found in these rows and columns of it."""
        return x[:, :, rows, columns] - output

    def conditioned_on(self, *noise: float) -> Denoiser:
        """This network for one kind of noise: `noise_inputs` numbers, 0-255.

        It shares its kernels with this one; its `sigma` is the first of the numbers. Raises
        ValueError where the network does not take as many.
        """
        if not self.noise_inputs or len(noise) != self.noise_inputs:
            raise ValueError(
                f"this network is conditioned on {self.noise_inputs} numbers, not {len(noise)}"
            )
        head = copy.copy(self.head)
        head._parameters = dict(self.head._parameters)
        level = self.level.detach().view(self.noise_inputs, -1)
        given = level.new_tensor(noise) / 255
        head.bias = nn.Parameter(given @ level, requires_grad=False)
        other = self.with_head(head)
        other.sigma = noise[0]
        return other
