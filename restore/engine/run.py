"""One network over one picture: choose a backend, plan, run, and retry with less if that fails.

Pictures in memory and those larger than memory go through the same loop; only their source and
sink differ.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from restore.engine.backend import (
    ArraySink,
    ArraySource,
    Backend,
    NotFiniteError,
    PaddedRows,
    Plan,
    Report,
    Sink,
    Source,
    padded_for,
)
from restore.engine.compute import Resources, installed_engines
from restore.engine.device import exact_float32
from restore.engine.memory import check_room, for_network, format_bytes, give_back, tile_bytes
from restore.engine.onnx import OnnxBackend
from restore.engine.openvino import OpenVinoBackend
from restore.engine.rows.backend import RowBackend
from restore.engine.speeds import choose, speeds_of
from restore.engine.tiled import TileBackend, run_stack
from restore.engine.tiling import round_up
from restore.errors import InputError, ModelError
from restore.image.picture import Depth, Pixels
from restore.models.network import Network

log = logging.getLogger(__name__)

# By engine; the first that supports a network runs it.
BACKENDS: dict[str, tuple[Backend, ...]] = {
    "torch": (RowBackend(), TileBackend()),
    "openvino": (OpenVinoBackend(),),
    "onnx": (OnnxBackend(),),
}

# Out of memory in the words of MPS, torch on a CPU, oneDNN, C++, the other runtimes and CUDA's
# libraries: plain RuntimeErrors. Where no workspace of cuDNN fits, torch says it found no engine.
OUT_OF_MEMORY = (
    "MPS backend out of memory",
    "can't alloc",
    "could not create a primitive",
    "could not create a memory",
    "could not execute a primitive",
    "std::bad_alloc",
    "Failed to allocate",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUDA ran out of memory",
    "unable to find an engine to execute this computation",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


@dataclass(frozen=True)
class Output:
    """The network's output, float32 `(height, width, channels)`, and the plan that was used."""

    pixels: Pixels
    plan: Plan


class Failure(enum.Enum):
    """Why a run failed that can be retried with another plan."""

    OUT_OF_MEMORY = enum.auto()
    NOT_FINITE = enum.auto()


