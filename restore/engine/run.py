"""One network over one picture: choose a backend, plan, run, and begin again with less if it must.

Whole pictures and those larger than memory go through the same loop; they differ in their source
and sink only.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
)
from restore.engine.compute import Resources
from restore.engine.memory import for_network, format_bytes
from restore.engine.rows.backend import RowBackend
from restore.engine.tiled import TileBackend, run_stack
from restore.engine.tiling import round_up
from restore.image.picture import Pixels
from restore.models.network import Network

log = logging.getLogger(__name__)

BACKENDS: tuple[Backend, ...] = (RowBackend(), TileBackend())  # the first that supports it is taken

# Out of memory as Apple's MPS, torch's allocator on the CPU, oneDNN and C++ report it: as plain
# RuntimeErrors.
OUT_OF_MEMORY = (
    "MPS backend out of memory",
    "DefaultCPUAllocator: can't allocate",
    "could not create a primitive",
    "could not create a memory",
    "std::bad_alloc",
)


@dataclass(frozen=True)
class Output:
    """The network's answer, float32 `(height, width, channels)`, and the plan that worked."""

    pixels: Pixels
    plan: Plan


class Failure(enum.Enum):
    """Why a run can be tried again in another way."""

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
    """The network over the rows of a picture, equal to the untiled result; returns the plan used.

    resources.memory: bytes for the network's tensors; with an ordered sink also for the rows on
                      their way; None: as much as makes it fast
    start: the first row to compute, a multiple of the network's `multiple_of`
    Out of memory is answered with a smaller plan, an overflow of half precision with float32; rows
    that an ordered sink has taken are not computed again. Raises OutOfMemoryError where not even
    the smallest tile fits, InputError for a tile or a memory that is too small; any other error of
    the network passes through.
    """
    padded = PaddedRows(source, network.multiple_of, network.border)
    backend, failed = choose_backend(network, resources), None
    while True:
        plan = backend.plan(network, padded, resources, ordered=sink.ordered, failed=failed)
        _log_plan(plan)
        failure = _attempt(
            lambda plan=plan, start=start: backend.run(  # type: ignore[misc]
                network, padded, sink, plan, start=start, report=report
            ),
            resources.device,
        )
        if failure is None:
            return plan
        if failure is Failure.NOT_FINITE:
            log.warning("%s overflowed on this picture; computing in float32", plan.dtype)
            resources = replace(resources, dtype=torch.float32)
        else:
            failed = plan
            log.warning("out of memory on %s; starting again with smaller tiles", plan.device)
        start = max(start, sink.restart() // network.multiple_of * network.multiple_of)


def run_array(
    network: Network, pixels: Pixels, resources: Resources, report: Report | None = None
) -> Output:
    """The same from an array `(height, width, network.channels)` in [0, 1] to a new one."""
    height, width, channels = pixels.shape
    shape = (height * network.scale, width * network.scale, channels)
    result = np.empty(shape, np.float32)
    plan = run(network, ArraySource(pixels), ArraySink(result), resources, report=report)
    return Output(result, plan)


def run_together(
    network: Network, pictures: Sequence[Pixels], resources: Resources
) -> list[Output]:
    """Pictures of one size through the network in one batch, each as `run_array` gives it.

    It pays for pictures much smaller than a tile. What does not fit into memory, or overflows, goes
    through one by one.
    """
    found: list[Output] = []
    if len(pictures) > 1:
        failure = _attempt(
            lambda: found.extend(Output(*each) for each in run_stack(network, pictures, resources)),
            resources.device,
        )
        if failure is None:
            return found
    return [run_array(network, pixels, resources) for pixels in pictures]


def choose_backend(network: Network, resources: Resources) -> Backend:
    """The first backend that supports the network on the device."""
    return next(b for b in BACKENDS if b.supports(network, resources))


def network_memory(
    network: Network, shape: tuple[int, ...], resources: Resources, passes: int = 1
) -> int | None:
    """Of `resources.memory`, what is left for the network beside a picture held in memory.

    shape:  of the network's input (height, width, channels)
    passes: how many outputs are added up
    None without a limit. Raises InputError with the smallest memory that works.
    """
    if resources.memory is None:
        return None
    height, width, channels = shape
    beyond, grid = 2 * network.border, network.multiple_of
    padded = [round_up(side + beyond, grid) for side in (height, width)]
    backend = choose_backend(network, resources)
    least = backend.least_memory(network, padded[0], padded[1], resources.dtype)
    larger = (1 + network.scale**2) // 2 or 1  # the result of an upscaler is held, too
    larger += passes > 1  # and so is the output of another pass
    return for_network(resources.memory, (height, width, channels * larger), least)


def _attempt(compute: Callable[[], object], device: torch.device) -> Failure | None:
    """Compute; None, or what went wrong.

    The failure is returned and not handled here: inside `except` the traceback would keep the
    failed tensors alive, so that a smaller plan could fail for the memory of the larger one.
    """
    try:
        compute()
        return None
    except NotFiniteError:
        return Failure.NOT_FINITE
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
    if device.type == "cuda":
        torch.cuda.empty_cache()
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
