"""A network's layers, prepared for bands of rows, and the memory that a stream takes."""

from __future__ import annotations

import copy
from typing import NamedTuple, TypeGuard, cast

import torch
from torch import Tensor, nn

from restore.engine.rows.convolution import Convolution, Upsampling
from restore.engine.tiling import Span, round_up, split_axis
from restore.models.denoiser import Denoiser
from restore.models.unet import UNet
from restore.models.upscaler import Upscaler

# The most bytes of a row of a strip's tensor, of one of its bands, and of a band over the whole
# width (so that 24 MP take at most 2 GB). With half of the last two, and of MOST_ROWS, a picture
# takes a tenth longer and two thirds of the memory.
STRIP_BYTES, BAND_BYTES, WIDE_BYTES = 2**18, 2**25, 24 * 2**20
FEWEST_ROWS, MOST_ROWS = 16, 128  # each block computes two rows of a band twice
BELOW = 2  # rows of space below a band, for zeros below the picture
ALIGNED = 16  # columns that matrix instructions process at once
# Counts of channels that are framed: with zeros beside the rows in its input, instead of padding by
# oneDNN, a convolution takes 0.5 of the time for 32 channels and 0.9 of it for 64.
FRAMED = {torch.bfloat16: (32, 64)}
# Other counts that are a multiple of NARROW_OF take 0.8 of the time on strips of NARROW columns,
# including those computed twice. But a strip is at least NARROW_WORTH times as wide as these.
NARROW_OF, NARROW, NARROW_WORTH = {torch.bfloat16: 64}, 224, 8
# For all others: bytes of a row, and the same factor; LEAST is the factor if cores would be idle.
SHORT_BYTES, WORTH, LEAST = 2**17, 20, 2
# Factor for memory that the allocator cannot use, and bytes for oneDNN's own buffers. Measured.
SPARE, OWN_BYTES = 1.25, 2**25

Pair = tuple[Convolution, Convolution]  # of a residual block


class Chain(NamedTuple):
    """Layers through which a strip of columns is computed without waiting for other strips.

    framed: before each layer the rows are copied, with a column of zeros on each side
    """

    blocks: list[Pair]
    framed: bool = False
    head: Convolution | None = None
    tail: Convolution | None = None

    @property
    def reach(self) -> int:
        """The radius of the chain's receptive field, in columns."""
        return 2 * len(self.blocks) + (self.head is not None) + (self.tail is not None)

    @property
    def above(self) -> int:
        """Rows of space above a band: four for the first block, two more for each further block."""
        return 2 * len(self.blocks) + 2

    def pitch(self, width: int) -> int:
        """How many columns are computed for a strip `width` wide.

        If framed, these and one more on each side are a multiple of 16. The first convolution of a
        block has that many output columns; for other counts, oneDNN takes up to 1.5 times as long.
        """
        return round_up(width + 2, ALIGNED) - 2 if self.framed else width


def can_stream(network: object) -> TypeGuard[UNet]:
    """Whether the network is a `Denoiser` or an `Upscaler`, whose layers are known here."""
    known = (Denoiser.forward, Upscaler.forward)
    return isinstance(network, UNet) and type(network).forward in known


def ready(module: object, dtype: torch.dtype) -> Tensor:
    """The kernel of a layer, on the CPU and channels last."""
    assert isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
    return module.weight.detach().to("cpu", dtype).contiguous(memory_format=torch.channels_last)


def conv(module: object, framed: bool, dtype: torch.dtype) -> Convolution:
    """A convolution of a network, prepared for bands."""
    assert isinstance(module, nn.Conv2d)
    bias = None
    if module.bias is not None:  # of a network conditioned on a noise level
        bias = module.bias.detach().to("cpu", dtype)
    return Convolution(ready(module, dtype), bias, framed)


