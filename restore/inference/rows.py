"""Rows of a layer on their way through a network: side by side, with room around, held, waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from restore.inference.layers import BELOW


class Rows:
    """Some rows over the whole width, as parts side by side: `(1, C, rows, columns)` each."""

    def __init__(self, parts: Sequence[Tensor]) -> None:
        """parts: from left to right, of the same rows; not copied."""
        self.parts = parts
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
        return Rows([part[:, :, first:last] for part in self.parts])

    def cut(self, count: int) -> Iterator[tuple[Rows, bool]]:
        """Pieces of `count` rows; the flag says which is the last."""
        for begin in range(0, self.count, count):
            yield self.only(begin, begin + count), begin + count >= self.count


class Room:
    """Rows with room above and below, for those that the next layers need around them.

    The layers work where the rows lie, so that a band is copied once for a row of blocks.
    """

    def __init__(
        self,
        pieces: Sequence[Rows],
        columns: slice,
        above: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        """These columns of rows one below the other, copied, channels last."""
        like = pieces[0].parts[0]
        self.first = self.last = above
        height = above + sum(piece.count for piece in pieces) + BELOW
        width = columns.stop - columns.start
        lines = torch.empty((height, width, like.shape[1]), dtype=dtype or like.dtype)
        for piece in pieces:
            begin, self.last = self.last, self.last + piece.count
            at = 0
            for part in piece.between(columns):
                lines[begin : self.last, at : at + part.shape[3]] = part[0].permute(1, 2, 0)
                at += part.shape[3]
        self.memory = lines[None].permute(0, 3, 1, 2)

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