def run(
    network: Network,
    source: Source,
    sink: Sink,
    resources: Resources,
    *,
    start: int = 0,
    report: Report | None = None,
) -> Plan:
    """Run the network over the rows of a picture, as if untiled; returns the plan that was used.

    resources.memory: bytes for the network's tensors; with an ordered sink also for the rows that
                      are buffered; None: chosen for speed
    start: the first row to compute, a multiple of the network's `multiple_of`
    If memory runs out, the run is retried with a smaller plan; if half precision overflows, in
    float32. Rows that an ordered sink has received are not delivered again. Raises OutOfMemoryError
    if not even the smallest tile fits, ModelError if float32 overflows too, InputError for a tile
    or a memory that is too small, and any other error of the network.
    """
    resources = resources.fitting(network)
    padded = padded_for(network, source)
    backend, failed = choose_backend(network, resources, padded), None
    while True:
        plan = backend.plan(network, padded, resources, ordered=sink.ordered, failed=failed)
        _log_plan(plan)
        compute = partial(backend.run, network, padded, sink, plan, start=start, report=report)
        failure = _attempt(compute, resources.device, plan.memory)
        if failure is None:
            return plan
        if failure is Failure.NOT_FINITE and plan.dtype == torch.float32:
            raise ModelError(
                "the model's result is not finite even in float32: its weights are damaged or were "
                "never trained; fetch the weights file again, or choose another model"
            )
        if failure is Failure.NOT_FINITE:
            log.warning("%s overflowed on this picture; retrying in float32", plan.dtype)
            resources = replace(resources, dtype=torch.float32)
        else:
            failed = plan
            log.warning("out of memory on %s; retrying with smaller tiles", plan.device)
        start = max(start, sink.restart() // network.multiple_of * network.multiple_of)


def run_array(
    network: Network, pixels: Pixels, resources: Resources, report: Report | None = None
) -> Output:
    """`run` from an array `(height, width, network.channels)` in [0, 1] to a new array."""
    height, width, channels = pixels.shape
    shape = (height * network.scale, width * network.scale, channels)
    result = np.empty(shape, np.float32)
    plan = run(network, ArraySource(pixels), ArraySink(result), resources, report=report)
    return Output(result, plan)


def run_together(
    network: Network, pictures: Sequence[Pixels], resources: Resources
) -> list[Output]:
    """Run the network over pictures of one size in one batch, each with the result of `run_array`.

    This is faster for pictures much smaller than a tile. If memory runs out, or half precision
    overflows, they are run one by one.
    """
    outputs: list[Output] = []
    resources = resources.fitting(network)
    with_torch = resources.engine in ("auto", "torch")
    if len(pictures) > 1 and with_torch and not network.square:
        failure = _attempt(
            lambda: outputs.extend(Output(*o) for o in run_stack(network, pictures, resources)),
            resources.device,
        )
        if failure is None:
            return outputs
    return [run_array(network, pixels, resources) for pixels in pictures]


def choose_backend(
    network: Network, resources: Resources, source: PaddedRows | None = None
) -> Backend:
    """The backend that runs a network over a picture.

    Of the engine "auto" that is torch's, unless others were measured to be faster on this machine
    and neither memory nor tile is given. Raises InputError if the engine cannot run the network.
    """
    engine = resources.engine
    given = resources.tile is not None or resources.memory is not None
    if engine == "auto" and source is not None and not given:
        return _fastest(network, resources, source)
    found = _supporting("torch" if engine == "auto" else engine, network, resources)
    if found is None:
        raise InputError(f"{engine} cannot run this network; use --engine torch")
    return found


def _supporting(engine: str, network: Network, resources: Resources) -> Backend | None:
    return next((b for b in BACKENDS[engine] if b.supports(network, resources)), None)


def _fastest(network: Network, resources: Resources, source: PaddedRows) -> Backend:
    """The backend that is expected to be done first, by what was measured on this machine."""
    speeds = speeds_of(network, resources)
    plans = plans_of(network, resources, source, list(speeds))
    engine = choose(network, plans, speeds) if "torch" in plans else "torch"
    found = _supporting(engine, network, resources)
    assert found is not None
    return found


def plans_of(
    network: Network, resources: Resources, source: PaddedRows, engines: Sequence[str]
) -> dict[str, Plan]:
    """The plans for a picture, of those engines that are installed and can run the network."""
    found = {}
    for engine in engines if len(engines) > 1 else ():
        backend = _supporting(engine, network, resources)
        if backend is not None and engine in installed_engines():
            found[engine] = backend.plan(network, source, resources, ordered=False)
    return found


def network_memory(
    network: Network,
    shape: tuple[int, ...],
    resources: Resources,
    passes: int = 1,
    depth: Depth = 8,
) -> int | None:
    """The part of `resources.memory` left for the network beside a picture held in memory.

    shape:  (height, width, channels) of the network's input
    passes: how many outputs are averaged
    depth:  of the picture's samples
    None if there is no limit. Raises InputError with the smallest memory that works.
    """
    memory, resources = resources.memory, resources.fitting(network)
    if memory is None:
        return None
    height, width, channels = shape
    beyond, grid = 2 * network.border, network.multiple_of
    padded = [max(network.minimum, round_up(side + beyond, grid)) for side in (height, width)]
    backend = choose_backend(network, resources)
    least = backend.least_memory(network, padded[0], padded[1], resources.dtype)
    if resources.tile is not None:
        least = max(least, resources.tile**2 * tile_bytes(network, resources.dtype))
    results = network.scale**2 + (passes > 1)  # the output of another pass is held, too
    return for_network(memory, (height, width, channels), least, depth, results)


def _attempt(
    compute: Callable[[], object], device: torch.device, memory: int = 0
) -> Failure | None:
    """Call `compute`; returns None, or how it failed: at once where there is less than `memory`.

    The caller retries, not this function: within `except`, the traceback would keep the failed
    tensors alive, and a smaller plan might fail because of the memory of the larger one.
    """
    try:
        check_room(memory, device)
        with exact_float32(device):
            compute()
        return None
    except NotFiniteError:
        return Failure.NOT_FINITE
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        log.info("%s", error)  # for whoever looks for another reason
    give_back(device)
    return Failure.OUT_OF_MEMORY


def _log_plan(plan: Plan) -> None:
    log.info(
        "plan: %d tiles of %dx%d, %d at once, on %s; at most %s for the network",
        plan.tiles,
        plan.window[1],
        plan.window[0],
        plan.batch,
        plan.device,
        format_bytes(plan.memory),
    )
