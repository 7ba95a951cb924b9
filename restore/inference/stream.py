"""A network over a picture in bands of rows: each row of each layer is computed once.

A band goes through all layers of its level while it lies in the cache. What the next band needs of
this one (the last rows of each layer's input) is kept; what a level hands to the next coarser one
is gathered until it makes a band there. So the result lags behind the input by some hundred rows,
no row is computed twice, there is no halo above or below, and memory does not grow with the height.
A band is cut into strips of columns, which go through the blocks of a level one by one, or one on
each core, with the few columns around them that these blocks look at: small rows are faster, and
the cores wait for each other once a level and not at each layer.
The sums are those of the untiled network, zeros beyond the picture included.
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

from restore.inference.layers import Chain, Layers, Pair
from restore.inference.rows import Held, Pool, Queue, Room, Rows, stack
from restore.inference.tiling import Span
from restore.inference.workers import Workers

Found = TypeVar("Found")


class NotFiniteError(Exception):
    """A layer in half precision overflowed: the answer holds an infinity or NaN."""


class Stream:
    """One picture going through, from its first row to its last."""

    def __init__(self, layers: Layers, width: int, workers: Workers) -> None:
        """width: of all rows, a multiple of the network's `multiple_of`."""
        self.layers, self.rows = layers, layers.band(width)
        # so that a level gets a band
        self.first_rows = self.rows + 1 + 2 * len(layers.encoder[0].blocks) + layers.reach
        self._level = _Level(layers, 0, width, self.rows, workers, Pool())
        self._picture = _Picture(layers.reach)
        self._width = slice(0, width)
        self._entered = self._left = 0

    def push(self, rows: Tensor, last: bool) -> Iterator[Tensor]:
        """More rows of the picture in; the next rows of the result out, as they are ready.

        rows: float32 `(n, width, channels)` in [0, 1]: `first_rows` at first, then `rows` each
              time, and with `last` as many as remain, so that the whole height is a multiple of
              the network's `multiple_of`
        Yields float32 `(m, scale width, channels)`, in order; all that is left with `last`.
        Raises NotFiniteError where half precision overflowed.
        """
        layers = self.layers
        # in this order, for the stride of the one picture
        self._picture.add(rows[None].permute(0, 3, 1, 2))
        begin, self._entered = self._entered, self._picture.last - (0 if last else layers.reach)
        around, own = self._picture.around(begin, self._entered)
        seen = Rows([layers.enter(around)[:, :, own]])
        for found, _ in self._level.push([seen], last):
            yield self._result(found.joined(self._width))

    def _result(self, found: Tensor) -> Tensor:
        """The next rows of the result, from what the layers found in them."""
        begin, self._left = self._left, self._left + found.shape[2]
        around, own = self._picture.around(begin, self._left)
        result = self.layers.leave(around, found, own)
        self._picture.forget(self._left)
        return result[0].permute(1, 2, 0)


class _Picture:
    """Rows of the picture, as long as they are needed."""

    def __init__(self, reach: int) -> None:
        """reach: how many rows around a row are seen with it."""
        self.reach = reach
        self.pieces: deque[Tensor] = deque()
        self.first = self.last = 0

    def add(self, rows: Tensor) -> None:
        """The next rows, `(1, C, rows, W)`."""
        self.pieces.append(rows)
        self.last += rows.shape[2]

    def around(self, first: int, last: int) -> tuple[Tensor, slice]:
        """Rows [first, last) and those around them that there are; and where the former lie."""
        begin, end = max(0, first - self.reach), min(self.last, last + self.reach)
        found, at = [], self.first
        for piece in self.pieces:
            part = piece[:, :, max(0, begin - at) : max(0, end - at)]
            if part.shape[2]:
                found.append(part)
            at += piece.shape[2]
        rows = found[0]
        if len(found) > 1:
            lines = torch.empty((end - begin, rows.shape[3], rows.shape[1]))
            stack([Rows([part]) for part in found], slice(0, rows.shape[3]), lines)
            rows = lines[None].permute(0, 3, 1, 2)
        return rows, slice(first - begin, last - begin)

    def forget(self, before: int) -> None:
        """Rows that nothing from this row on looks at."""
        while self.pieces and self.first + self.pieces[0].shape[2] <= before - self.reach:
            self.first += self.pieces.popleft().shape[2]


class _Block:
    """x + conv2(relu(conv1(x))); two rows behind its input."""

    def __init__(self, convolutions: Pair) -> None:
        self.conv1, self.conv2 = convolutions
        self.held = Held(2)
        self.begun = False

    def push(self, room: Room, last: bool) -> bool:
        """The answer takes the place of the rows; False where there is none yet."""
        x = self.held.join(room, last)
        if x is None:
            return False
        y = self.conv1(x, relu=True)
        # The network pads each layer with zeros, not with what the layer makes of zeros.
        if not self.begun:
            y[:, :, 0] = 0
        if last:
            y[:, :, -1] = 0
        self.begun = True
        room.first, room.last = room.first + 2, room.last - 2
        self.conv2.added_to(room.rows, y)
        return True


