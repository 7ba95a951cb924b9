"""Rows in parts, the buffer around them, and that memory is used again only when nobody looks."""

from __future__ import annotations

import torch
from torch import Tensor

from restore.engine.rows.buffers import MemoryPool, Queue, RowBuffer, Rows, stack


def numbered(rows: int, width: int) -> Tensor:
    """(1, 2, rows, width), all samples different."""
    return torch.arange(2.0 * rows * width).view(1, rows, width, 2).permute(0, 3, 1, 2)


def held(pool: MemoryPool, rows: Rows, width: int, dtype: torch.dtype = torch.float32) -> RowBuffer:
    """The first columns in a buffer of their own."""
    return RowBuffer(pool, (rows.count, width, 2), dtype).fill([rows], slice(0, width))


def test_columns_come_from_the_parts_they_lie_in() -> None:
    whole = numbered(3, 20)
    rows = Rows([whole[..., :7], whole[..., 7:8], whole[..., 8:]])
    for first in range(20):
        for last in range(first + 1, 21):
            columns = slice(first, last)
            assert torch.equal(rows.joined(columns), whole[..., columns])
            width = last - first
            buffer = RowBuffer(MemoryPool(), (3, width, 2), whole.dtype, above=2, pitch=width + 3)
            buffer.fill([rows.only(0, 1), rows.only(1, 3)], columns)
            assert torch.equal(buffer.rows[..., :width], whole[..., columns])
            assert (buffer.rows[..., width:] == 0).all()  # finite, whatever was there before
            assert buffer.first == 2 and buffer.rows.is_contiguous(
                memory_format=torch.channels_last
            )
            lines = torch.zeros(3, width, 2)
            stack([rows], columns, lines, buffer.lines[:, :width])
            assert torch.equal(lines, 2 * buffer.lines[:, :width])


def test_a_queue_gives_rows_in_order_in_any_pieces() -> None:
    whole, queue, found, at = numbered(30, 4), Queue(), [], 0
    for count in (4, 1, 9, 2, 14):
        queue.add(Rows([whole[:, :, at : at + count]]))
        at += count
    for count in (3, 3, 11, 13):
        found += [piece.parts[0] for piece in queue.take(count)]
    assert queue.count == 0
    assert torch.equal(torch.cat(found, 2), whole)


def test_memory_is_used_again_when_nobody_looks_at_it_and_not_before() -> None:
    pool, whole = MemoryPool(), numbered(3, 20)
    given = Rows([whole])
    buffer = held(pool, given, 20)
    place = buffer.samples.data_ptr()
    kept = Rows([buffer.rows], [buffer])
    part = kept.only(1, 2)
    queue = Queue()
    queue.add(part)
    del buffer, kept, part
    other = held(pool, given, 20)
    assert other.samples.data_ptr() != place  # rows of the first are waiting
    queue.take(1)
    assert held(pool, given, 19).samples.data_ptr() == place


def test_kinds_of_samples_do_not_share_memory() -> None:
    pool, given = MemoryPool(), Rows([numbered(2, 4)])
    held(pool, given, 4)
    half = held(pool, given, 4, torch.bfloat16)
    assert half.rows.dtype == torch.bfloat16
    assert torch.equal(half.rows.float(), given.parts[0])
