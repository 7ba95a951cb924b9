"""One network over one picture of any size: windows in batches, hard crops, no blending.

On a CPU a network whose layers `stream` knows goes over the picture in bands of rows instead, in
columns as wide as memory allows: nothing is computed twice then, and it is faster.
Out of memory is answered with smaller batches, then smaller windows, always from the picture's
start; a picture comes back whole or not at all.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from restore.engine.attempt import attempt
from restore.engine.memory import (
    for_network,
    format_bytes,
    held_bytes,
    window_budget,
    window_bytes,
)
from restore.engine.prepare import (
    bare,
    border_of,
    layers_of,
    prepare,
    smallest_window,
    useful_window,
)
from restore.engine.rows.bands import Mirrored, columns_within, stream_columns
from restore.engine.rows.layers import Layers, can_stream
from restore.engine.rows.stream import NotFiniteError
from restore.engine.tiling import Span, Tile, choose_window, round_up, split
from restore.engine.transfer import Belt
from restore.errors import InputError, OutOfMemoryError
from restore.image.picture import Pixels
from restore.models.network import Network

log = logging.getLogger(__name__)

OVERFLOWED = "%s overflowed on this picture; computing it again in float32"

Report = Callable[[int, int], None]  # tiles done, tiles in all


@dataclass(frozen=True)
class Plan:
    """How a picture will be computed.

    window: (height, width) of what the network sees at once, halo included
    batch:  windows at once
    """

    tiles: list[Tile]
    window: tuple[int, int]
    batch: int
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class Output:
    """The network's answer, float32 `(height, width, channels)`, and the plan that worked."""

    pixels: Pixels
    plan: Plan