class Layers:
    """A network's layers, prepared for bands of rows; one object serves many pictures."""

    def __init__(self, network: UNet, dtype: torch.dtype) -> None:
        """Copy the kernels as `dtype`; the network is not modified."""
        self.dtype = dtype
        self.channels, self.multiple_of = network.channels, network.multiple_of
        self.scale, self.context = network.scale, network.context
        self.preprocess, self.postprocess = network.preprocess, network.postprocess
        self.widths = list(cast("list[int]", network.arguments["widths"]))

        def chain(level: nn.Module, width: int) -> Chain:
            framed = width in FRAMED.get(dtype, ())
            pairs = [(block.conv1, block.conv2) for block in level.children()]
            return Chain(
                [(conv(a, framed, dtype), conv(b, framed, dtype)) for a, b in pairs], framed
            )

        self.encoder = list(map(chain, network.encoder, self.widths))
        self.decoder = list(map(chain, network.decoder, self.widths))
        self._set_head(network)
        last = self.decoder or self.encoder  # a network of one level is a single chain
        last[0] = last[0]._replace(tail=conv(network.tail, last[0].framed, dtype))
        self.downs = [ready(module, dtype) for module in network.downs]
        self.ups = [Upsampling(ready(module, dtype)) for module in network.ups]

    def _set_head(self, network: UNet) -> None:
        first = self.encoder[0]
        head = conv(network.head, first.framed, self.dtype)
        self.encoder = [first._replace(head=head), *self.encoder[1:]]

    def with_head(self, network: UNet) -> Layers:
        """The same layers, with the first of a network that shares all others with this one."""
        other = copy.copy(self)
        other.preprocess, other.postprocess = network.preprocess, network.postprocess
        other._set_head(network)
        return other

    def strips(self, width: int, level: int, chain: Chain, threads: int) -> list[Span]:
        """The strips of columns of a level, so narrow that rows stay small and no core is idle.

        width: of the level
        """
        again = max(1, 2 * chain.reach)
        grid = 1 if level == len(self.encoder) - 1 else 2
        count = round_up(-(-width // self._most_columns(level, chain, again + grid)), threads)
        count = min(count, width // max(ALIGNED, LEAST * again))
        if count < 2:
            return [Span(0, width, 0, width)]
        halo = round_up(chain.reach, grid)
        spans = split_axis(width, -(-width // count) + 2 * halo + grid, halo, grid)
        window = chain.pitch(round_up(spans[0].window, 2 if chain.framed else ALIGNED))
        window = min(width // grid * grid, window)
        return [Span(min(s.start, width - window), window, s.first, s.last) for s in spans]

    def _most_columns(self, level: int, chain: Chain, again: int) -> int:
        """The most columns of a strip's core; again: the columns beside it, computed twice."""
        channels = self.widths[level]
        per_column = channels * self.dtype.itemsize
        if chain.framed:
            return max(ALIGNED, STRIP_BYTES // per_column, WORTH * again)
        if self.dtype in NARROW_OF and channels % NARROW_OF[self.dtype] == 0:
            return max(NARROW - again, NARROW_WORTH * again)
        return max(ALIGNED, SHORT_BYTES // per_column, WORTH * again)

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of the largest level's tensor, for a picture `width` pixels wide."""
        per_pixel = max(w >> k for k, w in enumerate(self.widths))
        return max(1, per_pixel) * width * self.dtype.itemsize

    def bands(self, width: int) -> list[int]:
        """Rows of a band of each level, multiples of 4, for a picture `width` pixels wide.

        While a coarser level waits for a band, more rows wait in finer levels; so its bands are
        smaller.
        """
        row = self.row_bytes(width)
        rows = min(BAND_BYTES // min(row, STRIP_BYTES), WIDE_BYTES // row, MOST_ROWS)
        first, others = (max(FEWEST_ROWS, n) // 4 * 4 for n in (rows, rows // 2))
        return [first] + [others] * (len(self.encoder) - 1)

    def lags(self, bands: list[int]) -> list[int]:
        """For each level, how many of its rows its output can lag behind its input."""
        lags = [2 * len(self.encoder[-1].blocks)]
        for encode, band in zip(self.encoder[-2::-1], bands[:0:-1], strict=True):
            lags.insert(0, 4 * len(encode.blocks) + 2 * (lags[0] + band))
        return lags

    def peak_bytes(self, height: int, width: int) -> int:
        """The most bytes that a stream over a picture of this size takes, without the picture."""
        bands, total = self.bands(width), 0
        lags = self.lags(bands)
        for level, (lag, band) in enumerate(zip(lags, bands, strict=True)):
            buffer = band + self.encoder[level].above + BELOW  # a piece of a skip keeps its buffer
            waiting = min(height >> level, lag + 2 * band) * buffer // band
            rows = waiting + 4 * buffer
            total += rows * (width >> level) * self.widths[level] * self.dtype.itemsize
        band = bands[0]
        total += 4 * (band + 4) * self.row_bytes(width)  # of the level being computed
        picture = min(height, lags[0] + 4 * band) * width * self.channels * 8
        larger = self.scale**2 - 1  # a band's result, its interpolation and what is added to it
        picture += 4 * (band + 4) * width * self.channels * 4 * larger
        return int(SPARE * (total + picture)) + OWN_BYTES
