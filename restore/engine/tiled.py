"""The backend for any network on any device: tiles in batches.

The cores of tiles are cut out and put side by side. Only those of a network that sees further than
its halo are blended.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from restore.engine.backend import (
    ArraySource,
    NotFiniteError,
    PaddedRows,
    Plan,
    Report,
    Sink,
    padded_for,
)
from restore.engine.compute import Resources
from restore.engine.memory import (
    ROW_BYTES,
    check_room,
    tile_bytes,
    tile_pixels,
    too_little_for_network,
    too_little_for_rows,
)
from restore.engine.prepare import prepare, smallest_tile, useful_tile
from restore.engine.seams import Seams
from restore.engine.tiling import Span, choose_window, split_axis
from restore.engine.transfer import Transfer
from restore.errors import InputError, OutOfMemoryError
from restore.image.picture import Pixels
from restore.models.network import Network


@dataclass(frozen=True)
class TilePlan(Plan):
    """A plan of `TileBackend`.

    pixels: the most pixels of a tile, halo included
    square: the side of a tile, if the user gave one; else None
    """

    pixels: int
    square: int | None


class TileBackend:
    """The backend that runs any network on any device, tile by tile."""

    def supports(self, network: Network, resources: Resources) -> bool:
        """True for every network."""
        return True

    def least_memory(self, network: Network, height: int, width: int, dtype: torch.dtype) -> int:
        """The bytes of one tile of the smallest size."""
        return int(smallest_tile(network) ** 2 * self.tile_bytes(network, dtype))

    def plan(
        self,
        network: Network,
        source: PaddedRows,
        resources: Resources,
        *,
        ordered: bool,
        failed: Plan | None = None,
    ) -> TilePlan:
        """The largest tiles that memory allows; after a failure, smaller batches, then tiles."""
        dtype, memory = resources.dtype, resources.memory
        most_rows = None
        if (
            ordered and memory is not None
        ):  # half for the rows that are buffered, half for the network
            per_pixel = self.tile_bytes(network, dtype)
            most_rows, memory = _most_rows(network, source, per_pixel, memory), memory // 2
        if isinstance(failed, TilePlan):
            pixels, square, batch = _smaller(network, failed)
        else:
            fitting = self.tile_pixels(network, resources, memory)
            square = resources.tile
            pixels = fitting if square is None else square**2
            batch = 1 if square is None else max(1, fitting // pixels)
        need = max(pixels, smallest_tile(network) ** 2) * self.tile_bytes(network, dtype)
        if memory is not None and need > memory:
            raise too_little_for_network(memory, need)
        height, width = _window(network, source, pixels, square)
        if most_rows is not None and height > most_rows:
            height, width = most_rows, min(source.width, pixels // most_rows)
            width = max(width, min(source.width, smallest_tile(network)))
        least = (height, width) if network.square else (network.minimum, network.minimum)
        rows = split_axis(source.height, height, network.halo, network.multiple_of, least[0])
        columns = split_axis(source.width, width, network.halo, network.multiple_of, least[1])
        memory = batch * rows[0].window * columns[0].window * self.tile_bytes(network, dtype)
        per_row = row_bytes(source) if ordered else 0
        memory += rows[0].window * (per_row + seam_bytes(network, source))
        return TilePlan(rows, columns, batch, resources.device, dtype, memory, pixels, square)

    def tile_bytes(self, network: Network, dtype: torch.dtype) -> int:
        """The most bytes that a pixel of a tile takes."""
        return tile_bytes(network, dtype)

    def tile_pixels(self, network: Network, resources: Resources, memory: int | None) -> int:
        """The most pixels of a tile, or of all tiles of a batch."""
        return tile_pixels(network, resources.device, resources.dtype, memory)

    def prepare(self, network: Network, plan: Plan) -> Network:
        """The network as it computes tiles, on the plan's device and in its precision."""
        return prepare(network, plan.device, plan.dtype)

    @torch.inference_mode()
    def run(
        self,
        network: Network,
        source: PaddedRows,
        sink: Sink,
        plan: Plan,
        *,
        start: int = 0,
        report: Report | None = None,
    ) -> None:
        """Run batches of tiles; while one is computed, the next is sent to the device."""
        prepared = self.prepare(network, plan)
        area = _Area(source, network, plan, start)
        finite = torch.ones((), dtype=torch.bool, device=plan.device)
        done, total = 0, plan.tiles
        batches = _batches(source, plan, area.first - network.blend)
        batch = next(batches, None)
        sent = batch.load() if batch else None
        previous, unloading = None, None
        while batch is not None and sent is not None:
            output = prepared(batch.transfer.ready(sent))
            finite &= output.isfinite().all()  # not read yet, which would make the device wait
            following = next(batches, None)
            sent = following.load() if following else None
            leaving = batch.transfer.unload(output)
            if sink.ordered and not bool(finite):
                raise NotFiniteError  # before such rows are written for good
            if previous is not None and unloading is not None:
                area.write(sink, previous, unloading.arrived())
            previous, unloading, batch = batch, leaving, following
            done += len(previous.columns)
            if report is not None:
                report(done, total)
        if previous is not None and unloading is not None:
            area.write(sink, previous, unloading.arrived())
        if report is not None and done < total:  # rows above `start` were not computed
            report(total, total)
        if not bool(finite):
            raise NotFiniteError


@dataclass(frozen=True)
class _Batch:
    """Tiles of the same rows; `transfer` holds those rows of the picture."""

    rows: Span
    columns: Sequence[Span]
    transfer: Transfer

    def load(self) -> torch.Tensor:
        return self.transfer.load([span.read for span in self.columns])