class _Strip:
    """Some columns on their way through a chain of layers."""

    def __init__(self, span: Span, chain: Chain, dtype: torch.dtype, pool: Pool) -> None:
        self.span, self.chain, self.dtype, self.pool = span, chain, dtype, pool
        self.blocks = [_Block(pair) for pair in chain.blocks]
        self.before, self.after = Held(1), Held(1)  # of the head and the tail

    def enter(self, pieces: Sequence[Rows], last: bool) -> Room | None:
        """Its columns of the rows, through the head where there is one; None for too few rows."""
        if self.chain.head is None:
            return Room(pieces, self.span.read, self.pool, self.chain.above)
        room = Room(pieces, self.span.read, self.pool, 2, self.dtype)
        x = self.before.join(room, last)
        if x is None:
            return None
        seen = Rows([self.chain.head(x)])
        return Room([seen], slice(0, self.span.window), self.pool, self.chain.above)

    def go(self, room: Room, last: bool) -> Tensor | None:
        """Through the blocks, and the tail where there is one; None while there is no answer yet.

        All of its columns come back; those near the ends that are not its own are wrong.
        """
        if not all(block.push(room, last) for block in self.blocks):
            return None
        if self.chain.tail is None:
            return room.rows
        x = self.after.join(room, last)
        if x is None:
            return None
        found = self.chain.tail(x).float()
        # a sum shows what one of its terms is, and costs half of looking at each
        if self.dtype != torch.float32 and not math.isfinite(found.sum()):
            raise NotFiniteError
        return found


class _Level:
    """One level of the U and all below it."""

    def __init__(
        self,
        layers: Layers,
        level: int,
        width: int,
        band: int,
        workers: Workers,
        pool: Pool,
    ) -> None:
        def strips(chain: Chain) -> list[_Strip]:
            spans = layers.strips(width, level, chain, workers.count)
            return [_Strip(span, chain, layers.dtype, pool) for span in spans]

        self.band, self.workers = band, workers
        self.encoder = strips(layers.encoder[level])
        self.inner: _Level | None = None
        if level + 1 < len(layers.encoder):
            self.decoder = strips(layers.decoder[level])
            self.down, self.up = layers.downs[level], layers.ups[level]
            self.inner = _Level(layers, level + 1, width // 2, band, workers, pool)
            self.skips, self.waiting = Queue(), Queue()

    def push(self, pieces: Sequence[Rows], last: bool) -> Iterator[tuple[Rows, bool]]:
        """An even count of rows in, unless they are the last; bands of the same level out.

        What comes out of the inner levels comes in large pieces: these are cut into bands again,
        and the level above gets each while it is warm. The flag says which band is the last.
        """
        encoded = self._each(self.encoder, partial(self._encode, pieces, last))
        if not encoded:
            return
        own = Rows([part for part, _, _ in encoded], [room for _, room, _ in encoded])
        if self.inner is None:
            yield own, last
            return
        self.skips.add(own)
        self.waiting.add(Rows([shrunk for _, _, shrunk in encoded if shrunk is not None]))
        del encoded, own
        ready = self.waiting.count if last else self.waiting.count // self.band * self.band
        if not ready:
            return
        for grown, ended in self.inner.push(self.waiting.take(ready), last):
            for piece, final in grown.cut(self.band // 2):
                skips = self.skips.take(2 * piece.count)
                found = self._each(
                    self.decoder, partial(self._decode, skips, piece, ended and final)
                )
                if found:
                    parts, rooms = zip(*found, strict=True)
                    yield Rows(parts, rooms), ended and final

    def _encode(
        self, pieces: Sequence[Rows], last: bool, strip: _Strip
    ) -> tuple[Tensor, Room, Tensor | None] | None:
        """The strip's own columns, the room they are in, and what the next level gets of them."""
        room = strip.enter(pieces, last)
        x = None if room is None else strip.go(room, last)
        if room is None or x is None:
            return None
        own = strip.span.crop()
        if self.inner is None:
            return x[..., own], room, None
        half = slice(own.start // 2, own.stop // 2)
        return x[..., own], room, F.conv2d(x, self.down, stride=2)[..., half]

    def _decode(
        self, skips: Sequence[Rows], piece: Rows, last: bool, strip: _Strip
    ) -> tuple[Tensor, Room] | None:
        room = Room(skips, strip.span.read, strip.pool, strip.chain.above)
        columns = slice(strip.span.read.start // 2, strip.span.read.stop // 2)
        self.up.added_to(room.rows, piece.joined(columns))
        x = strip.go(room, last)
        return None if x is None else (x[..., strip.span.crop()], room)

    def _each(
        self, strips: Sequence[_Strip], work: Callable[[_Strip], Found | None]
    ) -> list[Found]:
        """What the work gives for each strip; nothing while there are too few rows."""
        found = self.workers.run([partial(work, strip) for strip in strips])
        return [one for one in found if one is not None]
