"""A network over a picture in bands of rows: each row of each layer is computed once.

A band goes through all layers of its level while it is in the cache. The last rows of each layer's
input are kept for the next band; the input of the next coarser level is collected until it fills a
band there. So the result lags some hundred rows behind the input, no row is computed twice, there
is no halo above or below, and memory does not grow with the height.

A band is split into strips of columns. Each core computes one strip through all blocks of a level,
with the few columns around it that these blocks depend on. So the cores wait for each other once a
level, not at each layer, and each writes its own part of the result.

The sums are those of the untiled network, including its zero padding around the picture.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.engine.backend import NotFiniteError
from restore.engine.rows.buffers import (
    MemoryPool,
    Queue,
    RowBuffer,
    RowHistory,
    Rows,
    as_image,
    stack,
)
from restore.engine.rows.convolution import Upsampling
from restore.engine.rows.layers import Chain, Layers, Pair
from restore.engine.rows.workers import Workers
from restore.engine.tiling import Span

Found = TypeVar("Found")
# Takes (first row, first column, pixels of the result): float32 `(m, columns, channels)`, each
# pixel once. It is called on several threads at once, for different columns of the same rows; the
# rows come in order, a multiple of the scale.
Write = Callable[[int, int, Tensor], None]
Pools = tuple[MemoryPool, MemoryPool]
Finish = Callable[[slice, Tensor], None]  # columns, and the output of the last layer there


class Stream:
    """One run of the network over a picture, from its first row to its last."""

    def __init__(self, layers: Layers, width: int, workers: Workers, write: Write) -> None:
        """width: of the rows, a multiple of the network's `multiple_of`; write: see `Write`."""
        bands = layers.bands(width)
        self.layers, self.rows, self.write = layers, bands[0], write
        # so that the first level has a full band
        self.first_rows = self.rows + 1 + 2 * len(layers.encoder[0].blocks) + layers.context
        pools = MemoryPool(), MemoryPool()
        self._level = _Level(layers, 0, width, bands, workers, pools)
        self._picture = _InputRows(layers.context, width)
        self._entered = self._finished = 0

    def push(self, rows: Tensor, last: bool) -> None:
        """Take more rows of the picture; rows of the result are written as soon as they are ready.

        rows: float32 `(n, width, channels)` in [0, 1]: first `first_rows` of them, then `rows` each
              time, and with `last` all that remain; the total height must be a multiple of the
              network's `multiple_of`
        Raises NotFiniteError if half precision overflowed.
        """
        layers = self.layers
        # in this order, for the strides of a batch of one
        self._picture.add(rows[None].permute(0, 3, 1, 2))
        begin, self._entered = self._entered, self._picture.last - (0 if last else layers.context)
        around, own, _ = self._picture.around(begin, self._entered)
        rows_in = Rows([layers.preprocess(around)[:, :, own]])
        for finished, _ in self._level.push([rows_in], last, self._finish):
            self._finished += finished.count
            self._picture.forget(self._finished)

    def _finish(self, columns: slice, output: Tensor) -> None:
        """Write some columns of the next rows of the result, from the output of the last layer."""
        rows = slice(self._finished, self._finished + output.shape[2])
        around, own, beside = self._picture.around(rows.start, rows.stop, columns)
        result = self.layers.postprocess(around, output, own, beside)
        scale = self.layers.scale
        self.write(rows.start * scale, columns.start * scale, result[0].permute(1, 2, 0))


class _InputRows:
    """Rows of the picture, kept for as long as `postprocess` needs them."""

    def __init__(self, reach: int, width: int) -> None:
        """reach: radius in pixels of the neighbourhood that is needed for each pixel."""
        self.reach, self.width = reach, width
        self.pieces: deque[Tensor] = deque()
        self.first = self.last = 0

    def add(self, rows: Tensor) -> None:
        """Append the next rows, `(1, C, rows, W)`."""
        self.pieces.append(rows)
        self.last += rows.shape[2]

    def around(
        self, first: int, last: int, columns: slice | None = None
    ) -> tuple[Tensor, slice, slice]:
        """Rows [first, last) and columns with their neighbourhood, and their position in it.

        columns: None for all
        """
        begin, end = max(0, first - self.reach), min(self.last, last + self.reach)
        own = columns or slice(0, self.width)
        left, right = max(0, own.start - self.reach), min(self.width, own.stop + self.reach)
        parts, at = [], self.first
        for piece in self.pieces:
            part = piece[:, :, max(0, begin - at) : max(0, end - at), left:right]
            if part.shape[2]:
                parts.append(part)
            at += piece.shape[2]
        rows = parts[0]
        if len(parts) > 1:
            lines = torch.empty((end - begin, rows.shape[3], rows.shape[1]))
            stack([Rows([part]) for part in parts], slice(0, rows.shape[3]), lines)
            rows = as_image(lines)
        return rows, slice(first - begin, last - begin), slice(own.start - left, own.stop - left)

    def forget(self, before: int) -> None:
        """Drop the rows that are not needed for rows from `before` on."""
        while self.pieces and self.first + self.pieces[0].shape[2] <= before - self.reach:
            self.first += self.pieces.popleft().shape[2]