def _batches(source: PaddedRows, plan: Plan, first: int) -> Iterator[_Batch]:
    for rows in plan.rows:
        if rows.last <= first:
            continue
        transfer = Transfer(source.read(rows.start, rows.start + rows.window), plan.device)
        for at in range(0, len(plan.columns), plan.batch):
            yield _Batch(rows, plan.columns[at : at + plan.batch], transfer)


class _Area:
    """The part of the padded picture that is written: without its border, from a row on."""

    def __init__(self, source: PaddedRows, network: Network, plan: Plan, start: int) -> None:
        self.border, self.scale = source.border, network.scale
        self.seams = None
        if network.blend and plan.tiles > 1:
            self.seams = Seams(plan.rows, plan.columns, network.blend, network.scale)
        self.first, self.last = self.border + start, self.border + source.size[0]
        self.right = self.border + source.size[1]

    def write(self, sink: Sink, batch: _Batch, outputs: Pixels) -> None:
        """Write the part of each tile's core that lies in this area."""
        if self.seams is not None:
            for columns, output in zip(batch.columns, outputs, strict=True):
                self.seams.add(batch.rows, columns, output)
            top = self.scale * self.border
            down = slice(self.scale * self.first, self.scale * self.last)
            self.seams.write(sink, top, down, slice(top, self.scale * self.right))
            return
        for columns, output in zip(batch.columns, outputs, strict=True):
            rows = _within(batch.rows, self.first, self.last)
            kept = _within(columns, self.border, self.right)
            if rows is None or kept is None:
                continue
            part = output[rows.crop(self.scale), kept.crop(self.scale)]
            shift = self.border * self.scale
            where = kept.write(self.scale)
            sink.write(
                rows.write(self.scale).start - shift,
                slice(where.start - shift, where.stop - shift),
                part,
            )


def _within(span: Span, first: int, last: int) -> Span | None:
    """The span with its core cut to [first, last); None if nothing of it is left."""
    kept = max(span.first, first), min(span.last, last)
    return None if kept[0] >= kept[1] else Span(span.start, span.window, *kept)


def run_stack(
    network: Network, pictures: Sequence[Pixels], resources: Resources
) -> Iterator[tuple[Pixels, Plan]]:
    """Run pictures of one size in one batch, untiled. Raises NotFiniteError."""
    device, dtype = resources.device, resources.dtype
    padded = [padded_for(network, ArraySource(p)) for p in pictures]
    stack = np.stack([source.read(0, source.height) for source in padded])
    rows, columns = (Span(0, n, 0, n) for n in stack.shape[1:3])
    memory = stack.shape[1] * stack.shape[2] * len(stack) * tile_bytes(network, dtype)
    plan = Plan([rows], [columns], len(stack), device, dtype, memory)
    check_room(memory, device)
    with torch.inference_mode():
        x = torch.from_numpy(stack).to(device).permute(0, 3, 1, 2)
        output = prepare(network, device, dtype)(x).permute(0, 2, 3, 1)
        if not bool(output.isfinite().all()):
            raise NotFiniteError
        pixels = output.float().cpu().numpy()
    first = network.border * network.scale
    height, width = (side * network.scale for side in pictures[0].shape[:2])
    for each in pixels:
        kept = each[first : first + height, first : first + width]
        yield np.ascontiguousarray(kept), plan


def seam_bytes(network: Network, source: PaddedRows) -> int:
    """Bytes of a row that is held while its seams are blended, with what is left of the last."""
    return 2 * 4 * source.width * network.channels * network.scale**2 if network.blend else 0


def row_bytes(source: PaddedRows) -> int:
    """Bytes of a row that is buffered between a source and an ordered sink."""
    return source.width * (ROW_BYTES + 8 * source.channels)


def _most_rows(network: Network, source: PaddedRows, per_pixel: int, memory: int) -> int:
    """The most rows of a tile for which half of the memory holds them at full width.

    per_pixel: bytes that a pixel of a tile takes
    """
    smallest = min(source.height, useful_tile(network))
    per_row = row_bytes(source) + seam_bytes(network, source)
    least = max(smallest * per_row, smallest_tile(network) ** 2 * per_pixel)
    if 2 * least > memory:
        raise too_little_for_rows(memory, smallest, 2 * least)
    return max(smallest, memory // 2 // per_row)


def _window(
    network: Network, source: PaddedRows, pixels: int, square: int | None
) -> tuple[int, int]:
    height, width, smallest = source.height, source.width, smallest_tile(network)
    if square is None and not network.square:
        halo, multiple = network.halo, network.multiple_of
        return choose_window(height, width, pixels, halo, multiple, smallest)
    side = max(smallest, math.isqrt(pixels)) if square is None else square
    if side < smallest and side < max(height, width):
        raise InputError(
            f"a tile of {side} pixels is too small; the smallest for this model is {smallest}"
        )
    if network.square:
        side = min(side, height, width) // network.multiple_of * network.multiple_of
    return min(side, height), min(side, width)


def _smaller(network: Network, failed: TilePlan) -> tuple[int, int | None, int]:
    """(pixels, square, batch) for half of the batch, or for half of the pixels of one tile."""
    if failed.batch > 1:
        return failed.pixels, failed.square, failed.batch // 2
    smallest = smallest_tile(network)
    height, width = failed.window
    if max(height, width) <= smallest:
        raise no_tile_fits((height, width))
    pixels = max(height * width // 2, smallest**2)
    return pixels, None if failed.square is None else max(smallest, int(pixels**0.5)), 1


def no_tile_fits(window: tuple[int, int]) -> OutOfMemoryError:
    """The error for a device that cannot hold the smallest tile."""
    return OutOfMemoryError(
        f"not even a tile of {window[1]}x{window[0]} pixels fits into memory; "
        "free some memory, or choose another --device"
    )
