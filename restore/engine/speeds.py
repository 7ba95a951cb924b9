"""How fast each engine runs a network on this machine, measured once and kept; the choice by it.

Nothing is measured on the way to a picture: `restore devices` measures, and what it found is kept
in the user's cache folder. Until then `--engine auto` is torch.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from restore.engine.backend import Plan
from restore.engine.compute import ENGINES, Resources
from restore.engine.convert import Graph, forget, inner, readiness
from restore.engine.device import precision_name
from restore.errors import WriteError
from restore.image.atomic import write_aside
from restore.models.folders import cache_folder
from restore.models.network import Network
from restore.models.unet import UNet

GAIN = 1.05  # times as fast as torch another engine must be to be chosen


@dataclass(frozen=True)
class Speed:
    """What was measured of one engine with one network.

    model:     the network's name
    layers:    its layers, as `layers_of` has them
    precision: that was asked for
    rate:      megapixels per second once it is ready, pixels that were computed twice included
    first:     seconds until it is ready, from nothing
    again:     the same in a new process, with what the first one left in the cache folder
    """

    model: str
    layers: str
    precision: str
    engine: str
    rate: float
    first: float = 0.0
    again: float = 0.0


def speeds_of(network: Network, resources: Resources) -> dict[str, Speed]:
    """What was measured of a network by engine; empty where nothing was."""
    plain = inner(network)
    if not isinstance(plain, UNet) or resources.device.type != "cpu":
        return {}
    key = layers_of(plain), precision_name(resources.dtype)
    return {s.engine: s for s in read_speeds() if (s.layers, s.precision) == key}


def expected(plans: dict[str, Plan], speeds: dict[str, Speed]) -> dict[str, float]:
    """Seconds that each engine is expected to take, once it is ready."""
    return {engine: computed(plan) / speeds[engine].rate for engine, plan in plans.items()}


def choose(network: Network, plans: dict[str, Plan], speeds: dict[str, Speed]) -> str:
    """The engine to take for a picture; plans: of each engine, torch included, for this picture.

    An engine that is faster once it is ready is taken as soon as what it would have saved so far,
    this picture included, is what it takes to get ready: at once for a large picture, in the course
    of a batch for small ones.
    """
    seconds = expected(plans, speeds)
    best = min(seconds, key=lambda engine: seconds[engine])
    if best == "torch" or seconds[best] * GAIN > seconds["torch"]:
        return "torch"
    state = readiness(best, inner(network), plans[best].dtype)
    if state == "compiled":
        return best
    wait = speeds[best].again if state == "converted" else speeds[best].first
    key = best, speeds[best].layers
    _missed[key] = _missed.get(key, 0.0) + seconds["torch"] - seconds[best]
    return best if _missed[key] >= wait else "torch"


_missed: dict[tuple[str, str], float] = {}  # seconds that an engine would have saved


def computed(plan: Plan) -> float:
    """Megapixels that a plan computes, those computed twice included."""
    return plan.tiles * plan.window[0] * plan.window[1] / 1e6


def layers_of(network: UNet) -> str:
    """The layers on which a network's speed depends."""
    names = ("channels", "widths", "blocks", "scale")
    known = {name: network.arguments.get(name) for name in names}
    return f"{type(network).__name__} {json.dumps(known)}"


def processor() -> str:
    """The name of the processor, as far as the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """What the speeds depend on besides: processor, threads and versions."""
    versions = []
    for package in ("restore-images", *ENGINES.values()):
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    return ", ".join([processor(), f"{torch.get_num_threads()} threads", *versions])


def speeds_file() -> Path:
    """Where the speeds are kept."""
    return cache_folder() / "speeds.json"


def read_speeds() -> list[Speed]:
    """What was measured on this machine with the versions that are installed; else nothing."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found: dict[str, Any] = json.loads(speeds_file().read_text())
        if found["machine"] == machine():
            return [Speed(**row) for row in found["speeds"]]
    return []


def write_speeds(speeds: list[Speed]) -> bool:
    """Keep what was measured; False where the folder cannot be written to."""
    content = {"machine": machine(), "speeds": [asdict(speed) for speed in speeds]}
    with suppress(OSError, WriteError):
        speeds_file().parent.mkdir(parents=True, exist_ok=True)
        write_aside(speeds_file(), json.dumps(content, indent=1).encode(), overwrite=True)
        return True
    return False


def measure(
    model: str, network: UNet, precision: str, engine: str, run: Callable[[], Plan]
) -> Speed:
    """The speed of an engine; run: runs the network over a picture, and returns the plan."""
    forget()
    if engine != "torch":
        Graph(network).file(engine).unlink(missing_ok=True)
    first, again = _timed(run)[0], 0.0
    if engine != "torch":
        forget()
        again = _timed(run)[0]
    warm = [_timed(run) for _ in range(2)]
    seconds = min(time for time, _ in warm)
    waits = (0.0, 0.0) if engine == "torch" else (max(0.0, t - seconds) for t in (first, again))
    rate = computed(warm[0][1]) / seconds
    return Speed(model, layers_of(network), precision, engine, rate, *waits)


def _timed(run: Callable[[], Plan]) -> tuple[float, Plan]:
    began = time.perf_counter()
    plan = run()
    return time.perf_counter() - began, plan
