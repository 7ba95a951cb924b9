"""A network's layers, laid out for bands of rows, and what a stream through them takes."""

from __future__ import annotations

from typing import NamedTuple, TypeGuard, cast

import torch
from torch import Tensor, nn

from restore.inference.fused import Convolution, Growth
from restore.inference.tiling import Span, round_up, split_axis
from restore.models.denoiser import Denoiser
from restore.models.unet import UNet
from restore.models.upscaler import Upscaler

# Bytes of one tensor of a strip's band, so that it stays in a second cache of 2 MB; of a row of it,
# for oneDNN is faster on short rows; and of a band over the whole width, where 24 MP shall not take
# more than 1.5 GB. The first by measurement: benchmarks/speed.py --bands.
BAND_BYTES, STRIP_BYTES, WIDE_BYTES = 2**21, 2**16, 9 * 2**20
BELOW = 2  # rows of room below a band, for zeros below the picture
FEWEST_ROWS, MOST_ROWS = 16, 64  # a block computes two rows of each band again
ALIGNED = 16  # columns that matrix instructions take at once
# A strip is at least so many times as wide as what is computed again beside it, unless cores wait.
WORTH, LEAST = 20, 2
# Beside the tensors counted: what the allocator cannot use, and oneDNN's own. By measurement.
SPARE, OWN_BYTES = 1.25, 2**25

Pair = tuple[Convolution, Convolution]  # of a residual block


class Chain(NamedTuple):
    """Layers that a strip of columns goes through in one go."""

    blocks: list[Pair]
    head: Convolution | None = None
    tail: Convolution | None = None

    @property
    def reach(self) -> int:
        """How many columns to each side the answer depends on."""
        return 2 * len(self.blocks) + (self.head is not None) + (self.tail is not None)

    @property
    def above(self) -> int:
        """Rows of room for what is held: four for the first block, two more for each further."""
        return 2 * len(self.blocks) + 2


def can_stream(network: object) -> TypeGuard[UNet]:
    """Whether the network is one whose layers are known here."""
    known = (Denoiser.forward, Upscaler.forward)
    return isinstance(network, UNet) and type(network).forward in known


class Layers:
    """A network's layers, laid out for bands of rows. Holds no picture: one serves many."""

    def __init__(self, network: UNet, dtype: torch.dtype) -> None:
        """The kernels as `dtype`; the network given stays as it is."""

        def ready(weight: Tensor) -> Tensor:
            return weight.detach().to("cpu", dtype).contiguous(memory_format=torch.channels_last)

        def conv(module: object) -> Convolution:
            assert isinstance(module, nn.Conv2d)
            copied = nn.Conv2d(1, 1, 1, bias=False)
            copied.weight = nn.Parameter(ready(module.weight), requires_grad=False)
            if module.bias is not None:  # of a network that was told the noise level
                copied.bias = nn.Parameter(
                    module.bias.detach().to("cpu", dtype), requires_grad=False
                )
            return Convolution(copied)

        def growth(module: object) -> Growth:
            assert isinstance(module, nn.ConvTranspose2d)
            copied = nn.ConvTranspose2d(1, 1, 1, bias=False)
            copied.weight = nn.Parameter(ready(module.weight), requires_grad=False)
            return Growth(copied)

        def blocks(level: object) -> list[Pair]:
            assert isinstance(level, nn.Sequential)
            return [(conv(block.conv1), conv(block.conv2)) for block in level.children()]

        self.dtype = dtype
        self.channels, self.multiple_of = network.channels, network.multiple_of
        self.scale, self.reach = network.scale, network.reach
        self.enter, self.leave = network.enter, network.leave
        self.widths = list(cast("list[int]", network.arguments["widths"]))
        self.encoder = [Chain(blocks(level)) for level in network.encoder]
        self.decoder = [Chain(blocks(level)) for level in network.decoder]
        self.encoder[0] = self.encoder[0]._replace(head=conv(network.head))
        last = self.decoder or self.encoder  # of a network of one level, all is one chain
        last[0] = last[0]._replace(tail=conv(network.tail))
        self.downs = [ready(cast(nn.Conv2d, module).weight) for module in network.downs]
        self.ups = [growth(module) for module in network.ups]

    def strips(self, width: int, level: int, chain: Chain, threads: int) -> list[Span]:
        """Columns of a level to take at a time, so that a row stays small and no core is idle.

        width: of the level
        """
        fits = STRIP_BYTES // (self.widths[level] * self.dtype.itemsize)
        again = max(1, 2 * chain.reach)
        count = -(-width // max(ALIGNED, fits, WORTH * again))
        count = min(round_up(count, threads), width // max(ALIGNED, LEAST * again))
        if count < 2:
            return [Span(0, width, 0, width)]
        grid = 1 if level == len(self.encoder) - 1 else 2
        halo = round_up(chain.reach, grid)
        spans = split_axis(width, -(-width // count) + 2 * halo + grid, halo, grid)
        window = min(width // grid * grid, round_up(spans[0].window, ALIGNED))
        return [Span(min(s.start, width - window), window, s.first, s.last) for s in spans]

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of the widest level's tensor, of a picture `width` pixels wide."""
        per_pixel = max(w >> k for k, w in enumerate(self.widths))
        return max(1, per_pixel) * width * self.dtype.itemsize

    def band(self, width: int) -> int:
        """Rows of a band, a multiple of 4: as many as make its tensors as large as they should."""
        row = self.row_bytes(width)
        rows = min(BAND_BYTES // min(row, STRIP_BYTES), WIDE_BYTES // row)
        return max(FEWEST_ROWS, min(MOST_ROWS, rows)) // 4 * 4

    def lags(self, band: int) -> list[int]:
        """For each level, rows of it by which what it gives back can lag behind what it gets."""
        found = [2 * len(self.encoder[-1].blocks)]
        for encode in reversed(self.encoder[:-1]):
            found.insert(0, 4 * len(encode.blocks) + 2 * (found[0] + band))
        return found

    def peak_bytes(self, height: int, width: int) -> int:
        """The most memory a stream over a picture of this size needs, the picture not counted."""
        band, total = self.band(width), 0
        lags = self.lags(band)
        for level, lag in enumerate(lags):
            room = band + self.encoder[level].above + BELOW  # a piece of a skip keeps its room
            waiting = min(height >> level, lag + 2 * band) * room // band
            rows = waiting + 3 * room
            total += rows * (width >> level) * self.widths[level] * self.dtype.itemsize
        total += 4 * (band + 4) * self.row_bytes(width)  # of the level that is at work
        picture = min(height, lags[0] + 4 * band) * width * self.channels * 8
        larger = self.scale**2 - 1  # a band's result, its interpolation and what is added to it
        picture += 4 * (band + 4) * width * self.channels * 4 * larger
        return int(SPARE * (total + picture)) + OWN_BYTES
