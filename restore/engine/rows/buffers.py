"""Buffers, history and queues for the rows of a layer."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from restore.engine.rows.layers import BELOW
from restore.engine.tiling import round_up

PIECE = 2**16  # samples; sizes are rounded up to this, so that similar bands can reuse memory


class MemoryPool:
    """Reuses memory of finished bands: allocating new memory takes as long as a layer."""

    def __init__(self) -> None:
        """Create an empty pool."""
        self._free: dict[tuple[int, torch.dtype], list[Tensor]] = defaultdict(list)

    def take(self, size: int, dtype: torch.dtype) -> Tensor:
        """At least `size` uninitialised samples, `(n,)`."""
        size = round_up(size, PIECE)
        try:
            return self._free[size, dtype].pop()  # atomic, so that threads need no lock
        except IndexError:
            return torch.empty(size, dtype=dtype)

    def give(self, samples: Tensor) -> None:
        """Return samples of `take` to the pool."""
        self._free[len(samples), samples.dtype].append(samples)


class Rows:
    """Rows over the whole width, as parts side by side, each `(1, C, rows, columns)`."""

    def __init__(self, parts: Sequence[Tensor], buffers: Sequence[RowBuffer] = ()) -> None:
        """parts: of the same rows, from left to right, not copied; buffers: are kept alive."""
        self.parts, self.buffers = parts, buffers
        self.count = parts[0].shape[2]

    def between(self, columns: slice) -> Iterator[Tensor]:
        """Views of the parts that lie in these columns, from left to right."""
        at = 0
        for part in self.parts:
            width = part.shape[3]
            first, last = max(0, columns.start - at), min(width, columns.stop - at)
            if first < last:
                yield part[:, :, :, first:last]
            at += width

    def joined(self, columns: slice) -> Tensor:
        """These columns as one tensor; copied only if they lie in several parts."""
        parts = list(self.between(columns))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 3)

    def only(self, first: int, last: int) -> Rows:
        """Rows [first, last)."""
        return Rows([part[:, :, first:last] for part in self.parts], self.buffers)

    def every_other(self, first: int) -> Rows:
        """The even rows (first 0) or the odd rows (first 1) of an even count of rows."""
        return Rows([part[:, :, first::2] for part in self.parts], self.buffers)

    def cut(self, count: int) -> Iterator[tuple[Rows, bool]]:
        """Pieces of `count` rows, and whether each is the last."""
        for begin in range(0, self.count, count):
            yield self.only(begin, begin + count), begin + count >= self.count


def stack(
    pieces: Sequence[Rows], columns: slice, lines: Tensor, more: Tensor | None = None
) -> None:
    """Write these columns of the pieces, one below the other, into `lines` `(rows, columns, C)`.

    more: the same shape, added to them
    """
    begin = 0
    for piece in pieces:
        at, rows = 0, slice(begin, begin + piece.count)
        for part in piece.between(columns):
            where = slice(at, at + part.shape[3])
            if more is None:
                lines[rows, where] = part[0].permute(1, 2, 0)
            else:
                torch.add(part[0].permute(1, 2, 0), more[rows, where], out=lines[rows, where])
            at = where.stop
        begin = rows.stop


def as_image(lines: Tensor) -> Tensor:
    """A view of `(rows, columns, C)` as `(1, C, rows, columns)`, channels last."""
    return lines[None].permute(0, 3, 1, 2)


class PooledRows:
    """Memory of a pool, returned to it when this object is deleted."""

    def __init__(self, pool: MemoryPool, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
        """shape: (rows, columns, channels); not initialised."""
        self.pool = pool
        self.samples = pool.take(math.prod(shape), dtype)
        self.memory = self.samples[: math.prod(shape)].view(shape)

    def __del__(self) -> None:
        """Return the memory, if `__init__` got that far."""
        if hasattr(self, "samples"):
            self.pool.give(self.samples)


class RowBuffer(PooledRows):
    """Rows of some columns, with space above and below for the context of the next layers.

    The layers work in place, so a band is copied once for a whole chain of blocks. There may be a
    few extra columns, whose values are finite and unused. `Rows` that lie in a buffer must hold a
    reference to it.
    """

    def __init__(
        self,
        pool: MemoryPool,
        shape: tuple[int, int, int],
        dtype: torch.dtype,
        above: int = 0,
        pitch: int | None = None,
    ) -> None:
        """shape: (rows, columns, channels); pitch: columns in memory, None: the same."""
        rows, self.width, channels = shape
        columns = self.width if pitch is None else pitch
        super().__init__(pool, (above + rows + BELOW, columns, channels), dtype)
        self.first, self.last = above, above + rows
        if columns > self.width:
            self.memory[:, self.width :] = 0

    def fill(self, pieces: Sequence[Rows], columns: slice) -> RowBuffer:
        """Copy these columns of the pieces, one below the other."""
        stack(pieces, columns, self.lines[:, : self.width])
        return self

    @property
    def lines(self) -> Tensor:
        """A view of the rows, `(rows, columns, C)`, with the extra columns."""
        return self.memory[self.first : self.last]

    @property
    def rows(self) -> Tensor:
        """The same as `(1, C, rows, columns)`."""
        return as_image(self.lines)


class LayerInput(NamedTuple):
    """The input of a layer, `(1, C, rows, columns)`, and the owner of its memory."""

    image: Tensor
    owner: PooledRows


class RowHistory:
    """The last rows of a layer's input, kept for the next band; zeros at the picture's edges."""

    def __init__(self, reach: int, framed: bool) -> None:
        """reach: radius of the layer's receptive field in rows; framed: see `Chain`."""
        self.reach, self.framed = reach, framed
        self.kept: Tensor | None = None

    def around(self, buffer: RowBuffer, last: bool, scratch: MemoryPool) -> LayerInput | None:
        """The rows with the kept rows above them, and `reach` rows of zeros at the picture's edges.

        Afterwards the buffer holds the rows for which the layer has an output, including kept rows.
        None if there are too few rows for a row of output.
        """
        above = self.reach if self.kept is None else len(self.kept)
        below = self.reach if last else 0
        rows_in, owner = (self._copied if self.framed else self._joined)(
            buffer, above, below, scratch
        )
        rows_in[:above] = 0 if self.kept is None else self.kept
        rows_in[len(rows_in) - below :] = 0
        few = len(rows_in) <= 2 * self.reach
        self.kept = (rows_in if few else rows_in[-2 * self.reach :]).clone()
        again = above - self.reach
        if self.framed:
            inner = slice(self.reach, self.reach + buffer.memory.shape[1])
            buffer.memory[buffer.first - again : buffer.first] = rows_in[self.reach : above, inner]
        buffer.first -= again
        buffer.last -= self.reach - below
        return None if few else LayerInput(as_image(rows_in), owner)

    def _joined(
        self, buffer: RowBuffer, above: int, below: int, scratch: MemoryPool
    ) -> tuple[Tensor, PooledRows]:
        """The rows and their context, in place."""
        return buffer.memory[buffer.first - above : buffer.last + below], buffer

    def _copied(
        self, buffer: RowBuffer, above: int, below: int, scratch: MemoryPool
    ) -> tuple[Tensor, PooledRows]:
        """The rows and their context, in a copy with zeros to the left and right."""
        reach, width, lines = self.reach, buffer.width, buffer.lines
        shape = (above + len(lines) + below, lines.shape[1] + 2 * reach, lines.shape[2])
        copy = PooledRows(scratch, shape, lines.dtype)
        rows = copy.memory[above : above + len(lines)]
        rows[:, :reach] = 0
        rows[:, reach + width :] = 0
        rows[:, reach : reach + width] = lines[:, :width]
        return copy.memory, copy


class Queue:
    """Rows in order, added and taken in pieces of different sizes."""

    def __init__(self) -> None:
        """Create an empty queue."""
        self.pieces: deque[Rows] = deque()
        self.count = 0

    def add(self, rows: Rows) -> None:
        """Append rows."""
        self.pieces.append(rows)
        self.count += rows.count

    def take(self, count: int) -> list[Rows]:
        """Remove and return the first `count` rows."""
        taken: list[Rows] = []
        self.count -= count
        while count:
            piece = self.pieces.popleft()
            if piece.count > count:
                self.pieces.appendleft(piece.only(count, piece.count))
                piece = piece.only(0, count)
            taken.append(piece)
            count -= piece.count
        return taken