class _Block:
    """x + conv2(relu(conv1(x))); its output lags two rows behind its input."""

    def __init__(self, convolutions: Pair, framed: bool) -> None:
        self.conv1, self.conv2 = convolutions
        self.framed, self.history = framed, RowHistory(2, framed)
        self.started = False

    def push(self, buffer: RowBuffer, last: bool, scratch: MemoryPool) -> bool:
        """Replace the rows by the output; False if there is no output yet."""
        x = self.history.around(buffer, last, scratch)
        if x is None:
            return False
        y = self.conv1(x.image, relu=True)
        # The network pads each layer with zeros, not with the previous layer's output there.
        if not self.started:
            y[:, :, 0] = 0
        if last:
            y[:, :, -1] = 0
        if self.framed:
            y[:, :, :, 0] = 0
            y[:, :, :, buffer.width + 1 :] = 0
        self.started = True
        self.conv2.added_to(buffer.rows, y)
        return True


class _Strip:
    """Some columns that one core computes through a chain of layers."""

    def __init__(self, span: Span, chain: Chain, dtype: torch.dtype, pools: Pools) -> None:
        """pools: for rows that are kept, and for temporary ones."""
        self.span, self.chain, self.dtype = span, chain, dtype
        self.pool, self.scratch = pools
        self.blocks = [_Block(pair, chain.framed) for pair in chain.blocks]
        self.before, self.after = (
            RowHistory(1, chain.framed) for _ in range(2)
        )  # of head and tail

    def _buffer(self, rows: int, channels: int, pool: MemoryPool) -> RowBuffer:
        """A buffer for rows of its columns."""
        window, chain = self.span.window, self.chain
        shape = (rows, window, channels)
        return RowBuffer(pool, shape, self.dtype, chain.above, chain.pitch(window))

    def encoder_input(self, pieces: Sequence[Rows], last: bool) -> RowBuffer | None:
        """Its columns, through the head if there is one; None if there are too few rows."""
        count, channels = sum(piece.count for piece in pieces), pieces[0].parts[0].shape[1]
        head = self.chain.head
        if head is None:
            return self._buffer(count, channels, self.pool).fill(pieces, self.span.read)
        picture = self._buffer(count, channels, self.scratch).fill(pieces, self.span.read)
        x = self.before.around(picture, last, self.scratch)
        if x is None:
            return None
        buffer = self._buffer(x.image.shape[2] - 2, len(head.weight), self.pool)
        buffer.lines[:] = 0 if head.bias is None else head.bias
        head.added_to(buffer.rows, x.image)
        return buffer

    def decoder_input(self, up: Upsampling, skips: Sequence[Rows], coarse: Rows) -> RowBuffer:
        """The decoder's input: rows of the skip plus the upsampled rows of the coarser level."""
        columns = slice(self.span.read.start // 2, self.span.read.stop // 2)
        x = coarse.joined(columns).contiguous(memory_format=torch.channels_last)
        buffer = self._buffer(2 * coarse.count, up.outputs, self.pool)
        for row in (0, 1):
            lines = buffer.lines[row::2, : buffer.width]
            stack([skip.every_other(row) for skip in skips], self.span.read, lines, up(x, row))
        return buffer

    def compute(self, buffer: RowBuffer, last: bool) -> Tensor | None:
        """Compute the blocks, and the tail if there is one; None if there is no output yet.

        Returns all of its columns; those outside its core are wrong.
        """
        if not all(block.push(buffer, last, self.scratch) for block in self.blocks):
            return None
        if self.chain.tail is None:
            return buffer.rows
        x = self.after.around(buffer, last, self.scratch)
        if x is None:
            return None
        output = self.chain.tail(x.image).float()
        # a sum is finite only if all of its terms are, and takes half as long as testing each
        if not math.isfinite(output.sum()):
            raise NotFiniteError
        return output


class _Level:
    """One level of the U-Net, with all coarser levels."""

    def __init__(
        self,
        layers: Layers,
        level: int,
        width: int,
        bands: list[int],
        workers: Workers,
        pools: Pools,
    ) -> None:
        """bands: rows of a band on each level; pools: see `_Strip`."""

        def strips(chain: Chain, pool: MemoryPool) -> list[_Strip]:
            spans = layers.strips(width, level, chain, workers.count)
            return [_Strip(span, chain, layers.dtype, (pool, scratch)) for span in spans]

        pool, scratch = pools
        self.band, self.workers = bands[level], workers
        self.encoder = strips(layers.encoder[level], pool)
        self.inner: _Level | None = None
        if level + 1 < len(layers.encoder):
            self.decoder = strips(layers.decoder[level], scratch)
            self.down, self.up = layers.downs[level], layers.ups[level]
            self.inner = _Level(layers, level + 1, width // 2, bands, workers, pools)
            self.skips, self.waiting = Queue(), Queue()

    def push(
        self, pieces: Sequence[Rows], last: bool, finish: Finish | None = None
    ) -> Iterator[tuple[Rows, bool]]:
        """Take rows, an even count unless they are the last; yield bands of this level's output.

        finish: called with the outputs of the tail, on the thread that computed them; not stored,
                as a reference cycle would keep the memory of a finished picture

        The outputs of coarser levels are large: they are split into bands again, which the finer
        level processes while they are in the cache. The flag tells whether a band is the last.
        """
        encoded = self._each(self.encoder, partial(self._encode, pieces, last, finish))
        if not encoded:
            return
        own = Rows([part for part, _, _ in encoded], [buffer for _, buffer, _ in encoded])
        if self.inner is None:
            yield own, last
            return
        self.skips.add(own)
        self.waiting.add(Rows([shrunk for _, _, shrunk in encoded if shrunk is not None]))
        del encoded, own
        ready = (
            self.waiting.count if last else self.waiting.count // self.inner.band * self.inner.band
        )
        if not ready:
            return
        for grown, ended in self.inner.push(self.waiting.take(ready), last):
            for piece, final in grown.cut(self.band // 2):
                skips = self.skips.take(2 * piece.count)
                found = self._each(
                    self.decoder, partial(self._decode, skips, piece, ended and final, finish)
                )
                if found:
                    parts, buffers = zip(*found, strict=True)
                    yield Rows(parts, buffers), ended and final

    def _encode(
        self, pieces: Sequence[Rows], last: bool, finish: Finish | None, strip: _Strip
    ) -> tuple[Tensor, RowBuffer, Tensor | None] | None:
        """The strip's core, the buffer that holds it, and the input of the next level."""
        buffer = strip.encoder_input(pieces, last)
        x = None if buffer is None else strip.compute(buffer, last)
        if buffer is None or x is None:
            return None
        own = _own(strip, x, finish)
        if self.inner is None:
            return own, buffer, None
        crop = strip.span.crop()
        half = slice(crop.start // 2, crop.stop // 2)
        return own, buffer, F.conv2d(x, self.down, stride=2)[..., half]

    def _decode(
        self,
        skips: Sequence[Rows],
        piece: Rows,
        last: bool,
        finish: Finish | None,
        strip: _Strip,
    ) -> tuple[Tensor, RowBuffer] | None:
        buffer = strip.decoder_input(self.up, skips, piece)
        x = strip.compute(buffer, last)
        return None if x is None else (_own(strip, x, finish), buffer)

    def _each(
        self, strips: Sequence[_Strip], work: Callable[[_Strip], Found | None]
    ) -> list[Found]:
        """The results of a function for each strip; empty if there are too few rows."""
        found = self.workers.run([partial(work, strip) for strip in strips])
        return [one for one in found if one is not None]


def _own(strip: _Strip, x: Tensor, finish: Finish | None) -> Tensor:
    """The strip's core; the output of a tail is also passed to `finish`."""
    own = x[..., strip.span.crop()]
    if finish is not None and strip.chain.tail is not None:
        finish(strip.span.write(), own)
    return own
