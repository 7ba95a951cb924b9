"""Rows of a layer on their way through a network: side by side, with room around, held, waiting."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from restore.engine.rows.layers import BELOW
from restore.engine.tiling import round_up

PIECE = 2**16  # samples; bands that differ by less share their memory


class MemoryPool:
    """Memory of bands that are done, for the next ones: fresh memory costs as much as a layer."""

    def __init__(self) -> None:
        """Empty."""
        self._free: dict[tuple[int, torch.dtype], list[Tensor]] = defaultdict(list)

    def take(self, size: int, dtype: torch.dtype) -> Tensor:
        """At least so many samples, `(n,)`; what they hold is left over."""
        size = round_up(size, PIECE)
        try:
            return self._free[size, dtype].pop()  # one step, so that threads need no lock
        except IndexError:
            return torch.empty(size, dtype=dtype)

    def give(self, samples: Tensor) -> None:
        """Take back what `take` gave; nobody looks at it any more."""
        self._free[len(samples), samples.dtype].append(samples)


class Rows:
    """Some rows over the whole width, as parts side by side: `(1, C, rows, columns)` each."""

    def __init__(self, parts: Sequence[Tensor], rooms: Sequence[RowBuffer] = ()) -> None:
        """parts: from left to right, of the same rows; not copied. rooms: whose memory they are."""
        self.parts, self.rooms = parts, rooms
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
        """These columns as one tensor; a copy only where they lie in several parts."""
        found = list(self.between(columns))
        return found[0] if len(found) == 1 else torch.cat(found, 3)

    def only(self, first: int, last: int) -> Rows:
        """Rows [first, last) of these."""
        return Rows([part[:, :, first:last] for part in self.parts], self.rooms)

    def every_other(self, first: int) -> Rows:
        """Of an even count of rows the even ones (first 0) or the odd ones (first 1)."""
        return Rows([part[:, :, first::2] for part in self.parts], self.rooms)

    def cut(self, count: int) -> Iterator[tuple[Rows, bool]]:
        """Pieces of `count` rows; the flag says which is the last."""
        for begin in range(0, self.count, count):
            yield self.only(begin, begin + count), begin + count >= self.count


def stack(
    pieces: Sequence[Rows], columns: slice, lines: Tensor, more: Tensor | None = None
) -> None:
    """Write these columns of rows one below the other into `(rows, columns, C)`.

    more: the same shape, added on the way
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
    """`(rows, columns, C)` as `(1, C, rows, columns)`, channels last; not a copy."""
    return lines[None].permute(0, 3, 1, 2)


class PooledRows:
    """Memory of the pool, which goes back to it when nobody keeps this any more."""

    def __init__(self, pool: MemoryPool, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
        """shape: (rows, columns, channels); what is in it is left over."""
        self.pool = pool
        self.samples = pool.take(math.prod(shape), dtype)
        self.memory = self.samples[: math.prod(shape)].view(shape)

    def __del__(self) -> None:
        """Give the memory back, where there was any to have."""
        if hasattr(self, "samples"):
            self.pool.give(self.samples)


class RowBuffer(PooledRows):
    """Rows of some columns, with room above and below for those that the next layers look at.

    The layers work where the rows lie, so that a band is copied in once for a row of blocks. There
    may be a few columns more than asked for; what they hold is finite and nobody looks at it.
    `Rows` in it must keep it.
    """

    def __init__(
        self,
        pool: MemoryPool,
        shape: tuple[int, int, int],
        dtype: torch.dtype,
        above: int = 0,
        pitch: int | None = None,
    ) -> None:
        """RowBuffer for (rows, columns, channels); pitch: columns in memory, None for no more."""
        rows, self.width, channels = shape
        columns = self.width if pitch is None else pitch
        super().__init__(pool, (above + rows + BELOW, columns, channels), dtype)
        self.first, self.last = above, above + rows
        if columns > self.width:
            self.memory[:, self.width :] = 0

    def fill(self, pieces: Sequence[Rows], columns: slice) -> RowBuffer:
        """Copy these columns of rows, one below the other."""
        stack(pieces, columns, self.lines[:, : self.width])
        return self

    @property
    def lines(self) -> Tensor:
        """The rows as `(rows, columns, C)`, with the columns too many; not a copy."""
        return self.memory[self.first : self.last]

    @property
    def rows(self) -> Tensor:
        """The same as `(1, C, rows, columns)`."""
        return as_image(self.lines)


class LayerInput(NamedTuple):
    """What a layer looks at, `(1, C, rows, columns)`, and whose memory that is."""

    image: Tensor
    owner: PooledRows


class RowHistory:
    """The rows that a layer still needs, and zeros around the picture."""

    def __init__(self, reach: int, framed: bool) -> None:
        """reach: how many rows and columns around one the layer looks at; framed: as a chain is."""
        self.reach, self.framed = reach, framed
        self.held: Tensor | None = None

    def around(self, room: RowBuffer, last: bool, scratch: MemoryPool) -> LayerInput | None:
        """The rows with what was held above them, and `reach` of zeros at the picture's ends.

        The rows that the layer answers for, held ones among them, are what the room has then. None
        where these are too few for a row of the answer.
        """
        above = self.reach if self.held is None else len(self.held)
        below = self.reach if last else 0
        seen, owner = (self._copied if self.framed else self._joined)(room, above, below, scratch)
        seen[:above] = 0 if self.held is None else self.held
        seen[len(seen) - below :] = 0
        few = len(seen) <= 2 * self.reach
        self.held = (seen if few else seen[-2 * self.reach :]).clone()
        again = above - self.reach
        if self.framed:
            inner = slice(self.reach, self.reach + room.memory.shape[1])
            room.memory[room.first - again : room.first] = seen[self.reach : above, inner]
        room.first -= again
        room.last -= self.reach - below
        return None if few else LayerInput(as_image(seen), owner)

    def _joined(
        self, room: RowBuffer, above: int, below: int, scratch: MemoryPool
    ) -> tuple[Tensor, PooledRows]:
        """Where they lie."""
        return room.memory[room.first - above : room.last + below], room

    def _copied(
        self, room: RowBuffer, above: int, below: int, scratch: MemoryPool
    ) -> tuple[Tensor, PooledRows]:
        """In a copy with zeros beside."""
        reach, width, lines = self.reach, room.width, room.lines
        shape = (above + len(lines) + below, lines.shape[1] + 2 * reach, lines.shape[2])
        found = PooledRows(scratch, shape, lines.dtype)
        rows = found.memory[above : above + len(lines)]
        rows[:, :reach] = 0
        rows[:, reach + width :] = 0
        rows[:, reach : reach + width] = lines[:, :width]
        return found.memory, found


class Queue:
    """Rows in order, put in and taken out in pieces of different sizes."""

    def __init__(self) -> None:
        """Empty."""
        self.pieces: deque[Rows] = deque()
        self.count = 0

    def add(self, rows: Rows) -> None:
        """At the end."""
        self.pieces.append(rows)
        self.count += rows.count

    def take(self, count: int) -> list[Rows]:
        """The first `count` rows."""
        found: list[Rows] = []
        self.count -= count
        while count:
            piece = self.pieces.popleft()
            if piece.count > count:
                self.pieces.appendleft(piece.only(count, piece.count))
                piece = piece.only(0, count)
            found.append(piece)
            count -= piece.count
        return found