def run(
    network: Network,
    pixels: Pixels,
    device: torch.device,
    dtype: torch.dtype,
    *,
    tile: int | None = None,
    memory: int | None = None,
    report: Report | None = None,
    bordered: bool = False,
) -> Output:
    """The network over the whole picture, tile by tile, equal to the untiled result.

    pixels: `(height, width, network.channels)` in [0, 1]
    tile:   side in pixels of the square window the network sees at once, halo included; None
            chooses windows (not square) by the device, so that few pixels are computed twice
    memory: bytes that the network's tensors may take, the picture and its result not counted;
            None: as much as pays
    bordered: the pixels have the network's border already, and the result shall have it too
    Raises OutOfMemoryError where not even the smallest window fits, InputError for a tile that
    is too small; any other error of the network passes through.
    """
    if tile is not None and tile < 1:
        raise InputError(f"a tile of {tile} is too small; {_smallest_words(network)}")
    if tile is None and device.type == "cpu" and can_stream(bare(network)):
        return _streamed(network, pixels, dtype, memory, report, bordered)
    border = 0 if bordered else border_of(network)
    padded = pad(pixels, network.multiple_of, border)
    most = window_budget(network, device, dtype, memory)
    budget = most if tile is None else tile * tile
    batch = 1 if tile is None else max(1, most // budget)
    _check_memory(network, budget, dtype, memory)
    while True:
        window = _window(network, padded.shape[0], padded.shape[1], budget, tile)
        plan = _plan(network, padded, window, batch, device, dtype)
        pixels_at_once = plan.batch * plan.window[0] * plan.window[1]
        need = pixels_at_once * window_bytes(network, dtype)
        _log_plan(plan, need, held_bytes(pixels.shape[0], pixels.shape[1], network.channels))
        outcome = attempt(_whole(network, padded, plan, report), device)
        if isinstance(outcome, np.ndarray):
            return Output(_unpad(outcome, pixels, network.scale, border), plan)
        if outcome == "not finite":
            log.warning(OVERFLOWED, dtype)
            dtype = torch.float32
            continue
        if batch > 1:
            batch //= 2
        else:
            budget, tile = _smaller(network, window, tile)
        log.warning("out of memory on %s; starting again with smaller tiles", device)


def _streamed(
    network: Network,
    pixels: Pixels,
    dtype: torch.dtype,
    memory: int | None,
    report: Report | None,
    bordered: bool,
) -> Output:
    """The whole picture in bands of rows; see `stream`."""
    height, width, channels = pixels.shape
    border = 0 if bordered else border_of(network)
    source = Mirrored(lambda a, b: pixels[a:b], height, width, network.multiple_of, border)
    tall = Span(0, source.height, 0, source.height)
    while True:
        layers = layers_of(network, dtype)
        columns = columns_within(layers, source.height, source.width, network.halo, memory)
        tiles = [Tile(tall, span) for span in columns]
        plan = Plan(tiles, (source.height, columns[0].window), 1, torch.device("cpu"), dtype)
        need = layers.peak_bytes(source.height, columns[0].window)
        _log_plan(plan, need, held_bytes(height, width, channels))
        bands = functools.partial(_compute_bands, layers, source, columns, channels, report)
        outcome = attempt(bands, plan.device)
        if isinstance(outcome, np.ndarray):
            return Output(outcome, plan)
        if outcome == "not finite":
            log.warning(OVERFLOWED, dtype)
            dtype = torch.float32
            continue
        smallest = min(source.width, useful_window(network))
        if columns[0].window <= smallest:
            raise OutOfMemoryError(_no_tile_words(plan.window))
        memory = layers.peak_bytes(source.height, columns[0].window) // 2
        memory = max(memory, layers.peak_bytes(source.height, smallest))
        log.warning("out of memory; starting again with narrower columns")


def _compute_bands(
    layers: Layers, source: Mirrored, columns: list[Span], channels: int, report: Report | None
) -> Pixels:
    height, width = source.size
    result = np.empty((height * layers.scale, width * layers.scale, channels), np.float32)

    def write(first: int, where: slice, band: Pixels) -> None:
        result[first : first + len(band), where] = band

    stream_columns(layers, source, columns, write, report=report)
    return result


def network_share(
    network: Network,
    memory: int | None,
    pixels: Pixels,
    device: torch.device,
    dtype: torch.dtype,
    views: int = 1,
) -> int | None:
    """What `memory` bytes for all leave to the network beside these pixels; None without a limit.

    views: how many answers are added up. Raises InputError with the smallest memory that works.
    """
    if memory is None:
        return None
    beyond, grid = 2 * border_of(network), network.multiple_of
    height, width = (round_up(side + beyond, grid) for side in pixels.shape[:2])
    if device.type == "cpu" and can_stream(bare(network)):
        smallest = min(width, useful_window(network))
        least = layers_of(network, dtype).peak_bytes(height, smallest)
    else:
        least = smallest_window(network) ** 2 * window_bytes(network, dtype)
    rows, columns, channels = pixels.shape
    larger = (1 + network.scale**2) // 2 or 1  # the result of an upscaler is held, too
    larger += views > 1  # and so is the answer to another view
    return for_network(memory, (rows, columns, channels * larger), least)


def run_together(
    network: Network, pictures: Sequence[Pixels], device: torch.device, dtype: torch.dtype
) -> list[Output]:
    """Pictures of one size through the network in one batch, each as `run` gives it.

    It pays for pictures much smaller than a window. What does not fit into memory, or overflows,
    goes through one by one.
    """
    if len(pictures) > 1:
        border = border_of(network)
        padded = np.stack([pad(p, network.multiple_of, border) for p in pictures])
        window = (padded.shape[1], padded.shape[2])
        plan = _plan(network, padded[0], window, len(pictures), device, dtype)
        outcome = attempt(lambda: _compute_stack(network, padded, plan), device)
        if isinstance(outcome, np.ndarray):
            cut = [
                _unpad(o, p, network.scale, border) for o, p in zip(outcome, pictures, strict=True)
            ]
            return [Output(np.ascontiguousarray(found), plan) for found in cut]
    return [run(network, p, device, dtype) for p in pictures]


@torch.inference_mode()
def _compute_stack(network: Network, padded: Pixels, plan: Plan) -> Pixels:
    return _infer(prepare(network, plan.device, plan.dtype), torch.from_numpy(padded), plan)


def pad(pixels: Pixels, multiple: int, border: int = 0) -> Pixels:
    """The picture mirrored by `border` pixels on all sides, and right and below up to a multiple.

    The outermost pixels are repeated: mirrored about them, the noise of a row next to the border
    would stand there twice as close, which costs 0.007 dB. Any size, even 1x1.
    """
    after = [round_up(side + 2 * border, multiple) - side - border for side in pixels.shape[:2]]
    if not (border or any(after)):
        return pixels
    return np.pad(pixels, ((border, after[0]), (border, after[1]), (0, 0)), mode="symmetric")


def _unpad(padded: Pixels, pixels: Pixels, scale: int, border: int) -> Pixels:
    """Of the result of a padded picture the part that belongs to the picture."""
    first = border * scale
    height, width = pixels.shape[:2]
    return padded[first : first + height * scale, first : first + width * scale]


def default_budget(device: torch.device) -> int:
    """Pixels of small pictures that go through together: 1 MP on a CPU, 4 MP on a GPU."""
    return 2**20 if device.type == "cpu" else 2**22


def _smallest_words(network: Network) -> str:
    return f"the smallest for this model is {smallest_window(network)}"


def _window(
    network: Network, height: int, width: int, budget: int, tile: int | None
) -> tuple[int, int]:
    if tile is None:
        return choose_window(height, width, budget, network.halo, network.multiple_of)
    if tile < smallest_window(network) and tile < max(height, width):
        raise InputError(f"a tile of {tile} is too small; {_smallest_words(network)}")
    return min(tile, height), min(tile, width)


def _plan(
    network: Network,
    padded: Pixels,
    window: tuple[int, int],
    batch: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Plan:
    height, width = padded.shape[:2]
    tiles = split(height, width, window, network.halo, network.multiple_of)
    first = tiles[0]
    return Plan(tiles, (first.rows.window, first.columns.window), batch, device, dtype)


def _smaller(network: Network, window: tuple[int, int], tile: int | None) -> tuple[int, int | None]:
    """Half of the pixels of the last window; the end where that is smaller than the smallest."""
    smallest = smallest_window(network)
    if max(window) <= smallest:
        raise OutOfMemoryError(_no_tile_words(window))
    budget = max(window[0] * window[1] // 2, smallest**2)
    return budget, None if tile is None else max(smallest, int(budget**0.5))


def _no_tile_words(window: tuple[int, int]) -> str:
    return (
        f"not even a tile of {window[1]}x{window[0]} pixels fits into memory; "
        "free some, or choose another --device"
    )


def _log_plan(plan: Plan, need: int, held: int) -> None:
    """Said before the run, where someone listens."""
    log.info(
        "plan: %d windows of %dx%d, %d at once, on %s; %s for the network and %s for the picture",
        len(plan.tiles),
        plan.window[1],
        plan.window[0],
        plan.batch,
        plan.device,
        format_bytes(need),
        format_bytes(held),
    )


def _check_memory(network: Network, budget: int, dtype: torch.dtype, memory: int | None) -> None:
    """InputError where a budget of bytes does not hold the windows that are wanted."""
    need = max(budget, smallest_window(network) ** 2) * window_bytes(network, dtype)
    if memory is not None and need > memory:
        raise InputError(
            f"the network does not fit into {format_bytes(max(1, memory))} beside the picture; "
            f"it needs at least {format_bytes(need)} there"
        )


def _whole(
    network: Network, padded: Pixels, plan: Plan, report: Report | None
) -> Callable[[], Pixels]:
    return lambda: _compute(prepare(network, plan.device, plan.dtype), padded, plan, report)


@torch.inference_mode()
def _compute(network: Network, padded: Pixels, plan: Plan, report: Report | None) -> Pixels:
    scale = network.scale
    height, width, channels = padded.shape
    result = np.empty((height * scale, width * scale, channels), np.float32)
    belt = Belt(padded, plan.device)
    starts = range(0, len(plan.tiles), plan.batch)
    batches = [plan.tiles[begin : begin + plan.batch] for begin in starts]
    finite = torch.ones((), dtype=torch.bool, device=plan.device)
    coming, leaving = belt.load(batches[0]), None
    for number in range(len(batches)):
        output = network(belt.ready(coming))
        if plan.dtype != torch.float32:
            finite &= output.isfinite().all()  # not looked at yet: the device shall not wait
        if number + 1 < len(batches):
            coming = belt.load(batches[number + 1])
        going = belt.unload(output)
        if leaving is not None:
            _keep(result, batches[number - 1], leaving.arrived(), scale)
        leaving = going
        if report is not None:
            report(min(len(plan.tiles), (number + 1) * plan.batch), len(plan.tiles))
    assert leaving is not None
    _keep(result, batches[-1], leaving.arrived(), scale)
    if not bool(finite):
        raise NotFiniteError
    return result


def _keep(result: Pixels, tiles: Sequence[Tile], outputs: Pixels, scale: int) -> None:
    for tile, output in zip(tiles, outputs, strict=True):
        kept = output[tile.rows.crop(scale), tile.columns.crop(scale)]
        result[tile.rows.write(scale), tile.columns.write(scale)] = kept


def _infer(network: Network, windows: Tensor, plan: Plan) -> Pixels:
    """Windows (N, H, W, C) through the network and back, float32 on the CPU."""
    output = network(windows.to(plan.device).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    if plan.dtype != torch.float32 and not bool(output.isfinite().all()):
        raise NotFiniteError
    pixels: Pixels = output.float().cpu().numpy()
    return pixels
