"""Rows of a layer on their way through a network: side by side, with room around, held, waiting."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from restore.inference.layers import BELOW
from restore.inference.tiling import round_up

PIECE = 2**16  # samples; bands that differ by less share their memory


class Pool:
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

    def __init__(self, parts: Sequence[Tensor], rooms: Sequence[Room] = ()) -> None:
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

    def cut(self, count: int) -> Iterator[tuple[Rows, bool]]:
        """Pieces of `count` rows; the flag says which is the last."""
        for begin in range(0, self.count, count):
            yield self.only(begin, begin + count), begin + count >= self.count


def stack(pieces: Sequence[Rows], columns: slice, lines: Tensor) -> None:
    """Write these columns of rows one below the other into `(rows, columns, C)`."""
    begin = 0
    for piece in pieces:
        at = 0
        for part in piece.between(columns):
            lines[begin : begin + piece.count, at : at + part.shape[3]] = part[0].permute(1, 2, 0)
            at += part.shape[3]
        begin += piece.count


class Room:
    """Rows with room above and below, for those that the next layers need around them.

    The layers work where the rows lie, so that a band is copied once for a row of blocks. Its
    memory goes back to the pool with the last of those who keep the room, or `Rows` in it.
    """

    def __init__(
        self,
        pieces: Sequence[Rows],
        columns: slice,
        pool: Pool,
        above: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        """These columns of rows one below the other, copied, channels last."""
        like = pieces[0].parts[0]
        rows, width = sum(piece.count for piece in pieces), columns.stop - columns.start
        self.first, self.last = above, above + rows
        shape = (above + rows + BELOW, width, like.shape[1])
        self.pool, self.samples = pool, pool.take(math.prod(shape), dtype or like.dtype)
        lines = self.samples[: math.prod(shape)].view(shape)
        stack(pieces, columns, lines[above : above + rows])
        self.memory = lines[None].permute(0, 3, 1, 2)

    def __del__(self) -> None:
        """Give the memory back, where there was any to have."""
        if hasattr(self, "samples"):
            self.pool.give(self.samples)

    @property
    def rows(self) -> Tensor:
        """The rows themselves, `(1, C, rows, columns)`; not a copy."""
        return self.memory[:, :, self.first : self.last]


class Held:
    """The rows that a layer still needs, and rows of zeros above and below the picture."""

    def __init__(self, reach: int) -> None:
        """reach: how many rows above and below one the layer looks at."""
        self.reach = reach
        self.held: Tensor | None = None

    def join(self, room: Room, last: bool) -> Tensor | None:
        """Put what was held above the rows, and `reach` of zeros at either end of the picture.

        None where these are too few for a row of the answer.
        """
        above = self.reach if self.held is None else self.held.shape[2]
        room.first -= above
        room.memory[:, :, room.first : room.first + above] = 0 if self.held is None else self.held
        if last:
            room.memory[:, :, room.last : room.last + self.reach] = 0
            room.last += self.reach
        x = room.rows
        few = x.shape[2] <= 2 * self.reach
        kept = x if few else x[:, :, -2 * self.reach :]
        self.held = kept.clone(memory_format=torch.channels_last)
        return None if few else x


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
