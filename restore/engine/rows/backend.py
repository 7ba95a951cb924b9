"""The CPU backend for the package's own networks: it streams a picture row by row.

Each row of each layer is computed once; memory grows with the width of the picture, not with its
height. If whole rows do not fit into memory, the picture is split into columns with a halo.
"""

from __future__ import annotations

import numpy as np
import torch

from restore.engine.backend import (
    ArraySink,
    ArraySource,
    PaddedRows,
    Plan,
    Report,
    Sink,
)
from restore.engine.compute import Resources
from restore.engine.memory import ROW_BYTES, too_little_for_network, too_little_for_rows
from restore.engine.prepare import prepared_of, useful_tile
from restore.engine.rows.layers import Layers, can_stream
from restore.engine.rows.stream import Stream, Write
from restore.engine.rows.workers import Workers
from restore.engine.tiled import no_tile_fits, row_bytes
from restore.engine.tiling import Span, round_up, split_axis
from restore.models.network import Network


class RowBackend:
    """Streams networks that `can_stream` accepts, on a CPU, if no tile size is given."""

    def supports(self, network: Network, resources: Resources) -> bool:
        """Whether it can run this network with this device and tile."""
        on_cpu = resources.device.type == "cpu"
        return on_cpu and resources.tile is None and can_stream(network)

    def least_memory(self, network: Network, height: int, width: int, dtype: torch.dtype) -> int:
        """The bytes of a stream over columns that are as narrow as is useful."""
        return layers_of(network, dtype).peak_bytes(height, min(width, useful_tile(network)))

    def plan(
        self,
        network: Network,
        source: PaddedRows,
        resources: Resources,
        *,
        ordered: bool,
        failed: Plan | None = None,
    ) -> Plan:
        """As few columns as memory allows; strips, if an ordered sink would need several."""
        layers = layers_of(network, resources.dtype)
        height, width, memory = source.height, source.width, resources.memory
        if failed is not None:
            memory = self._smaller(network, source, layers, failed)
        whole = [Span(0, height, 0, height)]
        if ordered:
            planned = layers.peak_bytes(height, width) + buffered_bytes(layers, source)
            if memory is not None and planned > memory:
                return self._strips(network, source, layers, memory)
            columns = [Span(0, width, 0, width)]
        else:
            columns = columns_within(layers, height, width, network.halo, memory)
            planned = layers.peak_bytes(height, columns[0].window)
        return Plan(whole, columns, 1, resources.device, layers.dtype, planned)

    def _strips(self, network: Network, source: PaddedRows, layers: Layers, memory: int) -> Plan:
        """Full-width strips with halos, computed in columns; each takes half of the memory."""
        smallest, narrowest = (min(n, useful_tile(network)) for n in (source.height, source.width))
        per_row = row_bytes(source)
        least = max(smallest * per_row, layers.peak_bytes(smallest, narrowest))
        if 2 * least > memory:
            raise too_little_for_rows(memory, smallest, 2 * least)
        window = min(source.height, max(smallest, memory // 2 // per_row))
        while window > smallest and layers.peak_bytes(window, narrowest) > memory // 2:
            window = max(smallest, window * 7 // 8)
        rows = split_axis(source.height, window, network.halo, network.multiple_of)
        columns = columns_within(layers, rows[0].window, source.width, network.halo, memory // 2)
        planned = layers.peak_bytes(rows[0].window, columns[0].window) + rows[0].window * per_row
        return Plan(rows, columns, 1, torch.device("cpu"), layers.dtype, planned)

    def _smaller(self, network: Network, source: PaddedRows, layers: Layers, failed: Plan) -> int:
        """Half of the memory of a failed plan. Raises OutOfMemoryError if it was the smallest."""
        height, width = failed.window
        smallest = min(source.width, useful_tile(network))
        if width <= smallest:
            raise no_tile_fits(failed.window)
        return max(failed.memory // 2, layers.peak_bytes(height, smallest))

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
        """Stream the picture column by column, or strip by strip."""
        layers = layers_of(network, plan.dtype)
        columns = plan.columns
        # an ordered sink takes whole rows: of several columns a strip is put together first
        if len(plan.rows) == 1 and (len(columns) == 1 or not sink.ordered):
            stream_columns(
                layers, source, columns, sink, start=start, halo=network.halo, report=report
            )
            return
        for number, strip in enumerate(plan.rows):
            self._run_strip(layers, source, sink, plan, strip, start)
            if report is not None:
                report(number + 1, len(plan.rows))

    def _run_strip(
        self,
        layers: Layers,
        source: PaddedRows,
        sink: Sink,
        plan: Plan,
        strip: Span,
        start: int,
    ) -> None:
        """Compute one strip as a picture of its own, and write the rows of its core."""
        border, scale = source.border, layers.scale
        first = max(strip.first, start + border)
        last = min(strip.last, source.size[0] + border)
        if last <= first:
            return
        pixels = source.read(strip.start, strip.start + strip.window)
        shape = (len(pixels) * scale, source.width * scale, source.channels)
        result = np.empty(shape, np.float32)
        part = PaddedRows(ArraySource(pixels), layers.multiple_of)
        stream_columns(layers, part, plan.columns, ArraySink(result))
        core = result[(first - strip.start) * scale : (last - strip.start) * scale]
        width = source.size[1] * scale
        sink.write((first - border) * scale, slice(0, width), core[:, border * scale :][:, :width])


def layers_of(network: Network, dtype: torch.dtype) -> Layers:
    """The layers of a network, prepared for streaming; kept, but for the first, if they may be."""
    assert can_stream(network)
    layers = prepared_of(network).once(("rows", dtype), lambda: Layers(network, dtype))
    return layers.with_head(network)


def buffered_bytes(layers: Layers, source: PaddedRows) -> int:
    """Bytes of the rows between a source and an ordered sink: the result lags behind."""
    bands = layers.bands(source.width)
    lag = layers.lags(bands)[0]
    return source.width * (lag * source.channels * 4 + 4 * bands[0] * ROW_BYTES)


def columns_within(
    layers: Layers, height: int, width: int, halo: int, memory: int | None
) -> list[Span]:
    """The fewest columns for which a stream over each takes at most `memory` bytes.

    height, width: of the padded picture
    At least half of each column is core. Raises InputError with the smallest memory that works.
    """
    smallest = min(width, max(4 * round_up(halo, layers.multiple_of), layers.multiple_of))
    window = width
    while memory is not None and layers.peak_bytes(height, window) > memory:
        if window == smallest:
            raise too_little_for_network(memory, layers.peak_bytes(height, smallest))
        window = max(smallest, window * 7 // 8 // layers.multiple_of * layers.multiple_of)
    return split_axis(width, window, halo, layers.multiple_of)


@torch.inference_mode()
def stream_columns(
    layers: Layers,
    source: PaddedRows,
    columns: list[Span],
    sink: Sink,
    *,
    start: int = 0,
    halo: int = 0,
    report: Report | None = None,
) -> None:
    """Run the network over a picture, column by column, each from its first row to its last.

    start: the first row to write, a multiple of the network's `multiple_of`; the stream begins
           `halo` rows above it
    Padding is not written. Positions in the sink are in output pixels. Raises NotFiniteError.
    """
    border = source.border
    begin, below = border + start, border + source.size[0]
    top = 0 if not start else max(0, begin - round_up(halo, layers.multiple_of))
    rows = layers.bands(columns[0].window)[0]
    total = len(columns) * -(-(source.height - top) // rows)
    done = 0
    with Workers() as workers:
        for span in columns:
            left, right = max(span.first, border), min(span.last, border + source.size[1])
            wanted = slice(begin, below), slice(left, right)
            inside = _inside(wanted, (top, span.start), border, layers.scale, sink)
            stream = Stream(layers, span.window, workers, inside)
            at = top
            while at < source.height:
                end = min(source.height, at + (stream.first_rows if at == top else stream.rows))
                pixels = np.ascontiguousarray(source.read(at, end)[:, span.read])
                stream.push(torch.from_numpy(pixels), end == source.height)
                at = end
                done += 1
                if report is not None:
                    report(min(done, total), total)


def _inside(
    wanted: tuple[slice, slice], origin: tuple[int, int], border: int, scale: int, sink: Sink
) -> Write:
    """A function that writes to `sink` the part of a stream's output that lies in `wanted`.

    wanted: rows and columns of the padded picture
    origin: row and column of the padded picture at which the stream begins
    """
    rows, columns = (slice(axis.start * scale, axis.stop * scale) for axis in wanted)
    top, left = (at * scale for at in origin)

    def inside(row: int, column: int, output: torch.Tensor) -> None:
        row, column = row + top, column + left
        first, last = max(row, rows.start), min(row + output.shape[0], rows.stop)
        begin, end = max(column, columns.start), min(column + output.shape[1], columns.stop)
        if first < last and begin < end:
            part = output[first - row : last - row, begin - column : end - column].numpy()
            shift = border * scale
            sink.write(first - shift, slice(begin - shift, end - shift), part)

    return inside
